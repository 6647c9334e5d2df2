"""The four stages that train the tiny Omni from random weights.

Each stage builds on the one before it: text (copying and logic), then the audio encoder alone, by
CTC onto the language model's own embeddings, then both together, and last the habits of a base
model that can reason and often doesn't.
"""

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..audio import SAMPLE_RATE
from ..models import audio_token_count
from ..prompts import VERDICTS, gold_completion
from .data import SentenceBank
from .model import Batches
from .syllogisms import Problem, draw

# Text stage: the numbers of sentences that are copied from pseudo-audio, and the widest gap between
# their tokens. The next level starts when the smoothed copying loss is below LEVEL_LOSS.
LEVELS = (((1,), 0), ((1,), 1), ((1,), 2), ((1, 2, 3), 2), ((3,), 3), ((3,), 4))
LEVEL_LOSS = 0.12
# The habits of the base model: shares of a full chain of thought, a bare guess, an unclosed thought
# and a transcript with a guess. It reasons about "all" and mostly guesses about "some" and "no".
HABITS = {
    "reasons": {"full": 0.70, "guess": 0.15, "unclosed": 0.08, "transcript": 0.07},
    "guesses": {"full": 0.26, "guess": 0.54, "unclosed": 0.10, "transcript": 0.10},
}
# The stages as the log names them; "ear" is the audio encoder's.
TEXT, AUDIO_ENCODER, JOINT, HABIT = "text", "ear", "joint", "habits"


@dataclass(frozen=True)
class Recipe:
    """Steps, batch size and learning rates of the stages."""

    text_steps: int = 550
    audio_encoder_steps: int = 2000
    joint_steps: int = 500
    habit_steps: int = 90
    batch: int = 32
    text_lr: float = 1.5e-3
    audio_encoder_lr: float = 2e-3
    joint_lr: float = 7e-4
    habit_lr: float = 5e-4


