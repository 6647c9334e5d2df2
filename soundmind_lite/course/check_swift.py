"""What ms-swift's trainer sampled and scored in its first step, run by a Python that has it.

    python -m soundmind_lite.course.check_swift JOB.json RESULT.json

`check_table` writes the job and reads the result. ms-swift 4.6.0 is not changed: four of its and
transformers' methods are called through functions that keep what goes in and comes out.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import GenerationMixin

from ..scale import peer_worker


class Kept:
    """By the tokens of a row, prompt and completion: log-probs, the clip, and the completion's
    length."""

    def __init__(self):
        self.sampled: dict[tuple, list[float]] = {}
        self.scored: dict[tuple, list[float]] = {}
        self.clips: dict[tuple, str] = {}

    def watch_sampling(self) -> None:
        generate = GenerationMixin.generate

        def sampled(model, *args, **kwargs):
            logits = []
            hook = model.register_forward_hook(lambda *call: logits.append(call[2].logits[:, -1]))
            output = generate(model, *args, **kwargs)
            hook.remove()
            sequences = getattr(output, "sequences", output)
            tokens = sequences[:, -len(logits) :]
            log_probs = torch.stack(logits, 1).float().log_softmax(-1)
            log_probs = log_probs.gather(2, tokens[..., None])[..., 0]
            for ids, mask, row, values in zip(
                kwargs["input_ids"], kwargs["attention_mask"], tokens, log_probs
            ):
                key = (*ids[mask.bool()].tolist(), *row.tolist())
                self.sampled[key] = values.tolist()
            return output

        GenerationMixin.generate = sampled

    def watch_scoring(self, trainer_class) -> None:
        prepare = trainer_class._prepare_batch_inputs
        score = trainer_class._get_per_token_logps_and_entropies

        def prepared(trainer, samples):
            batches = prepare(trainer, samples)
            for chunk, batch in zip(trainer.split_by_mini_batches(samples), batches):
                for sample, key in zip(chunk, row_keys(batch["model_inputs"])):
                    (self.clips[key],) = sample.audios
            return batches

        def scored(trainer, model, model_inputs, grpo_batch, *args, **kwargs):
            keys = row_keys(model_inputs)
            result = score(trainer, model, model_inputs, grpo_batch, *args, **kwargs)
            if torch.is_grad_enabled():
                for key, values, mask in zip(keys, result[0], grpo_batch.completion_mask):
                    self.scored[key] = values.detach()[mask.bool()].tolist()
            return result

        trainer_class._prepare_batch_inputs = prepared
        trainer_class._get_per_token_logps_and_entropies = scored


def row_keys(model_inputs: dict) -> list[tuple]:
    """The tokens of each row of a batch, without its padding."""
    rows = zip(model_inputs["input_ids"], model_inputs["attention_mask"])
    return [tuple(ids[mask.bool()].tolist()) for ids, mask in rows]


def main(job_file: str, result_file: str) -> None:
    from swift.rlhf_trainers import GRPOTrainer

    torch.set_num_threads(1)
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    kept = Kept()
    kept.watch_sampling()
    kept.watch_scoring(GRPOTrainer)
    peer_worker.swift(job, peer_worker.Clock(), peer_worker.Kept())
    rows = [
        {"ids": key, "scored": scored, "sampled": kept.sampled[key], "audio": kept.clips[key]}
        for key, scored in kept.scored.items()
    ]
    result = {"rows": rows, "versions": peer_worker.versions()}
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
