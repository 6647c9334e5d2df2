"""Rollouts on an engine: a trainer and a process that speaks vLLM's HTTP, on the loopback.

SOUNDMIND_VLLM names the URL of a real vLLM server instead, which serves a full checkpoint of the
tiny model (`scale.peers.write_full`); the tests of faults are then left out.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from conftest import FEW, ROOT, TORCHRUN
from stand_in import FAULTS, decoded

from soundmind_lite import data, families, grpo, models, profiles, train
from soundmind_lite.runs import engine, engine_http
from soundmind_lite.runs.engine_http import EngineError
from soundmind_lite.runs.files import RunError
from soundmind_lite.runs.sampling import METRIC, SamplingWarning
from soundmind_lite.trainer import AudioGRPOTrainer

REAL = os.environ.get("SOUNDMIND_VLLM")
SMALL = replace(profiles.get("tiny"), **FEW | {"num_generations": 4, "max_completion_length": 40})
TINY = SMALL.model
RATIO = "sampling/importance_sampling_ratio"


class StandIn:
    def __init__(self, url: str):
        self.url = url

    def set(self, fault: str) -> list:
        """Sets a fault, and returns what was asked since the last call: (path, adapter)."""
        body = json.dumps({"fault": fault}).encode()
        with urlopen(Request(f"{self.url}/stand_in", body)) as answer:
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def process():
    """A stand-in that the tests of this module share."""
    command = [sys.executable, str(ROOT / "tests/engine/stand_in.py"), "--model", TINY]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        yield StandIn(f"http://127.0.0.1:{int(started.stdout.readline())}")
        started.terminate()


@pytest.fixture
def stand_in(process):
    process.set("none")
    return process


@pytest.fixture
def url(request):
    return REAL or request.getfixturevalue("stand_in").url


def variety(completions, **_):
    """A reward that differs within every group, so that the weights move."""
    return [float(len(set(c[0]["content"]))) for c in completions]


@pytest.fixture
def steps(eight_rows, tmp_path):
    """`steps(url)` trains three steps and returns their log."""

    def run(url, *, setting="audio-text", out=tmp_path, **overrides):
        model, processor = models.load(SMALL)
        trainer = grpo.trainer_for(
            SMALL,
            model,
            processing_class=processor,
            train_dataset=data.training_rows(data.load_alr(eight_rows), setting),
            output_dir=out,
            reward_funcs=variety,
            vllm_server_base_url=url,
            **{"max_steps": 3, "warmup_steps": 0, "save_strategy": "no", **overrides},
        )
        trainer.train()
        return [line for line in trainer.state.log_history if "reward" in line]

    return run


@pytest.mark.parametrize("setting", ["audio-text", "text-text"])
def test_log_probs_of_the_server_are_those_that_are_scored(setting, url, steps, monkeypatch):
    def generate(*_, **__):
        raise AssertionError("the trainer's own model sampled")

    monkeypatch.setattr(AudioGRPOTrainer, "_generate_single_turn", generate)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamplingWarning)
        log = steps(url, setting=setting)
    assert len(log) == 3
    assert [line["kl"] > 0 for line in log] == [False, True, True]  # the weights have moved
    for line in log:
        assert 0 < line[f"{METRIC}/mean"] < 2e-6
        assert line[f"{METRIC}/max"] < 2e-5
        for name in ("min", "mean", "max"):  # which TRL weighs the loss with
            assert line[f"{RATIO}/{name}"] == pytest.approx(1.0, abs=1e-4)


def test_each_step_has_an_adapter_of_its_own(stand_in, steps, tmp_path):
    steps(stand_in.url)
    asked = stand_in.set("none")
    loads = [name for path, name in asked if path == "/v1/load_lora_adapter"]
    forgotten = [name for path, name in asked if path == "/v1/unload_lora_adapter"]
    used = [name for path, name in asked if path == "/v1/chat/completions"]
    assert len(set(loads)) == len(loads) == 3
    assert forgotten == loads[:2]
    assert used == [name for name in loads for _ in range(SMALL.prompts_per_step)]
    assert [path.name for path in (tmp_path / engine.FOLDER).iterdir()] == loads[-1:]


def test_what_a_server_knows_from_an_earlier_run_is_loaded_anew(url, steps, tmp_path):
    """Its folder may hold other weights by now, or none."""
    steps(url, out=tmp_path / "first", max_steps=1)  # leaves its adapter, the second run's first
    (adapter,) = (tmp_path / "first" / engine.FOLDER).iterdir()
    steps(url, out=tmp_path / "other", max_steps=2, seed=1)
    (other,) = (tmp_path / "other" / engine.FOLDER).iterdir()
    shutil.copy(other / engine.WEIGHTS, adapter)
    (line,) = steps(url, out=tmp_path / "second", max_steps=1)
    assert line[f"{METRIC}/mean"] < 2e-6


@pytest.mark.parametrize("how", ["stale", "other names"])
def test_an_adapter_that_is_not_applied_is_seen(how, stand_in, steps, monkeypatch):
    if how == "other names":  # the server takes them, and knows none of their layers
        monkeypatch.setattr(engine, "ON_HUB", engine.HERE)
    else:
        stand_in.set("stale")
    with pytest.warns(SamplingWarning, match=r"step 2: .* must serve the run's checkpoint"):
        log = steps(stand_in.url)
    differences = [line[f"{METRIC}/mean"] for line in log]
    assert differences[0] < 2e-6
    assert min(differences[1:]) > 1e-3
    assert max(abs(line[f"{RATIO}/mean"] - 1) for line in log[1:]) > 1e-3


def test_the_loss_is_weighed_by_the_ratio_of_the_policies(stand_in, steps, tmp_path):
    (line,) = steps(stand_in.url, out=tmp_path / "weighed", max_steps=1)
    assert line["grad_norm"] > 1e-3
    # every ratio is 1, beyond this bound, and TRL gives what is beyond it no weight
    bound = {"vllm_importance_sampling_clip_max": 0.5, "max_steps": 1}
    (line,) = steps(stand_in.url, out=tmp_path / "bounded", **bound)
    assert (line["grad_norm"], line[f"{RATIO}/max"]) == (0.0, 0.0)
    bound["vllm_importance_sampling_correction"] = False
    (line,) = steps(stand_in.url, out=tmp_path / "uncorrected", **bound)
    assert line["grad_norm"] > 1e-3
    assert f"{RATIO}/max" not in line
    assert 0 < line[f"{METRIC}/mean"] < 2e-6


WORDS = {
    "no runtime LoRA": r"load_lora_adapter answered 404: Not Found; it needs VLLM_ALLOW_RUNTIME_LO",
    "refuses": r"answered 500: LoRA rank 16 is too large; it needs .*--max-lora-rank",
    "other prompt": r"row \d{4}: the server's prompt has (\d+) ids, ours \d+; at position \d+ the "
    r"server's is 9, ours 4; serve the same checkpoint",
    "no ids": r"row \d{4}: the server's answer lacks token ids; .* vLLM's own server, 0.22",
    "no log-probs": r"row \d{4}: the server sent 0 log-probs for \d+ tokens",
    "NaN": r"row \d{4}: a log-prob of the server is NaN or infinite; lower learning_rate",
    "slow": r"row \d{4}: http\S+/v1/chat/completions has not answered within 1 s; raise vllm_serv",
}


@pytest.mark.parametrize("fault", WORDS)
def test_what_the_server_does_wrong_is_named(fault, stand_in, steps, tmp_path):
    stand_in.set(fault)
    with pytest.raises(EngineError, match=WORDS[fault]):
        steps(stand_in.url, max_steps=1, vllm_server_timeout=1 if fault == "slow" else 60)
    assert not (tmp_path / grpo.ROLLOUTS).exists()


def test_each_fault_is_tried():
    assert set(FAULTS) == {"none", "stale", *WORDS}


def test_a_server_is_checked_before_anything_is_loaded(url, tmp_path):
    def options(server, model=TINY, rollouts="vllm", setting="audio-text"):
        return engine.options(rollouts, server, model=model, setting=setting)

    assert options(url) == {"vllm_server_base_url": url}
    assert options(None, rollouts="transformers") == {}
    with pytest.raises(EngineError, match=r"serves \S*tiny_omni, and the run trains Qwen/Qwen2.5"):
        options(url, "Qwen/Qwen2.5-Omni-7B")
    with pytest.raises(EngineError, match=r"can't be reached \(nonnumeric port: 'x'\)"):
        options("http://127.0.0.1:x")
    with pytest.raises(EngineError, match=r"can't be reached \(.*refused\); start it as"):
        train.train(SMALL, tmp_path / "run", rollouts="vllm", server="http://127.0.0.1:9")
    with pytest.raises(ValueError, match="goes with rollouts='vllm'"):
        options(url, rollouts="transformers")
    for server in (None, "127.0.0.1:8000"):
        with pytest.raises(ValueError, match="needs the server's URL, such as"):
            options(server)
    with pytest.raises(ValueError, match="setting is 'text-audio'"):
        options(url, setting="text-audio")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 1}', b"[]"])
def test_another_server_is_no_vllm_server(body, monkeypatch):
    server = engine_http.Server("http://127.0.0.1:9", timeout=1)
    monkeypatch.setattr(server, "call", lambda path: body)
    with pytest.raises(EngineError, match="is no vLLM server"):
        server.check(TINY)


def test_a_clip_travels_to_the_bit():
    clip = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    parts = [{"type": "audio", "audio": clip}, {"type": "text", "text": "Does it follow?"}]
    (turn,) = engine_http.messages([{"role": "user", "content": parts}])
    audio, text = turn["content"]
    assert text == parts[1]
    assert audio["type"] == "input_audio"
    assert audio["input_audio"]["format"] == "wav"
    assert np.array_equal(decoded(audio["input_audio"]), clip)
    plain = [{"role": "user", "content": "Does it follow?"}]
    assert engine_http.messages(plain) == plain
    with pytest.raises(NotImplementedError, match="conversations, not text: 'Does"):
        engine_http.messages("Does it follow?")


def test_where_ids_part():
    assert "at position 2 the server's is 7, ours 8;" in engine_http.first_difference(
        [1, 2, 7, 4], [1, 2, 8, 4]
    )
    shorter = engine_http.first_difference([1, 2], [1, 2, 3])
    assert "has 2 ids, ours 3; at position 2 the server's is the end, ours 3;" in shorter


@pytest.fixture
def run(eight_rows, tmp_path, url):
    """`run(name, fail_at=None, **options)` trains two steps in a folder, which is returned."""

    def start(name, fail_at=None, **options):
        calls = []

        def reward(completions, **_):
            calls.append(completions)
            if len(calls) == fail_at:
                raise RuntimeError("power cut")
            return variety(completions)

        profile = replace(SMALL, data=str(eight_rows), max_steps=3, eval="none")
        options = {"rollouts": "vllm", "server": url, "reward_funcs": reward, **options}
        train.train(profile, tmp_path / name, **options)
        return tmp_path / name

    return start


def completions(folder):
    lines = (folder / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["step"], row["id"], row["completion"]) for row in map(json.loads, lines)]


def test_a_run_resumes_with_the_same_completions(run, tmp_path):
    complete = run("complete")
    with pytest.raises(RuntimeError, match="power cut") as caught:
        run("stopped", fail_at=3)
    assert caught.value.__notes__ == ["checkpoint-2 is complete: resume=True continues from it"]
    with pytest.raises(RunError, match="rollouts: vllm there, transformers now"):
        run("stopped", resume=True, rollouts="transformers", server=None)
    resumed = run("stopped", resume=True)
    assert completions(resumed) == completions(complete)
    assert len(completions(complete)) == 3 * 2 * 4
    assert json.loads((complete / "run.json").read_text())["rollouts"] == "vllm"


def test_a_run_from_before_there_were_rollouts_resumes(run, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        run("older", fail_at=2, rollouts="transformers", server=None)
    facts = json.loads((tmp_path / "older" / "run.json").read_text())
    assert facts.pop("rollouts") == "transformers"
    (tmp_path / "older" / "run.json").write_text(json.dumps(facts))
    run("older", resume=True, rollouts="transformers", server=None)


@pytest.mark.slow
def test_two_processes_ask_for_their_own_rows(stand_in, eight_rows, tmp_path):
    command = [sys.executable, *TORCHRUN, "-m", "soundmind_lite", "train"]
    command += ["--rollouts", "vllm", "--server", stand_in.url, "--out", str(tmp_path / "run")]
    command += ["--data", str(eight_rows), "--steps", "2", "--eval", "none"]
    command += ["--max-completion-length", "20"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    asked = stand_in.set("none")
    loads = [name for path, name in asked if path == "/v1/load_lora_adapter"]
    assert len(loads) == len(set(loads))
    requests = [path for path, _ in asked].count("/v1/chat/completions")
    assert requests == 2 * 4  # two steps of four questions, each in one process
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)[f"{METRIC}/mean"] < 2e-6 for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_deepspeed_enabled": True}, "the model is in pieces; launch with ddp.yaml"),
        ({"model": torch.nn.Linear(1, 1)}, "this model has none; give peft_config"),
        ({"_family": families.Voxtral()}, "adapters of Voxtral would need other names"),
    ],
)
def test_what_has_no_adapter_to_reload_is_refused(change, words, steps, monkeypatch):
    def check(trainer):
        vars(trainer).update(change)
        checked(trainer)

    checked = engine.EngineRollouts._check_engine
    monkeypatch.setattr(engine.EngineRollouts, "_check_engine", check)
    with pytest.raises(NotImplementedError, match=f"rollouts on a vLLM server: .*{words}"):
        steps("http://127.0.0.1:9")


def test_an_adapter_beside_the_language_model_is_refused():
    name = "base_model.model.model.audio_tower.layers.0.fc1.lora_A.weight"
    with pytest.raises(NotImplementedError, match=r"audio_tower.* is not of the language model"):
        engine.on_hub({name: torch.zeros(1)})
