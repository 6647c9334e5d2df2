"""No code from a checkpoint, a run folder or a data set is run, nothing leaves its folder, and no
key is printed or saved."""

import contextlib
import json
import os
import pickle
import re
import subprocess
import sys
import traceback
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, again, good_row
from keys import KEYS, all_text, files_with_keys, keys_in

from soundmind_lite import data, models, profiles
from soundmind_lite.alr import sources
from soundmind_lite.course import show
from soundmind_lite.runs import adapter, checkpoints, files
from soundmind_lite.scale import memory
from soundmind_lite.speech import talker


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_would_be_found(kind):
    assert [found.split(":")[0] for found in keys_in(f"text {KEYS[kind][1]} text")] == [kind]


@pytest.mark.tried(
    "searches for eleven kinds of keys: repository, notebooks, shipped runs", "none found"
)
def test_the_project_holds_no_key():
    """Notebooks with their outputs, shipped runs, all else; test_site.py searches the site."""
    assert files_with_keys(ROOT) == {}


CANARIES = {
    "HF_TOKEN": "hf_" + "canary" * 6,
    "WANDB_API_KEY": "c0ffee" * 7,
    "OPENAI_API_KEY": "sk-" + "canary" * 8,
    "AWS_SECRET_ACCESS_KEY": "canary" * 7,
}


