"""tiny_omni in the pages answers as the library's does; see `site_browser` for what this needs."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
import torch

from soundmind_lite import models
from soundmind_lite.fast import head
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.publish import web_model
from soundmind_lite.publish.web_run import RUN, answers, rows_of
from soundmind_lite.runs import adapter

pytest_plugins = ("site_browser",)

WEIGHTS = ("before", "after")
MEGABYTES = 12  # that a page may load, at most, before it answers
# A page that has the model, and `heard(flac)`: the samples of a clip
MODEL = """(async () => {
  await soundmind.script("tiny_omni");
  await soundmind.script("clip");
  const model = await soundmind.tinyOmni();
  window.model = model;
  window.heard = flac => soundmind.clip.decoded(soundmind.bytes(flac), model.sample_rate);
})()"""
NUMBERS = """(async () => {
  const samples = await heard(%s);
  const features = model.features(samples);
  const sound = await model.encode(features);
  const { logits } = await model.read(sound, model.weights[%s]);
  const lists = { samples, features, sound, logits };
  return Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, Array.from(list)]));
})()"""
ANSWERS = """(async () => {
  const sound = await model.encode(model.features(await heard(%s)));
  return { before: await model.answer(sound, "before"), after: await model.answer(sound, "after") };
})()"""


@pytest.fixture(scope="module")
def thinkers():
    """The library's model before and after training, and its processor."""
    before, processor = models.load("tiny")
    after, _, _ = adapter.load_trained(RUN)
    return {"before": before, "after": after}, processor


def samples_of(flac: str) -> np.ndarray:
    """The samples of base64 of a FLAC."""
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(flac)), dtype="float32")
    return samples


@pytest.fixture
def page(lab_page):
    """A page that has the model."""
    browser = lab_page()
    browser.run(MODEL)
    return browser


def test_the_weights_are_all_that_the_checkpoint_has_but_for_the_vision_encoder(thinkers, tmp_path):
    found = unpacked(web_model.model(tmp_path)["weights"])
    trained = thinkers[0]["before"].state_dict()
    expected = {
        name.removeprefix("model.").replace("language_model.", "model."): values.numpy()
        for name, values in trained.items()
        if not name.startswith("model.visual") and name != "lm_head.weight"  # tied
    }
    left_out = expected.keys() - found.keys()
    assert left_out == {"audio_tower.audio_bos_eos_token.weight"}  # no forward pass reads it
    for name in expected.keys() & found.keys():
        values = expected[name]
        stored = values.transpose(0, 2, 1) if ".conv" in name and values.ndim == 3 else values
        assert np.array_equal(found[name], stored), name


def test_weights_and_adapter_together_make_the_trained_model(thinkers, tmp_path):
    base = unpacked(web_model.model(tmp_path)["weights"])
    found = web_model.adapter(tmp_path)
    lora = unpacked(found["weights"])
    trained = thinkers[0]["after"].state_dict()
    names = [name for name in lora if name.endswith("lora_A.weight")]
    assert len(names) == 28  # 7 matrices in each of 4 layers
    for name in names:
        target = name.replace(".lora_A", "")
        change = found["scale"] * lora[name.replace("lora_A", "lora_B")] @ lora[name]
        expected = trained["model.language_" + target].numpy()
        assert np.abs(base[target] + change - expected).max() < 1e-6, name


def unpacked(weights: dict) -> dict[str, np.ndarray]:
    numbers = np.frombuffer(base64.b64decode(weights["base64"]), "<f4")
    found = {}
    for name, shape in weights["shapes"].items():
        count = int(np.prod(shape))
        found[name], numbers = numbers[:count].reshape(shape), numbers[count:]
    assert not numbers.size
    return found


def test_tokens_spell_what_the_tokenizer_decodes(thinkers):
    tokenizer = thinkers[1].tokenizer
    spelled = web_model.tokens(tokenizer)
    for text in ("<think>it", "Grüße, 日本 🐦\n", answers("after")["0001"]["completion"]):
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id, *tokenizer.all_special_ids]
        found = "".join(spelled[i] for i in ids).encode("latin-1").decode()
        assert found == tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_prompt_is_the_librarys_around_the_sound(thinkers):
    processor = thinkers[1]
    asked = [with_audio(prompt(), np.zeros(40_000, np.float32))]
    ids = models.encoded(processor, [asked[0]], device="cpu")["input_ids"][0].tolist()
    found = web_model.prompt_ids(processor)
    sound = len(ids) - len(found["before"]) - len(found["after"])
    assert sound == models.audio_token_count(250)
    assert ids == found["before"] + sound * [processor.audio_token_id] + found["after"]


def test_questions_of_both_labels_and_what_training_did_to_each():
    outcomes = [
        (rows_of("test")[name]["label"], *(answers(when)[name]["correct"] for when in WEIGHTS))
        for name in web_model.ASKED
    ]
    assert {label for label, *_ in outcomes} == {0, 1}
    changes = {tuple(change) for _, *change in outcomes}
    assert changes == {(False, True), (True, True), (False, False), (True, False)}
    wrong = {name for name in web_model.ASKED if not answers("after")[name]["correct"]}
    assert set(web_model.REMARKS) == wrong


@pytest.mark.slow
def test_a_page_loads_no_more_than_it_may(live_folder):
    sizes = {file.stem: file.stat().st_size for file in (live_folder / "data").glob("*.js")}
    scripts = sum(file.stat().st_size for file in live_folder.glob("*.js"))
    question = max(size for name, size in sizes.items() if name.startswith("ask_"))
    loaded = sizes["tiny_omni"] + sizes["tiny_omni_adapter"] + sizes["ask"] + question + scripts
    assert loaded < MEGABYTES * 1e6


@pytest.mark.slow
@pytest.mark.parametrize("which", WEIGHTS)
@pytest.mark.parametrize("name", ["0001", "0009", "0019"])
def test_features_vectors_and_logits_are_the_librarys(page, thinkers, name, which):
    flac = web_model.clip(name, None)
    found = page.run(NUMBERS % (json.dumps(flac), json.dumps(which)))
    found = {part: np.array(values) for part, values in found.items()}
    model, processor = thinkers[0][which], thinkers[1]
    clip = samples_of(flac)
    # browsers scale samples by 1/32767 or 1/32768
    assert np.abs(found["samples"] - clip).max() <= 1 / 32_768
    asked = [with_audio(prompt(), found["samples"].astype(np.float32))]
    inputs = models.encoded(processor, asked, device="cpu")
    with torch.no_grad(), head.last_logits(model):
        logits = model(**inputs).logits[0, -1]
        sound = model.get_audio_features(
            inputs["input_features"], inputs["feature_attention_mask"]
        ).last_hidden_state
    expected = {"features": inputs["input_features"][0].T, "sound": sound, "logits": logits}
    for part, limit in {"features": 1e-4, "sound": 2e-5, "logits": 1e-5}.items():
        assert np.abs(found[part] - expected[part].numpy().ravel()).max() < limit, part


@pytest.mark.slow
def test_the_same_answers_as_the_library_to_every_test_question(page):
    different = []  # no near-tie has to be excused: every token is the same
    for name in rows_of("test"):
        found = page.run(ANSWERS % json.dumps(web_model.clip(name, None)))
        for which in WEIGHTS:
            if found[which] != answers(which)[name]["completion"]:
                different.append((name, which, found[which]))
    assert different == []
