"""Each clip is encoded once for all measurements, and again if the encoder has changed."""

import pytest
import torch

from soundmind_lite import data, evaluation, models
from soundmind_lite.audio import load_audio
from soundmind_lite.fast import encoder, remember
from soundmind_lite.prompts import prompt, with_audio


@pytest.fixture
def encoded(fresh_tiny, monkeypatch):
    """The clips of each call of the encoder, and an empty memory."""
    monkeypatch.setattr(encoder, "AUDIO_EMBEDS", remember.Memory(8))
    calls = []
    fresh_tiny[0].model.audio_tower.register_forward_pre_hook(
        lambda module, args, options: calls.append(len(options["feature_lens"])), with_kwargs=True
    )
    return calls


def answers(tiny, **options):
    rows = data.load_alr("mini", "test").select(range(6))
    found = evaluation.answer_rows(
        tiny[0], rows, processing_class=tiny[1], profile="tiny", **options
    )
    return [answer.completion for answer in found]


def test_six_measurements_encode_each_clip_once(encoded, fresh_tiny):
    """Silence, too, is a clip, one for each length; swapped clips are those of the other rows."""
    greedy = answers(fresh_tiny)
    assert encoded == [1] * 6
    assert answers(fresh_tiny) == greedy
    sampled = answers(fresh_tiny, sample=True)
    assert answers(fresh_tiny, sample=True, control="swapped") != sampled
    assert encoded == [1] * 6
    answers(fresh_tiny, control="silent")
    assert 6 < len(encoded) <= 12


@pytest.mark.parametrize(
    "how", ["in place", "behind autograd's back", "one weight to NaN and back"]
)
def test_a_changed_encoder_encodes_again(how, encoded, fresh_tiny):
    model = fresh_tiny[0]
    before = answers(fresh_tiny)
    weight = model.model.audio_tower.proj.weight
    if how == "in place":
        with torch.no_grad():
            weight.mul_(0.5)
    elif how == "behind autograd's back":
        weight.data.mul_(0.5)
    else:
        kept = weight.data[0, 0].item()
        weight.data[0, 0] = float("nan")
        weight.data[0, 0] = kept
    after = answers(fresh_tiny)
    again = how.startswith("one weight")
    assert len(encoded) == (6 if again else 12)
    assert (after == before) == again


def test_the_embeddings_are_those_of_a_batch(encoded, fresh_tiny):
    """With rows of different lengths, and a row without audio between them."""
    model, processor = fresh_tiny
    rows = data.load_alr("mini", "test").select([0, 5])
    clips = [load_audio(row["question_audio"]) for row in rows]
    clips[1] = clips[1][: len(clips[1]) // 2]
    conversations = [with_audio(prompt(), clips[0]), prompt("a?"), with_audio(prompt(), clips[1])]
    batch = models.encoded(processor, conversations, device="cpu")
    with torch.no_grad():
        found = encoder.embeddings(model, batch)
        features = {name: batch[name] for name in models.AUDIO_FIELDS}
        whole = model.get_audio_features(**features, return_dict=True).last_hidden_state
    assert [len(rows) > 0 for rows in found] == [True, False, True]
    assert (torch.cat(found) - whole).abs().max() < 1e-5
    text = {name: batch[name][1:2] for name in ("input_ids", "attention_mask")}
    assert encoder.embeddings(model, text) is None
