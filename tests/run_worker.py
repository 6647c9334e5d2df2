"""A small run in a process of its own, for tests that launch several of them or kill one: `run_worker.py OUT DATA [--given] [--resume] [--micro-batch N]`."""
import argparse
from dataclasses import replace
from pathlib import Path

from soundmind_lite import profiles, runs
from soundmind_lite.grpo import AudioGRPOTrainer

COMPLETIONS = (
    "<think>Major premise: all cats are dogs. So all cats are dogs.</think>\nAnswer: entailed", "Answer: not-entailed",
    "<think>nothing follows</think>\nAnswer: not-entailed", "<think>never closed",
)
SMALL = dict(name="small", group_size=4, prompts_per_step=4, steps=4, save_every=2, max_completion_tokens=20, beta=0.1)


def given(self, prompt_ids, *_, **__):
    """In place of sampling, which differs between processes: each has its own random numbers."""
    start = self.accelerator.process_index * len(prompt_ids)
    texts = (COMPLETIONS[(start + i) % len(COMPLETIONS)] for i in range(len(prompt_ids)))
    return [self.processing_class.tokenizer(text + "<|im_end|>")["input_ids"] for text in texts], None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data")
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--micro-batch", type=int, default=8)
    args = parser.parse_args()
    profiles.PROFILES["small"] = replace(profiles.get("tiny"), data=args.data, micro_batch=args.micro_batch, **SMALL)
    if args.given:
        AudioGRPOTrainer._generate_single_turn = given
    runs.train("small", args.out, resume=args.resume)