@pytest.mark.tried(
    "keys in the environment of a run and of the doctor", "in no file and no line", each=4
)
def test_keys_in_the_environment_reach_no_output(eight_rows, tmp_path):
    """A run and the doctor, on a machine that holds keys: no byte of them is printed or written."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "runs")])
    environment = os.environ | CANARIES | {"PYTHONPATH": path}
    code = "import sys, run_worker; from soundmind_lite.scale import doctor\n"
    code += "run_worker.main(sys.argv[1:]); doctor.report()"
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(eight_rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "OK   profile tiny" in done.stdout
    texts = [done.stdout, done.stderr, *(text for _, text in all_text(tmp_path / "run"))]
    assert len(texts) > 18
    for value in CANARIES.values():
        assert not any(value in text for text in texts)
    assert not any(keys_in(text) for text in texts)


URLS = [
    "memory://{user}@host/alr?token=geheim123",
    "zip://x::memory://{user}@host/a.zip?sig=geheim123",
    "https://{user}@localhost:9/a?k=geheim123",
    "memory://{odd}@host/alr",
    "memory://host/alr?st=2026-01-01T00:00:00Z&sig=geheim123",
    "memory://[::1]/alr?sig=geheim123",
]


@pytest.mark.tried("URLs with passwords and tokens that fail", "not shown, in a trace neither")
@pytest.mark.parametrize("url", URLS)
def test_what_a_url_holds_for_its_host_alone_is_not_shown(url):
    url = url.format(user="anna:geheim123", odd="anna:p@geheim123")
    with pytest.raises(ValueError, match="is a URL, which isn't supported") as error:
        data.load_alr(url)
    assert "geheim123" not in str(error.value)
    trace = "".join(traceback.format_exception(error.value))
    assert "geheim123" not in re.sub(r"File .*\n.*\n", "", trace)  # less the quoted lines of code


def test_what_is_no_url_stays_as_it_is():
    for text in (
        "/data/what?now/clip.wav: no such file",
        "the completion was 'Is it so?Yes: it is'",
        "me@home: is it? yes",
        "a :: b",
    ):
        assert sources.without_secrets(text) == text


class Bomb:
    """What a pickle can hold: a call, made while it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    """A file that exists as soon as somebody's code ran; it is shown that a bomb makes it."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()
    return tmp_path / "mark"


def copied(folder, to: Path, without: tuple[str, ...] = ()) -> Path:
    import shutil

    return shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*without))


@pytest.mark.tried("checkpoints whose weights are pickles with code", "refused, not run")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "model.pt"])
def test_weights_that_are_pickles_are_not_read(name, mark, tmp_path):
    folder = copied(
        profiles.ASSETS / "tiny_omni", tmp_path / "model", without=("model.safetensors",)
    )
    torch.save({"lm_head.weight": Bomb(mark)}, folder / name)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        models.load(replace(profiles.get("tiny"), model=str(folder)))
    assert not mark.exists()


@pytest.mark.tried("checkpoints whose weights are pickles with code", "refused, not run")
def test_a_talker_s_voices_are_tensors_alone(published_checkpoint, mark, tmp_path):
    folder = copied(published_checkpoint, tmp_path / "full")
    torch.save({"Chelsie": Bomb(mark)}, folder / "spk_dict.pt")
    with pytest.raises(models.CheckpointError, match=r"spk_dict\.pt holds more than tensors"):
        talker.load_full(replace(profiles.get("tiny"), model=str(folder)))
    assert not mark.exists()


CODE = "import pathlib\npathlib.Path({!r}).touch()\nclass Evil:\n    pass\n"
PLACES = {
    "config.json": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"},
    "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
    "processor_config.json": {"AutoProcessor": "evil.Evil", "AutoFeatureExtractor": "evil.Evil"},
}


@pytest.mark.tried("checkpoints with Python code beside them", "not run, nobody asked")
@pytest.mark.parametrize("file", PLACES)
@pytest.mark.parametrize("known", [True, False])
def test_code_beside_a_checkpoint_is_never_run(file, known, mark, tmp_path, monkeypatch):
    """Nor is anybody asked whether it may be. `known`: with a model type that transformers knows,
    or one that only the code would."""
    folder = copied(profiles.ASSETS / "tiny_omni", tmp_path / "model")
    settings = json.loads((folder / file).read_text()) | {"auto_map": PLACES[file]}
    if not known:
        settings |= {
            "model_type": "evil",
            "tokenizer_class": "Evil",
            "processor_class": "Evil",
            "feature_extractor_type": "Evil",
        }
    (folder / file).write_text(json.dumps(settings))
    (folder / "evil.py").write_text(CODE.format(str(mark)))
    asked = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "y")
    profile = replace(profiles.get("tiny"), model=str(folder))
    for load in (
        models.load,
        talker.has_talker,
        lambda p: memory.config_of(p.model),
        lambda p: talker.load_with_voice(p),
    ):
        try:
            load(profile)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            assert not known, load
    assert not mark.exists()
    assert not asked


def test_nobody_is_trusted_with_code():
    texts = [
        (file, text)
        for file, text in all_text(ROOT)
        if file.suffix in (".py", ".ipynb", ".yaml", ".md") and file != Path(__file__)
    ]
    for file, text in texts:
        assert not re.search(
            r"trust_remote_code\W+True|allow_pickle\W+True|weights_only\W+False", text
        ), file
        if file.is_relative_to(ROOT / "soundmind_lite"):
            readers = r"\bimport (pickle|dill|joblib|marshal|shelve)\b"
            loaders = r"torch\.load\(|\byaml\.(?!safe_)\w*load"
            assert not re.search(f"{readers}|{loaders}", text), file


@pytest.mark.tried(
    "run folders with code in a checkpoint or an adapter", "refused or passed over, not run"
)
@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "adapter_model.bin"],
)
def test_a_checkpoint_of_somebody_else_runs_no_code(name, stopped, mark):
    (stopped / "checkpoint-1" / name).unlink(missing_ok=True)
    torch.save({"state": Bomb(mark)}, stopped / "checkpoint-1" / name)
    if name == "adapter_model.bin":
        (stopped / "checkpoint-1" / "adapter_model.safetensors").unlink()
    checkpoints.mark_complete(
        stopped / "checkpoint-1", 1.0
    )  # who plants code also forges the digests
    refused = name != "training_args.bin"  # nobody reads that one
    with (
        pytest.raises((RuntimeError, OSError, ValueError, pickle.UnpicklingError))
        if refused
        else contextlib.nullcontext()
    ):
        again(stopped)
    assert not mark.exists()


@pytest.mark.tried(
    "run folders with code in a checkpoint or an adapter", "refused or passed over, not run"
)
def test_a_run_of_somebody_else_runs_no_code(mark, tmp_path):
    run = copied(
        profiles.ASSETS / "runs" / "all_seed0",
        tmp_path / "run",
        without=("adapter_model.safetensors",),
    )
    torch.save({"lora": Bomb(mark)}, run / "adapter" / "adapter_model.bin")
    words = r"has no adapter/adapter_model\.safetensors, and weights in other formats aren't read"
    with pytest.raises(files.RunError, match=words):
        adapter.load_trained(run)
    assert not mark.exists()


@pytest.mark.tried(
    "archives with names that leave their folder", "nothing is written outside the cache"
)
@pytest.mark.parametrize(
    "name", ["../evil.wav", "/evil.wav", "dev/../../evil.wav", "dev/0001/../../../evil.wav"]
)
def test_an_archive_writes_nothing_outside_its_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "alr.zip", "w") as archive:
        archive.writestr("dev.jsonl", json.dumps(good_row()) + "\n")
        archive.writestr("dev/0001/question.wav", b"RIFF")
        archive.writestr(name, b"evil")
    before = set(tmp_path.rglob("*"))
    with pytest.warns(UserWarning, match="1 rows in dev, ALR has 606"):
        data.load_alr(tmp_path / "alr.zip", "dev", audio="both")
    fresh = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert all(path.is_relative_to(tmp_path / "cache") for path in fresh)
    assert [path.name for path in fresh] == ["question.wav"]


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.mark.tried("places that show somebody's text as HTML", "escaped", each=10)
def test_text_of_models_and_people_is_escaped_wherever_html_is_shown(test_rows):
    """Completions, transcripts, titles, questions, captions, descriptions, table cells, rewards."""
    import numpy as np

    rollouts = [
        {"step": 1, "id": SCRIPT, "completion": SCRIPT, "advantage": 1.0, f"{SCRIPT}_reward": 1.0}
    ]
    row = test_rows[0] | {"id": SCRIPT, "question": SCRIPT}
    shown = [
        show.reward_card(SCRIPT, 1, reference_length=5),
        show.rollout_group(rollouts, row),
        show.table([{SCRIPT: SCRIPT}], SCRIPT).data,
        show.player(np.zeros(1600, np.float32), SCRIPT, title=SCRIPT).data,
        show.player(np.zeros(1600, np.float32), SCRIPT, folded=True).data,
        show.Picture(b"", SCRIPT)._repr_mimebundle_()["text/html"],
    ]
    for page in shown:
        assert "&lt;script&gt;" in page
        assert "<script" not in page
        assert "<img src=x" not in page
