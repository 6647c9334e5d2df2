"""A model from the hub: the real client against a hub on the loopback that serves the published
layout."""

import os
import subprocess
import sys
import traceback
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from huggingface_hub import constants
from local_hub import MODEL, serving
from peft import get_peft_model

from soundmind_lite import grpo, models, profiles
from soundmind_lite.alr.sources import SourceError
from soundmind_lite.speech import talker

OF_THE_HUB = replace(profiles.get("tiny"), model=MODEL)
SHARD = "model-00002-of-00005.safetensors"
UNWANTED = {  # beside a checkpoint of somebody's
    "pytorch_model.bin": b"a pickle",
    "modeling_omni.py": b"raise SystemExit",
    "checkpoint-500/model.safetensors": b"an older one",
    ".gitattributes": b"*.safetensors filter=lfs",
}


@pytest.fixture
def files(published_checkpoint):
    return {path.name: path.read_bytes() for path in published_checkpoint.iterdir()}


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch, cache, files):
    with serving(monkeypatch, cache) as hub:
        commit(hub, files | UNWANTED)
        yield hub


def commit(hub, files):
    return hub.commit(files, repository=f"models/{MODEL}")


def large(files):
    return {name for name in files if name.endswith((".safetensors", ".pt"))}


def same(model, other):
    return all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values())
    )


def test_a_thinker_of_the_hub_is_that_of_the_folder(hub, cache, files, published_checkpoint):
    model, processor = models.load(OF_THE_HUB)
    local, _ = models.load(replace(OF_THE_HUB, model=str(published_checkpoint)))
    assert same(model, local)
    assert models.max_audio_seconds(processor) == OF_THE_HUB.max_audio_seconds
    # an adapter says what it belongs to, and not where that lay on this machine
    adapter = get_peft_model(model, grpo.lora_config(OF_THE_HUB)).peft_config["default"]
    assert adapter.base_model_name_or_path == model.config.name_or_path == MODEL
    snapshot = next(cache.glob("models--owner--omni/snapshots/*"))
    fetched = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert fetched == set(files)


def test_the_requests_are_counted(hub, files):
    """A file costs two requests, the model three; what is in the cache costs none."""
    models.load(OF_THE_HUB)
    texts = len(files) - len(large(files))
    assert hub.counts() == {
        ("GET", "info"): 2,  # for the processor and for the thinker
        ("GET", "tree"): 1,
        ("HEAD", "resolve"): len(files),
        ("GET", "resolve"): texts,
        ("GET", "store"): len(large(files)),
    }
    models.load(OF_THE_HUB)
    assert hub.counts() == {("GET", "info"): 2}
    talker.load_with_voice(OF_THE_HUB)
    assert hub.counts() == {("GET", "info"): 2}


def test_shards_are_fetched_whole_the_talker_s_too(hub, files):
    """A thinker alone would do without the last two of five."""
    models.load(OF_THE_HUB)
    assert hub.sent == {name: len(files[name]) for name in large(files)}


def test_only_what_a_new_commit_changes_is_fetched(hub, files):
    models.load(OF_THE_HUB)
    hub.sent.clear()
    hub.counts()
    commit(hub, files | {"spk_dict.pt": b"other voices"})
    models.load(OF_THE_HUB)
    assert set(hub.sent) == {"spk_dict.pt"}
    assert hub.counts()["GET", "resolve"] == 0


@pytest.mark.tried("requests that the hub refused for their number (429)", "waited for", each=3)
def test_a_hub_that_asks_to_wait_is_waited_for(hub):
    refused = {"tree": 1, "resolve": 2, "store": 1}
    hub.limited.update(refused)
    model, _ = models.load(OF_THE_HUB)
    assert model.name_or_path == MODEL
    assert all(hub.limited[route] < 0 for route in refused)


@pytest.mark.tried(
    "downloads that were cut in the middle", "resumed, or refused without half a file"
)
def test_a_shard_that_is_cut_is_resumed(hub, files, monkeypatch, published_checkpoint):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.cut[SHARD] = 750_000
    model, _ = models.load(OF_THE_HUB)
    assert hub.ranges == ["bytes=700000-"]
    assert hub.sent[SHARD] == len(files[SHARD]) + 50_000  # the part of a chunk is sent again
    assert same(model, models.load(replace(OF_THE_HUB, model=str(published_checkpoint)))[0])


@pytest.mark.tried(
    "downloads that were cut in the middle", "resumed, or refused without half a file"
)
def test_a_fetch_that_breaks_leaves_whole_files(hub, files, cache):
    hub.reset.add(SHARD)
    with pytest.raises(SourceError, match=f"^{MODEL}: .*; what is here already stays$"):
        models.load(OF_THE_HUB)
    assert not list(cache.rglob("*.incomplete"))
    there = {path.name for path in cache.rglob("snapshots/*/*")}
    assert SHARD not in there
    hub.reset.clear()
    hub.sent.clear()
    models.load(OF_THE_HUB)
    assert set(hub.sent) == large(files) - there


def no_such_name(hub, monkeypatch):
    return "owner/other"


def no_hub_id(hub, monkeypatch):
    return "no/such/folder"


def busy(hub, monkeypatch):
    """huggingface_hub waits for listings and files, but not for this request."""
    hub.limited["info"] = 1
    return MODEL


def offline(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return MODEL


def no_network(hub, monkeypatch):
    hub.server.shutdown()
    hub.server.server_close()
    return MODEL


def no_access(hub, monkeypatch):
    hub.denied.add(SHARD)
    return MODEL


@pytest.mark.tried("signed URLs that fail", "not shown, in a trace neither")
@pytest.mark.parametrize(
    ("case", "what"),
    [
        (no_such_name, "RepositoryNotFoundError: 404.* Repository Not Found"),
        (no_hub_id, "no such folder, and no hub id either, which is owner/name"),
        (busy, "429 Too Many Requests"),
        (offline, "HF_HUB_OFFLINE=0"),
        (no_network, "ConnectError"),
        (no_access, "403 Forbidden"),
    ],
)
@pytest.mark.parametrize("load", [models.load, talker.load_with_voice])
def test_a_model_that_can_not_be_fetched(load, case, what, hub, monkeypatch):
    """One line that names the model and says what to do."""
    name = case(hub, monkeypatch)
    with pytest.raises(SourceError, match=f"^{name}: .*{what}") as error:
        load(replace(OF_THE_HUB, model=name))
    assert "\n" not in str(error.value)
    assert case is no_hub_id or "; check the id and the network, log in" in str(error.value)
    assert "geheim" not in "".join(traceback.format_exception(error.value))


def test_without_a_network_the_cache_serves(hub, monkeypatch):
    model, _ = models.load(OF_THE_HUB)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(models.load(OF_THE_HUB)[0], model)
    assert hub.requests == []


def test_a_cache_that_lacks_a_file_says_which(hub, monkeypatch, cache):
    models.load(OF_THE_HUB)
    next(cache.rglob(SHARD)).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match=rf"{MODEL}: .*1 file\(s\) are missing \({SHARD}\)"):
        models.load(OF_THE_HUB)


def test_a_process_of_its_own_evaluates_a_model_of_the_hub(hub, eight_rows, tmp_path):
    """No constant is patched here: the environment says where the hub is."""
    options = ["--model", MODEL, "--data", str(eight_rows), "--out", str(tmp_path / "result.json")]
    options += ["--test-rows", "2", "--max-completion-length", "8"]
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "ignore", "-m", "soundmind_lite", "evaluate", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in (tmp_path / "result.json").read_text()
    assert hub.counts()["GET", "store"] == 6
