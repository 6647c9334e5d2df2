"""Fixtures: the shipped tiny model and rows, and clips made on the spot. One torch thread: idle threads that spin cost more than they give."""
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tiny():
    """`(model, processor)` of the tiny profile; a test that changes the weights takes `fresh_tiny`."""
    from soundmind_lite import models

    return models.load("tiny")


@pytest.fixture
def fresh_tiny():
    from soundmind_lite import models

    return models.load("tiny")


@pytest.fixture(scope="session")
def test_rows():
    from soundmind_lite import data

    return list(data.load_alr("mini", "test"))


@pytest.fixture(scope="session")
def real_rows():
    """The real annotations of ALR's dev split, if they lie beside the repository (or where ALR_ANNOTATIONS points)."""
    import json

    file = Path(os.environ.get("ALR_ANNOTATIONS", ROOT.parent / "shared" / "alr" / "dev.jsonl"))
    if not file.is_file():
        pytest.skip("the real annotations are not here; set ALR_ANNOTATIONS to ALR's dev.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def tone(tmp_path):
    """Writes a clip and returns its path: `tone("a.wav", seconds=1, rate=16000, channels=1)`."""
    import soundfile

    def write(name="clip.wav", seconds=1.0, rate=16_000, channels=1, samples=None, **how):
        if samples is None:
            samples = 0.1 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
        if channels > 1:
            samples = np.stack([samples] * channels, axis=1)
        soundfile.write(tmp_path / name, samples, rate, **how)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def eight_rows(tmp_path_factory):
    """A folder in the published layout with the first eight rows of mini_alr's train and test splits."""
    import shutil

    from soundmind_lite.profiles import ASSETS

    folder = tmp_path_factory.mktemp("eight")
    for split in ("train", "test"):
        lines = (ASSETS / "mini_alr" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:8]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for i in range(1, 9):
            shutil.copytree(ASSETS / "mini_alr" / split / f"{i:04}", folder / split / f"{i:04}")
    return folder
