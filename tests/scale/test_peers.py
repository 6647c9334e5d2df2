"""`bench peers` at small sizes: plain TRL and ours really run, each in a process of its own."""

import json
import re
import sys

import pytest
from transformers import Qwen2_5OmniForConditionalGeneration

from soundmind_lite import grpo, profiles
from soundmind_lite.audio import SAMPLE_RATE, load_audio
from soundmind_lite.scale import benches, peer_worker, peers

TINY = profiles.get("tiny")
SHORT = dict(audio_seconds=2, group=2, new_tokens=6, questions=2)


@pytest.fixture
def without_swift(monkeypatch):
    monkeypatch.delenv(peers.SWIFT, raising=False)


@pytest.fixture
def measured(without_swift):
    return peers.measure(TINY, rounds=1, **SHORT)


def test_plain_trl_and_ours_take_the_same_steps(measured):
    """The same seed and weights: their first completions are the same texts."""
    assert measured["same_completions"] == {"trl": 4, "ours": 4}
    assert (measured["micro_batches"], measured["threads"], measured["new_tokens"]) == (1, 1, 6)
    plain, own, swift = (measured["peers"][name] for name in peers.PEERS)
    for peer in (plain, own):
        assert len(peer["all_seconds"][0]) == peers.STEPS - 1
        assert min(peer["step_s"], peer["cpu_s"]) > 0
        assert peer["peak_memory_mb"] > 100
        assert {"torch", "transformers", "trl"} <= set(peer["versions"])
    assert plain["ratio"] == plain["step_s"] / own["step_s"]
    assert own["ratio"] == own["memory_ratio"] == 1
    assert swift == {"installed": False}
    lines = peers.table(measured).splitlines()
    assert lines[0].endswith("2 × 2 s of audio, each with 2 completions of 6 tokens")
    assert [line.split()[0] for line in lines[2:5]] == ["plain", "ours", "ms-swift"]
    assert lines[4].endswith("not installed: SOUNDMIND_SWIFT_PYTHON names no Python that has it")
    assert lines[5].endswith("plain TRL 4")


def test_a_peer_that_fails_says_where_and_why():
    """A Python without ms-swift: this one."""
    with pytest.raises(RuntimeError, match=r"^ms-swift failed, run by .*: .* module named 'swift'"):
        peers.in_a_process(sys.executable, {"peer": "swift"})


def test_questions_are_other_clips_of_the_same_length(tmp_path):
    rows = peers.spoken_questions(3, 2, tmp_path)
    clips = [load_audio(row["audio"]) for row in rows]
    assert [len(clip) for clip in clips] == [2 * SAMPLE_RATE] * 3
    assert not (clips[0] == clips[1]).all()


def test_rounds_are_interleaved_and_begin_with_another():
    assert peers.in_turn(["a", "b", "c"], 3) == list("abcbcacab")


def test_what_swift_gets_is_the_thinker_and_the_same_settings(tiny, tmp_path):
    profile = peers.bench.at_sizes(TINY, audio_seconds=2, group=8, new_tokens=6)
    full = peers.write_full(profile, tmp_path / "full")
    model = Qwen2_5OmniForConditionalGeneration.from_pretrained(full)
    expected = tiny[0].state_dict()
    found = model.thinker.state_dict()
    assert found.keys() == expected.keys()
    assert all(found[name].equal(values) for name, values in expected.items())
    settings = model.generation_config
    assert (settings.min_new_tokens, settings.top_k, settings.eos_token_id) == (6, 0, [2])
    row = {"prompt": [{"role": "user", "content": "why"}], "audio": "a.wav", "label": 1}
    job = {"profile": vars(profile), "rows": [row | {"reference_length": 9}], "seed": 3, "steps": 2}
    job |= {"folder": str(tmp_path), "full_checkpoint": full, "lora_targets": peers.TARGETS}
    given = peer_worker.swift_arguments(job)
    batches = given["per_device_train_batch_size"] * given["gradient_accumulation_steps"]
    assert (batches, given["num_generations"], given["max_completion_length"]) == (8, 8, 6)
    assert (given["lora_rank"], given["beta"], given["seed"]) == (TINY.lora_r, TINY.beta, 3)
    (line,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "messages": [{"role": "user", "content": "<audio>why"}],
        "audios": ["a.wav"],
        "label": 1,
        "reference_length": 9,
    }


def test_the_same_layers_get_an_adapter_under_either_name(tiny):
    names = [name for name, _ in tiny[0].named_modules()]
    older = [
        "thinker." + name.replace("model.language_model.", "model.", 1)
        if name.startswith("model.language_model.")
        else "thinker." + name.removeprefix("model.")
        for name in names
    ]
    own = [re.fullmatch(grpo.LORA_TARGETS, name) is not None for name in names]
    assert sum(own) == 28
    assert [re.fullmatch(peers.TARGETS, name) is not None for name in names] == own
    assert [re.fullmatch(peers.TARGETS, name) is not None for name in older] == own


def test_what_cannot_be_compared_is_refused(command):
    with pytest.raises(ValueError, match="on a CPU"):
        peers.measure(profiles.get("l4"))
    done = command("bench", "peers", "--random-weights")
    assert done.returncode == 1
    assert done.stderr.startswith("error: peers compares trained weights")
    with pytest.raises(ValueError, match="--questions is of a step"):
        benches.bench("decode", "tiny", None, random_weights=True, questions=2)
