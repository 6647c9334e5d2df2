"""The four stages that train the tiny Omni from random weights; see `tiny_model` for why there are four."""
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..audio import SAMPLE_RATE
from ..models import audio_token_count
from ..prompts import VERDICTS, gold_completion
from .syllogisms import Problem, draw
from .data import SentenceBank
from .model import Batches, padded

# Text stage: which numbers of sentences are copied from pseudo-audio, and the widest gap between their tokens. The next level
# starts when the smoothed copying loss is below LEVEL_LOSS.
LEVELS = (((1,), 0), ((1,), 1), ((1,), 2), ((1, 2, 3), 2), ((3,), 3), ((3,), 4))
LEVEL_LOSS = 0.12
# The habits of the base model: shares of a full chain, a bare guess, an unclosed thought and a transcript with a guess. It reasons
# about "all" and mostly guesses where it hears "some" or "no".
HABITS = {
    "reasons": dict(full=0.70, guess=0.15, unclosed=0.08, transcript=0.07),
    "guesses": dict(full=0.26, guess=0.54, unclosed=0.10, transcript=0.10),
}


@dataclass(frozen=True)
class Recipe:
    """Steps, batch size and learning rates of the stages."""

    text_steps: int = 550
    ear_steps: int = 2000
    joint_steps: int = 500
    habit_steps: int = 90
    batch: int = 32
    text_lr: float = 1.5e-3
    ear_lr: float = 2e-3
    joint_lr: float = 7e-4
    habit_lr: float = 5e-4


