"""The offline bundle, with one small package that is built on the spot: what is in it, and that it installs without a network."""
import subprocess
import sys

import pytest
from conftest import ROOT

from soundmind_lite import bundle


@pytest.fixture(scope="module")
def requirements(tmp_path_factory):
    """A requirements file that names one local package, so that no network is asked."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "pyproject.toml").write_text('''[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny-thing"
version = "1.0"
''')
    (folder / "backend.py").write_text('''import zipfile
def build_wheel(folder, *_):
    name = "tiny_thing-1.0-py3-none-any.whl"
    files = {"tiny_thing.py": "WORD = 'here'", "tiny_thing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: tiny-thing\\nVersion: 1.0\\n",
             "tiny_thing-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr("tiny_thing-1.0.dist-info/RECORD", "".join(f"{path},,\\n" for path in files))
    return name
''')
    (file := folder / "requirements.txt").write_text(f"tiny-thing @ {folder.as_uri()}\n")
    return file


def test_it_holds_packages_course_and_how_to(requirements, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "add_site", lambda folder: False)  # tests/test_site.py builds it
    out = bundle.build(tmp_path / "bundle", requirements)
    assert [p.name for p in (out / "wheels").iterdir()] == ["tiny_thing-1.0-py3-none-any.whl"]
    for name in ("README.md", "requirements.txt", "notebooks/00_start_here.ipynb", "soundmind_lite/rewards.py", "assets/tiny_omni/config.json", "assets/runs/all_seed0/result.json"):
        assert (out / "course" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (out / "course" / ".git").exists()
    assert "--no-index --find-links wheels" in (out / "README.txt").read_text()
    assert not out.with_name("bundle.part").exists()
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(out / "wheels"), "--target", str(tmp_path / "here"), "tiny-thing"]
    assert subprocess.run(install, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "here" / "tiny_thing.py").is_file()


def test_what_it_refuses(requirements, tmp_path):
    with pytest.raises(bundle.BundleError, match="exists; give a new folder"):
        bundle.build(tmp_path, requirements)
    with pytest.raises(bundle.BundleError, match="copied into itself"):
        bundle.build(ROOT / "bundle", requirements)
    (missing := tmp_path / "requirements.txt").write_text("no-such-package-anywhere @ file:///nowhere/at/all\n")
    with pytest.raises(bundle.BundleError, match="pip wheel failed"):
        bundle.build(tmp_path / "bundle", missing)
    assert not (tmp_path / "bundle").exists()
