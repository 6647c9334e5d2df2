"""The table of licences names what the course brings along, with the terms that the packages themselves tell."""
import re

from conftest import ROOT

from soundmind_lite import doctor, licences
from soundmind_lite.profiles import ASSETS

ROWS = dict(re.findall(r"^\| (\S.*?) \| (.+?) \|", (ASSETS / "site" / "licences.md").read_text(encoding="utf-8"), re.MULTILINE))


def test_pinned_packages_stand_there_with_their_own_words():
    names = [licences.key(name) for name, _ in doctor.wanted()]
    assert {name: ROWS.get(name) for name in names} == {name: licences.licence(name) for name in names}


def test_what_makes_the_pages_stands_there():
    assert set(map(licences.key, licences.site_tools())) <= set(ROWS)


def test_data_weights_and_all_that_is_no_package_stands_there():
    assert {name: terms for name, _, terms in licences.BESIDE}.items() <= ROWS.items()
    shipped = {folder.name for folder in ASSETS.iterdir() if (folder / "README.md").is_file()} - {"runs"}  # runs are named with the code
    assert shipped == {"mini_alr", "tiny_omni"} <= set(ROWS)


def test_nothing_stands_there_without_terms():
    assert len(ROWS) > 150
    assert not [name for name, terms in ROWS.items() if terms in ("", "not told", "UNKNOWN")]


def test_all_that_a_package_needs_is_found():
    found = licences.needed(["trl"])
    assert {"trl", "transformers", "torch", "tokenizers"} <= set(found)  # the last is needed by what is needed
    assert found["trl"] == "Apache-2.0"


def test_the_project_s_own_licence_is_the_one_that_it_tells():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert ROWS["soundmind_lite"] == licences.OURS
