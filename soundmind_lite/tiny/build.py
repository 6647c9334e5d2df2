"""`build-tiny`: mini_alr and tiny_omni from nothing but this repository and its wheels."""
import json
import random
import time
from pathlib import Path

import torch

from ..runs import report
from . import data as tiny_data, model as tiny_model
from ..prompts import VERDICTS
from .syllogisms import draw
from .training import Recipe, WarmStart, answers

LOG = "training_log.jsonl"


class BuildError(RuntimeError):
    """The output folder can't be used."""


def check(warm: WarmStart, rows: int = 96) -> dict:
    """Shares right and premises restated on freshly drawn problems whose nouns belong to dev, in the warm start's voices."""
    rng = random.Random(7)
    problems = [draw(rng, "dev") for _ in range(rows)]
    said = []
    for start in range(0, rows, 32):
        said += answers(warm.model, warm.batches, [warm.bank.say(p, rng) for p in problems[start : start + 32]])
    right = sum(text.endswith(f"Answer: {VERDICTS[p.label]}") for text, p in zip(said, problems))
    return dict(dev_accuracy=right / rows, dev_premises_exact=sum(p.restated in text for text, p in zip(said, problems)) / rows)


def save(model, processor, out: Path) -> None:
    """The checkpoint as `Qwen2_5OmniProcessor` and the thinker class read it."""
    model.save_pretrained(out)
    processor.save_pretrained(out)
    for file in (out / "processor_config.json", out / "tokenizer_config.json"):
        settings = json.loads(file.read_text())
        file.write_text(json.dumps(settings | {"processor_class": "Qwen2_5OmniProcessor"}, indent=2) + "\n")


def build(
    out: str | Path, recipe: Recipe = Recipe(), splits: dict[str, int] = tiny_data.SPLITS, speak_all: bool = True, workers: int = 2,
) -> None:
    """Writes `mini_alr/` and `tiny_omni/` under `out`, which must be new or empty; the log of the training lies beside the weights.

    `recipe`, `splits` and `speak_all` exist so that a test can build in seconds; what is shipped comes from the defaults.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BuildError(f"{out} is not an empty folder; choose another --out")
    started = time.time()
    torch.set_num_threads(1)  # the result must not depend on the number of cores
    tiny_data.build_mini_alr(out / "mini_alr", splits, workers=workers)
    print(f"mini_alr written after {(time.time() - started) / 60:.1f} min; speaking the sentences of the warm start", flush=True)
    bank = tiny_data.SentenceBank()
    if speak_all:
        bank.speak_all(workers)
    processor = tiny_model.build_processor()
    model = tiny_model.build_model(processor.tokenizer)
    (out / "tiny_omni").mkdir(parents=True)
    warm = WarmStart(model, processor, bank, recipe, out / "tiny_omni" / LOG)
    for stage in (warm.text_stage, warm.ear_stage, warm.joint_stage, warm.habit_stage):
        stage()
        warm.log(after=stage.__name__, **check(warm, rows=3 * recipe.batch))
    save(model, processor, out / "tiny_omni")
    report.training_curve(out / "tiny_omni" / LOG, out / "tiny_omni" / "training_curve.png")
    print(f"tiny_omni written after {(time.time() - started) / 60:.1f} min", flush=True)
