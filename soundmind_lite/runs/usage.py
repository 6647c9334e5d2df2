"""How the folders of a run describe themselves: what they hold, and plain code that uses it.

The code needs transformers, peft for an adapter, and nothing of this course. `AutoProcessor` wants
the image and video halves of the processor, which are left out here, so the code takes tokenizer
and feature extractor, and counts the audio tokens itself. The prompt is written out: a checkpoint
may keep its chat template with the processor.
"""

from pathlib import Path

from ..prompts import prompt, with_audio
from .checkpoints import step_of
from .files import FACTS, read_json, write_text

CARD = "README.md"
CODE = """\
import librosa
{peft}from transformers import AutoTokenizer, WhisperFeatureExtractor
from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

tokenizer = AutoTokenizer.from_pretrained("{base}")
extractor = WhisperFeatureExtractor.from_pretrained("{base}")
model = Thinker.from_pretrained("{base}", dtype="auto", device_map="auto")
{adapt}
audio, _ = librosa.load("question.wav", sr=16_000)
options = {{"sampling_rate": 16_000, "truncation": False, "return_attention_mask": True}}
sound = extractor(audio, return_tensors="pt", **options)
frames = int(sound.attention_mask.sum())
text = {text!r}
text = text.replace("<|AUDIO|>", "<|AUDIO|>" * (((frames - 1) // 2 - 1) // 2 + 1))
batch = tokenizer(text, return_tensors="pt")
batch["input_features"] = sound.input_features.to(model.dtype)
batch["feature_attention_mask"] = sound.attention_mask
ending = {{"max_new_tokens": {tokens}, "eos_token_id": tokenizer.eos_token_id}}
answer = model.generate(**batch.to(model.device), **ending, do_sample=False)
print(tokenizer.decode(answer[0, batch.input_ids.shape[1] :], skip_special_tokens=True))
"""
ADAPTER = """# {title}

A LoRA adapter of {base}, trained on spoken logic questions with rule rewards.

| | |
|---|---|
| algorithm | {algorithm}, step {step} of {steps}, seed {seed} |
| setting | {setting} (question, answer) |
| rewards | {rewards} |

{how}

In plain transformers and peft it answers a question so, run in the folder that the paths start in:

```python
{code}```
"""
RUN = """# {title}

A run of the profile {profile}: {algorithm}, {steps} steps, seed {seed}, setting {setting}, rewards
{rewards}. `result.json` holds the figures once it is finished, `adapter/` what it learned,
`checkpoint-N/` what it is resumed from. In the folder of the course:

```
python -m soundmind_lite evaluate --run {path}
```
"""


def plain_code(base: str, *, processor, adapter: str | None = None, tokens: int) -> str:
    """Lines of plain transformers that answer the question in `question.wav` with a thinker, or
    with it and an adapter; both are folders or hub ids. `processor` is the thinker's, `tokens` the
    longest answer."""
    peft = adapt = ""
    if adapter:
        peft = "from peft import PeftModel\n"
        adapt = f'model = PeftModel.from_pretrained(model, "{adapter}")\n'
    asked = [with_audio(prompt(), "question.wav")]
    text = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)[0]
    return CODE.format(base=base, peft=peft, adapt=adapt, text=text, tokens=tokens)


def describe(run: Path, adapter: Path, *, model, processor, tokens: int) -> None:
    """Writes a card to the folder of the run and one to that of an adapter in it.

    They replace the templates of TRL and PEFT. `model` is the one with the adapter.
    """
    base = next(iter(model.peft_config.values())).base_model_name_or_path
    facts = read_json(run / FACTS)
    is_checkpoint = adapter.name != "adapter"
    how = "`../result.json` holds the figures of the run, measured before and after it."
    if is_checkpoint:
        how = "The run is resumed from here by the command that started it, with `--resume`."
    given = {name: facts[name] for name in ("profile", "algorithm", "steps", "seed")}
    given |= {"setting": facts["setting"], "rewards": ", ".join(facts["rewards"])}
    code = plain_code(base, processor=processor, adapter=_shown(adapter), tokens=tokens)
    step = step_of(adapter) if is_checkpoint else facts["steps"]
    title = f"{run.absolute().name}/{adapter.name}"
    text = ADAPTER.format(title=title, base=base, step=step, how=how, code=code, **given)
    write_text(adapter / CARD, text)
    path = _shown(run)
    write_text(run / CARD, RUN.format(title=run.absolute().name, path=path, **given))


def _shown(folder: Path) -> str:
    """A path without the names of this machine's folders: from the working folder, else from the
    one that holds the run."""
    folder = folder.absolute()
    if folder.is_relative_to(Path.cwd()):
        return folder.relative_to(Path.cwd()).as_posix()
    parts = folder.parts[-1:] if (folder / FACTS).exists() else folder.parts[-2:]
    return "/".join(parts)
