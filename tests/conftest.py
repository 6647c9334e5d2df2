"""Fixtures: the shipped tiny model and rows, and clips made on the spot.

One torch thread: idle threads that spin cost more than they give.
"""

import contextlib
import os
import tempfile
from collections import Counter
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import numpy as np
import pytest

QUESTION = 'Major premise is "{}". Minor premise is "b". Conclusion is "c".'
FEW = dict(
    num_generations=2,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=10,
    save_steps=1,
)
TRIED = Counter()  # (what, what happened) → how often, in the tests that passed
ROOT = Path(__file__).resolve().parent.parent
TALKER = dict(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)


def good_row(identifier="0001", label=1, major="a", answer="So it is.\n\nAnswer: entailed."):
    """A line of annotations in ALR's published form."""
    return dict(id=identifier, user_content=QUESTION.format(major), answer=answer, label=label)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A passed test reports what it tried; properties of a report reach xdist's main process."""
    report = (yield).get_result()
    if call.when == "call" and report.passed:
        tried = [(*mark.args, mark.kwargs.get("each", 1)) for mark in item.iter_markers("tried")]
        report.user_properties += [("tried", entry) for entry in tried]


def pytest_runtest_logreport(report):
    for name, value in report.user_properties:
        if name == "tried" and report.when == "call":
            what, happened, count = value
            TRIED[what, happened] += count


def pytest_terminal_summary(terminalreporter):
    if TRIED:
        terminalreporter.section("tried, and what happened")
        for (what, happened), count in TRIED.items():
            terminalreporter.write_line(f"{count:>9,}  {what}: {happened}")


@pytest.fixture(scope="session")
def tiny():
    """`(model, processor)` of the tiny profile; tests that change the model take `fresh_tiny`."""
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
    """The real annotations of ALR's dev split, if they lie beside the repository, or where
    ALR_ANNOTATIONS points."""
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


@pytest.fixture
def small(eight_rows, monkeypatch):
    """A profile "small": two questions with two short completions each a step, on eight rows.

    It is saved at each step."""
    from soundmind_lite import profiles

    profile = replace(profiles.get("tiny"), name="small", data=str(eight_rows), **FEW)
    monkeypatch.setitem(profiles.PROFILES, "small", profile)


@pytest.fixture
def stopped(small, tmp_path):
    """A run of three steps that stopped in the second."""
    from soundmind_lite import train
    from soundmind_lite.runs.guards import TrainingError

    calls = []

    def once(completions, **_):
        calls.append(1)
        return [float("nan") if len(calls) == 2 else 1.0] * len(completions)

    with pytest.raises(TrainingError):
        train.train("small", tmp_path / "run", max_steps=3, reward_funcs=[once])
    return tmp_path / "run"


def again(out):
    """The run of `stopped`, resumed."""
    from soundmind_lite import train

    def once(completions, **_):
        return [1.0] * len(completions)

    return train.train("small", out, max_steps=3, reward_funcs=[once], resume=True)


@pytest.fixture
def nobody():
    """A context in which this process may read and write no more than others may; root may do
    anything."""

    @contextlib.contextmanager
    def without_rights():
        if not hasattr(os, "geteuid"):
            pytest.skip("the rights of files are others on Windows")
        user = os.geteuid()
        if not user:
            try:
                os.seteuid(65534)
            except OSError:
                pytest.skip("this container knows no other user")
        try:
            yield
        finally:
            os.seteuid(user)

    return without_rights


@pytest.fixture
def open_folder():
    """A folder that anybody may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def eight_rows(tmp_path_factory):
    """A folder in the published layout with the first eight rows of mini_alr's train and test."""
    import shutil

    from soundmind_lite.profiles import ASSETS

    folder = tmp_path_factory.mktemp("eight")
    for split in ("train", "test"):
        annotations = ASSETS / "mini_alr" / f"{split}.jsonl"
        lines = annotations.read_text(encoding="utf-8").splitlines()[:8]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for i in range(1, 9):
            shutil.copytree(ASSETS / "mini_alr" / split / f"{i:04}", folder / split / f"{i:04}")
    return folder


@pytest.fixture(scope="session")
def full_checkpoint(tiny, tmp_path_factory):
    """A full Qwen2.5-Omni (thinker, talker, token2wav, spk_dict.pt) in shards; its thinker is
    tiny_omni."""
    import torch
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

    thinker, processor = tiny
    inner = thinker.config
    config = Qwen2_5OmniConfig(
        thinker_config=inner.to_dict(),
        talker_config=dict(
            **TALKER,
            embedding_size=inner.text_config.hidden_size,
            vocab_size=64,
            tts_codec_start_token_id=60,
            tts_codec_end_token_id=61,
            tts_codec_pad_token_id=62,
            tts_codec_mask_token_id=63,
            tts_text_start_token_id=1,
            tts_text_end_token_id=2,
            tts_text_pad_token_id=3,
            rope_parameters=dict(rope_type="default", rope_theta=10_000.0, mrope_section=[2, 3, 3]),
        ),
        token2wav_config=dict(
            dit_config=dict(
                hidden_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                head_dim=32,
                emb_dim=32,
                num_embeds=64,
                enc_dim=32,
                enc_emb_dim=16,
                enc_channels=[32, 32, 32, 32, 96],
                enc_attention_channels=16,
                look_ahead_layers=[1],
                look_backward_layers=[0],
            ),
            bigvgan_config=dict(upsample_initial_channel=64),
        ),
        enable_audio_output=True,
    )
    model = Qwen2_5OmniForConditionalGeneration(config)
    model.thinker.load_state_dict(thinker.state_dict())
    folder = tmp_path_factory.mktemp("full")
    model.save_pretrained(folder, max_shard_size="2MB")
    processor.save_pretrained(folder)
    torch.save(
        {
            "Chelsie": {
                "bos_token": 5,
                "cond": torch.zeros(1, 16),
                "ref_mel": torch.zeros(1, 100, 80),
            }
        },
        folder / "spk_dict.pt",
    )
    return folder


@pytest.fixture(scope="session")
def published_checkpoint(full_checkpoint, tmp_path_factory):
    """`full_checkpoint` in the layout of the published files."""
    from published import as_published

    return as_published(full_checkpoint, tmp_path_factory.mktemp("hub") / "Qwen2.5-Omni")
