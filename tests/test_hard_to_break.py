"""The page of what was tried has the lines and the counts of the tests themselves."""
import os
import re
from collections import Counter

import pytest
from conftest import ROOT

from soundmind_lite.profiles import ASSETS


def test_the_page_has_what_the_tests_try(request):
    options, items = request.config.option, request.session.items
    whole = {item.path.name for item in items} >= {file.name for file in (ROOT / "tests").glob("test_*.py")}
    if not whole or options.keyword or options.markexpr or {"SOUNDMIND_FUZZ", "SOUNDMIND_KILLS"} & set(os.environ):
        pytest.skip("only a run of all tests, at their usual sizes, tries all of it")
    tried = Counter()
    for item in items:
        tried.update({mark.args: mark.kwargs.get("each", 1) for mark in item.iter_markers("tried")})
    page = (ASSETS / "site" / "hard_to_break.md").read_text(encoding="utf-8")
    rows = {(what, happened): int(count.replace(",", "")) for count, what, happened in re.findall(r"^\| ([\d,]+) \| (.+) \| (.+) \|$", page, re.MULTILINE)}
    assert rows == tried