class WarmStart:
    """Holds what the stages share: model, batches, sentence bank, random numbers and the log."""

    def __init__(self, model, processor, bank: SentenceBank, recipe: Recipe, log_file: Path | None = None, seed: int = 0):
        self.model, self.batches, self.bank, self.recipe, self.log_file = model, Batches(processor), bank, recipe, log_file
        self.rng, self.start = random.Random(seed), time.time()

    def log(self, **fields) -> None:
        line = json.dumps({"minutes": round((time.time() - self.start) / 60, 2), **fields})
        print(line, flush=True)
        if self.log_file:
            with self.log_file.open("a") as file:
                file.write(line + "\n")

    def fit(self, stage: str, parameters, steps: int, lr: float, loss_of_step) -> None:
        """AdamW with a short warm-up and a linear decay over the last 35 % of the steps."""
        parameters = list(parameters)
        optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
        smooth = None
        self.model.train()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 30) * min(1, max(0.05, (steps - step) / (0.35 * steps)))
            loss = loss_of_step(step)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
            if (step + 1) % 50 == 0 or step + 1 == steps:
                self.log(stage=stage, step=step + 1, loss=round(smooth, 4))

    def cross_entropy(self, prompts, targets, **sound) -> torch.Tensor:
        return self.model(**self.batches.labelled(prompts, targets), **sound, use_cache=False).loss

    def problems(self, count: int) -> list[Problem]:
        return [draw(self.rng) for _ in range(count)]

    # 1. text
    def pseudo_audio(self, ids: list[int], gap: int) -> list[int]:
        """What a perfect audio tower would hand over: the tokens themselves, some repeated, with blanks between them."""
        blank, rng = self.batches.tokenizer.pad_token_id, self.rng
        out = [blank] * rng.randrange(3)
        for token in ids:
            out += [token] * (2 if gap and rng.random() < 0.2 else 1) + [blank] * rng.randint(0, gap)
        return out

    def copy_loss(self, count: int, sentences: tuple[int, ...], gap: int) -> torch.Tensor:
        """Restate one to three sentences heard as pseudo-audio; with all three, reason to the end."""
        prompts, targets = [], []
        for problem in self.problems(count):
            k = self.rng.choice(sentences)
            first = self.rng.randrange(4 - k)
            heard = " ".join(problem.restated_sentences[first : first + k])
            full = gold_completion(problem.reasoning, problem.label)
            prompts.append(self.batches.heard_prompt(self.pseudo_audio(self.batches.encode(heard), gap)))
            targets.append(self.batches.target(full) if k == 3 else self.batches.encode("<think>" + heard))
        return self.cross_entropy(prompts, targets)

    def logic_loss(self, count: int) -> torch.Tensor:
        """Reason about a written question."""
        chosen = self.problems(count)
        return self.cross_entropy(
            [self.batches.text_prompt(p.question) for p in chosen], [self.batches.target(gold_completion(p.reasoning, p.label)) for p in chosen]
        )

    def text_stage(self) -> None:
        level, smooth, entered = 0, 1.0, 0

        def loss(step):
            nonlocal level, smooth, entered
            if smooth < LEVEL_LOSS and step - entered >= 20 and level < len(LEVELS) - 1:
                level, smooth, entered = level + 1, 0.6, step
                self.log(stage="text", step=step, level=level, sentences=LEVELS[level][0], gap=LEVELS[level][1])
            copying = self.copy_loss(self.recipe.batch * (2 if level >= 4 else 3) // 3, *LEVELS[level])
            smooth = 0.9 * smooth + 0.1 * copying.item()
            return copying + self.logic_loss(self.recipe.batch * 2 // 3)

        self.fit("text", self.model.parameters(), self.recipe.text_steps, self.recipe.text_lr, loss)

    # 2. ear
    def ear_stage(self) -> None:
        """CTC of the audio tower's outputs against the language model's own token embeddings; the pad token is the blank.

        The logit of a token is minus the squared distance to its embedding, so that a solved task means: the tower says each
        word in the very vectors that the language model already understands.
        """
        steps, vectors = self.recipe.ear_steps, self.model.get_input_embeddings().weight.detach()
        used = sorted({t for p in self.problems(300) for t in self.batches.encode(p.restated)})
        distances = torch.cdist(vectors[used], vectors[used]) ** 2
        sharpness = 8 / distances[distances > 0].median()

        def loss(step):
            one, late = step < 0.5 * steps, 0.2 * steps < step < 0.5 * steps
            chosen = self.problems(self.recipe.batch if one else self.recipe.batch * 2 // 3)
            roles = [(self.rng.randrange(3),) if one else (0, 1, 2) for _ in chosen]
            clips = [self.delayed(self.bank.say(p, self.rng, r), late) for p, r in zip(chosen, roles)]
            sound, _ = self.batches.sound(clips)
            heard = self.model.model.get_audio_features(**sound).last_hidden_state
            scores = -sharpness * ((heard**2).sum(-1, keepdim=True) - 2 * heard @ vectors.T + (vectors**2).sum(-1))
            lengths = audio_token_count(sound["feature_attention_mask"].sum(1))
            words = [self.batches.encode(" ".join(p.restated_sentences[i] for i in r)) for p, r in zip(chosen, roles)]
            log_probs = torch.nn.utils.rnn.pad_sequence(torch.log_softmax(scores, -1).split(lengths.tolist()))
            target_lengths = torch.tensor([len(w) for w in words])
            return F.ctc_loss(
                log_probs, torch.tensor([token for w in words for token in w]), lengths, target_lengths,
                blank=self.batches.tokenizer.pad_token_id, zero_infinity=True,
            )

        self.fit("ear", self.model.model.audio_tower.parameters(), steps, self.recipe.ear_lr, loss)

    def delayed(self, clip, late: bool):
        """The clip after up to a second of silence, so that the tower hears sentences at every place of its window."""
        return np.concatenate([np.zeros(int(self.rng.random() * SAMPLE_RATE * late), np.float32), clip])

    # 3. both together
    def heard_loss(self, count: int, completion_of) -> torch.Tensor:
        chosen = self.problems(count)
        sound, prompts = self.batches.sound([self.bank.say(p, self.rng) for p in chosen])
        return self.cross_entropy(prompts, [self.batches.target(completion_of(p)) for p in chosen], **sound)

    def joint_stage(self) -> None:
        def loss(step):
            third = self.recipe.batch // 3
            text = self.copy_loss(third, *LEVELS[-1]) if step % 2 else self.logic_loss(third)
            return self.heard_loss(self.recipe.batch, lambda p: gold_completion(p.reasoning, p.label)) + 0.3 * text

        self.fit("joint", self.model.parameters(), self.recipe.joint_steps, self.recipe.joint_lr, loss)

    # 4. habits
    def habitual_completion(self, problem: Problem) -> str:
        habits = HABITS["reasons" if problem.mood == "AAA" else "guesses"]
        habit = self.rng.choices(list(habits), list(habits.values()))[0]
        guess = self.rng.choice(VERDICTS)
        return {
            "full": gold_completion(problem.reasoning, problem.label),
            "guess": f"Answer: {guess}",
            "unclosed": f"<think>{problem.restated} This is {guess}.",
            "transcript": f"<think>{problem.restated}</think>\nAnswer: {guess}",
        }[habit]

    def habit_stage(self) -> None:
        loss = lambda step: self.heard_loss(self.recipe.batch, self.habitual_completion)
        self.fit("habits", self.model.parameters(), self.recipe.habit_steps, self.recipe.habit_lr, loss)


@torch.no_grad()
def answers(model, batches: Batches, clips, max_new_tokens: int = 100) -> list[str]:
    """Greedy completions for clips; a quick look during the build, the real evaluation is `evaluation`."""
    model.eval()
    sound, prompts = batches.sound(clips)
    ids = padded(prompts, batches.tokenizer.pad_token_id, left=True)
    mask = padded([[1] * len(p) for p in prompts], 0, left=True)
    out = model.generate(input_ids=ids, attention_mask=mask, **sound, max_new_tokens=max_new_tokens, do_sample=False)
    return batches.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
