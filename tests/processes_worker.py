"""Run by test_processes.py, alone or under torchrun: a few steps on given completions. Sampling is left out, since each process has its own random numbers."""
import sys
from dataclasses import replace
from pathlib import Path

from soundmind_lite import profiles, runs
from soundmind_lite.grpo import AudioGRPOTrainer

COMPLETIONS = (
    "<think>Major premise: all cats are dogs. So all cats are dogs.</think>\nAnswer: entailed", "Answer: not-entailed",
    "<think>nothing follows</think>\nAnswer: not-entailed", "<think>never closed",
)


def given(self, prompt_ids, *_, **__):
    start = self.accelerator.process_index * len(prompt_ids)
    texts = (COMPLETIONS[(start + i) % len(COMPLETIONS)] for i in range(len(prompt_ids)))
    return [self.processing_class.tokenizer(text + "<|im_end|>")["input_ids"] for text in texts], None


def main(out: str, data: str, micro_batch: int) -> None:
    profiles.PROFILES["small"] = replace(
        profiles.get("tiny"), name="small", group_size=4, prompts_per_step=4, micro_batch=micro_batch, steps=3, save_every=3, data=data, max_completion_tokens=20,
        beta=0.1,
    )
    AudioGRPOTrainer._generate_single_turn = given
    runs.train("small", Path(out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