class WarmStart:
    """The four stages as methods, with all that they share.

    One random generator serves all stages, so they have to run in their order.
    """

    def __init__(
        self,
        model,
        processor,
        *,
        bank: SentenceBank,
        recipe: Recipe,
        log_file: Path | None = None,
        seed: int = 0,
    ):
        self.model = model
        self.batches = Batches(processor)
        self.bank = bank
        self.recipe = recipe
        self.log_file = log_file
        self.rng = random.Random(seed)
        self.start = time.time()

    def log(self, **fields) -> None:
        """Prints a line of JSON with the minutes since the start, and appends it to the log."""
        line = json.dumps({"minutes": round((time.time() - self.start) / 60, 2), **fields})
        print(line, flush=True)
        if self.log_file:
            with self.log_file.open("a") as file:
                file.write(line + "\n")

    def fit(
        self,
        stage: str,
        loss_of_step: Callable[[int], torch.Tensor],
        *,
        parameters: Iterable[torch.nn.Parameter],
        steps: int,
        lr: float,
    ) -> None:
        """AdamW with a short warm-up and a linear decay over the last 35 % of the steps."""
        parameters = list(parameters)
        optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
        smooth = None
        self.model.train()
        for step in range(steps):
            warm_up = min(1, (step + 1) / 30)
            decay = min(1, max(0.05, (steps - step) / (0.35 * steps)))
            for group in optimizer.param_groups:
                group["lr"] = lr * warm_up * decay
            loss = loss_of_step(step)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
            if (step + 1) % 50 == 0 or step + 1 == steps:
                self.log(stage=stage, step=step + 1, loss=round(smooth, 4))

    def cross_entropy(self, prompts, targets, **sound) -> torch.Tensor:
        """Mean loss of the target tokens; `sound` are features and mask of `Batches.sound`."""
        return self.model(**self.batches.labelled(prompts, targets), **sound, use_cache=False).loss

    def problems(self, count: int) -> list[Problem]:
        """Random training problems."""
        return [draw(self.rng) for _ in range(count)]

    # 1. text
    def pseudo_audio(self, ids: list[int], gap: int) -> list[int]:
        """The tokens as a perfect audio encoder would give them: some repeated, with blanks.

        `gap` is the largest number of blanks between two tokens.
        """
        blank = self.batches.tokenizer.pad_token_id
        out = [blank] * self.rng.randrange(3)
        for token in ids:
            repeats = 2 if gap and self.rng.random() < 0.2 else 1
            out += [token] * repeats
            out += [blank] * self.rng.randint(0, gap)
        return out

    def copy_loss(self, count: int, *, sentences: tuple[int, ...], gap: int) -> torch.Tensor:
        """Restate sentences from pseudo-audio; with all three, reason to the end.

        `sentences` are the numbers of sentences to choose from.
        """
        prompts, targets = [], []
        for problem in self.problems(count):
            number = self.rng.choice(sentences)
            first = self.rng.randrange(4 - number)
            restated = " ".join(problem.restated_sentences[first : first + number])
            audio_ids = self.pseudo_audio(self.batches.encode(restated), gap)
            prompts.append(self.batches.audio_prompt(audio_ids))
            if number == 3:
                completion = gold_completion(problem.reasoning, problem.label)
                targets.append(self.batches.target(completion))
            else:
                targets.append(self.batches.encode("<think>" + restated))
        return self.cross_entropy(prompts, targets)

    def logic_loss(self, count: int) -> torch.Tensor:
        """Reason about a written question."""
        prompts, targets = [], []
        for problem in self.problems(count):
            prompts.append(self.batches.text_prompt(problem.question))
            targets.append(self.batches.target(gold_completion(problem.reasoning, problem.label)))
        return self.cross_entropy(prompts, targets)

    def text_stage(self) -> None:
        """Copying, in levels of rising difficulty, and logic; all parameters learn."""
        batch = self.recipe.batch
        level = 0
        smooth = 1.0
        entered = 0  # step at which the level started

        def loss(step: int) -> torch.Tensor:
            nonlocal level, smooth, entered
            if smooth < LEVEL_LOSS and step - entered >= 20 and level < len(LEVELS) - 1:
                level += 1
                smooth = 0.6
                entered = step
                sentences, gap = LEVELS[level]
                self.log(stage=TEXT, step=step, level=level, sentences=sentences, gap=gap)
            sentences, gap = LEVELS[level]
            count = batch * 2 // 3 if level >= 4 else batch
            copying = self.copy_loss(count, sentences=sentences, gap=gap)
            smooth = 0.9 * smooth + 0.1 * copying.item()
            return copying + self.logic_loss(batch * 2 // 3)

        parameters = self.model.parameters()
        steps, lr = self.recipe.text_steps, self.recipe.text_lr
        self.fit(TEXT, loss, parameters=parameters, steps=steps, lr=lr)

    # 2. audio encoder
    def audio_encoder_stage(self) -> None:
        """CTC of the audio encoder's outputs against the language model's token embeddings.

        The pad token is the blank. The logit of a token is minus the squared distance to its
        embedding, so an encoder that solves the task gives each word as the very vectors that the
        language model already understands.
        """
        vectors = self.model.get_input_embeddings().weight.detach()
        used = sorted({t for p in self.problems(300) for t in self.batches.encode(p.restated)})
        distances = torch.cdist(vectors[used], vectors[used]) ** 2
        sharpness = 8 / distances[distances > 0].median()
        steps, batch = self.recipe.audio_encoder_steps, self.recipe.batch

        def loss(step: int) -> torch.Tensor:
            # In the first half of the steps a clip is one sentence, at first without a delay.
            one = step < 0.5 * steps
            late = 0.2 * steps < step < 0.5 * steps
            chosen = self.problems(batch if one else batch * 2 // 3)
            roles = [(self.rng.randrange(3),) if one else (0, 1, 2) for _ in chosen]
            clips, words = [], []
            for problem, spoken in zip(chosen, roles):
                clip = self.bank.say(problem, self.rng, roles=spoken)
                clips.append(self.delayed(clip, late))
                restated = " ".join(problem.restated_sentences[role] for role in spoken)
                words.append(self.batches.encode(restated))
            sound, _ = self.batches.sound(clips)
            outputs = self.model.model.get_audio_features(**sound).last_hidden_state
            squares = (outputs**2).sum(-1, keepdim=True)
            scores = -sharpness * (squares - 2 * outputs @ vectors.T + (vectors**2).sum(-1))
            lengths = audio_token_count(sound["feature_attention_mask"].sum(1))
            by_clip = torch.log_softmax(scores, -1).split(lengths.tolist())
            return F.ctc_loss(
                torch.nn.utils.rnn.pad_sequence(by_clip),
                torch.tensor([token for ids in words for token in ids]),
                lengths,
                torch.tensor([len(ids) for ids in words]),
                blank=self.batches.tokenizer.pad_token_id,
                zero_infinity=True,
            )

        parameters = self.model.model.audio_tower.parameters()
        lr = self.recipe.audio_encoder_lr
        self.fit(AUDIO_ENCODER, loss, parameters=parameters, steps=steps, lr=lr)

    def delayed(self, clip: np.ndarray, late: bool) -> np.ndarray:
        """The clip, if `late` after up to a second of silence.

        So the audio encoder learns sentences at every position of its window.
        """
        seconds = self.rng.random() * late
        return np.concatenate([np.zeros(int(seconds * SAMPLE_RATE), np.float32), clip])

    # 3. both together
    def audio_loss(self, count: int, completion_of: Callable[[Problem], str]) -> torch.Tensor:
        """Complete spoken questions as `completion_of` says."""
        chosen = self.problems(count)
        clips = [self.bank.say(problem, self.rng) for problem in chosen]
        sound, prompts = self.batches.sound(clips)
        targets = [self.batches.target(completion_of(problem)) for problem in chosen]
        return self.cross_entropy(prompts, targets, **sound)

    def joint_stage(self) -> None:
        """Reasoning about spoken questions, with the text tasks mixed in; all parameters learn."""
        batch = self.recipe.batch

        def full(problem: Problem) -> str:
            return gold_completion(problem.reasoning, problem.label)

        def loss(step: int) -> torch.Tensor:
            if step % 2:
                sentences, gap = LEVELS[-1]
                text = self.copy_loss(batch // 3, sentences=sentences, gap=gap)
            else:
                text = self.logic_loss(batch // 3)
            return self.audio_loss(batch, full) + 0.3 * text

        parameters = self.model.parameters()
        steps, lr = self.recipe.joint_steps, self.recipe.joint_lr
        self.fit(JOINT, loss, parameters=parameters, steps=steps, lr=lr)

    # 4. habits
    def habitual_completion(self, problem: Problem) -> str:
        """A completion in one of the base model's habits, drawn by the shares of `HABITS`."""
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
        """A short fine-tuning on habitual completions; all parameters learn."""

        def loss(_step: int) -> torch.Tensor:
            return self.audio_loss(self.recipe.batch, self.habitual_completion)

        parameters = self.model.parameters()
        steps, lr = self.recipe.habit_steps, self.recipe.habit_lr
        self.fit(HABIT, loss, parameters=parameters, steps=steps, lr=lr)
