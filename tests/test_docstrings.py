"""The examples in docstrings print what they say."""

import doctest
import importlib
import pkgutil

import soundmind_lite


def test_examples():
    names = [
        module.name
        for module in pkgutil.walk_packages(soundmind_lite.__path__, "soundmind_lite.")
        if module.name != "soundmind_lite.__main__"
    ]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert sum(result.attempted for result in results.values()) >= 10
    assert {name: result.failed for name, result in results.items() if result.failed} == {}
