"""`build-tiny`: mini_alr and tiny_omni from nothing but this repository and its wheels."""

import json
import random
import time
from pathlib import Path

import numpy as np
import torch

from ..prompts import VERDICTS
from . import data as tiny_data
from . import model as tiny_model
from .curve import training_curve
from .model import Batches, padded
from .syllogisms import draw
from .training import Recipe, WarmStart

LOG = "training_log.jsonl"


class BuildError(RuntimeError):
    """The output folder can't be used."""


@torch.no_grad()
def answers(
    model, clips: list[np.ndarray], *, batches: Batches, max_new_tokens: int = 100
) -> list[str]:
    """Greedy completions for 16 kHz clips."""
    model.eval()
    sound, prompts = batches.sound(clips)
    masks = [[1] * len(row) for row in prompts]
    ids = padded(prompts, batches.tokenizer.pad_token_id, left=True)
    out = model.generate(
        input_ids=ids,
        attention_mask=padded(masks, 0, left=True),
        **sound,
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    return batches.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)


def check(warm: WarmStart, rows: int = 96) -> dict[str, float]:
    """Shares of right answers and of exactly restated premises, on fresh problems.

    Their nouns belong to dev; the voices are those of the warm start. A quick check between the
    stages; the real evaluation is `evaluation`.
    """
    rng = random.Random(7)
    problems = [draw(rng, "dev") for _ in range(rows)]
    completions = []
    for start in range(0, rows, 32):
        clips = [warm.bank.say(problem, rng) for problem in problems[start : start + 32]]
        completions += answers(warm.model, clips, batches=warm.batches)
    right = exact = 0
    for text, problem in zip(completions, problems):
        right += text.endswith(f"Answer: {VERDICTS[problem.label]}")
        exact += problem.restated in text
    return {"dev_accuracy": right / rows, "dev_premises_exact": exact / rows}


def save(model, out: Path, *, processor) -> None:
    """Writes the checkpoint as `Qwen2_5OmniProcessor` and the thinker class read it."""
    model.save_pretrained(out)
    processor.save_pretrained(out)
    for file in (out / "processor_config.json", out / "tokenizer_config.json"):
        settings = json.loads(file.read_text())
        settings["processor_class"] = "Qwen2_5OmniProcessor"
        file.write_text(json.dumps(settings, indent=2) + "\n")


def build(
    out: str | Path,
    recipe: Recipe = Recipe(),
    *,
    splits: dict[str, int] = tiny_data.SPLITS,
    speak_all: bool = True,
    workers: int = 2,
) -> None:
    """Writes `mini_alr/` and `tiny_omni/`, with the log of its training, under `out`.

    Raises BuildError unless `out` is new or empty. `recipe`, `splits` and `speak_all` exist so that
    a test can build in seconds; the shipped assets come from the defaults.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BuildError(f"{out} is not an empty folder; choose another --out")
    torch.set_num_threads(1)  # the result must not depend on the number of cores
    started = time.time()
    tiny_data.build_mini_alr(out / "mini_alr", splits, workers=workers)
    minutes = (time.time() - started) / 60
    print(f"mini_alr written after {minutes:.1f} min; speaking the warm start", flush=True)
    bank = tiny_data.SentenceBank()
    if speak_all:
        bank.speak_all(workers)
    folder = out / "tiny_omni"
    folder.mkdir(parents=True)
    processor = tiny_model.build_processor()
    model = tiny_model.build_model(processor.tokenizer)
    warm = WarmStart(model, processor, bank=bank, recipe=recipe, log_file=folder / LOG)
    # The names of the checks in the log; "ear" is the audio encoder's.
    stages = {
        "text_stage": warm.text_stage,
        "ear_stage": warm.audio_encoder_stage,
        "joint_stage": warm.joint_stage,
        "habit_stage": warm.habit_stage,
    }
    for name, train in stages.items():
        train()
        warm.log(after=name, **check(warm, rows=3 * recipe.batch))
    save(model, folder, processor=processor)
    training_curve(folder / LOG, folder / "training_curve.png")
    minutes = (time.time() - started) / 60
    print(f"tiny_omni written after {minutes:.1f} min", flush=True)
