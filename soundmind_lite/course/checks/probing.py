"""Checks of notebook 02: the model before training."""

from math import comb, sqrt

import torch

from ...evaluation import wilson_interval
from ..checking import Wrong, call, decided, entries, expect, refuses

CLIPS = {"A": "correct", "B": "cut", "C": "misaligned", "D": "padded"}


@refuses(CLIPS | {"B": "correct"}, "20 s have 2,000 frames")
@refuses(CLIPS | {"C": "correct"}, "199 placeholders")
@refuses(CLIPS | {"D": "cut"}, "5 s have 500 frames")
@refuses(CLIPS | {"A": "misaligned"}, "halve it twice")
def check_02_1(found):
    entries(found, CLIPS, choices=("correct", "cut", "padded", "misaligned"))
    diagnoses = {
        "A": "A: 6.52 s have 652 frames; halve it twice.",
        "B": "B: 20 s have 2,000 frames. Where are the other 800?",
        "C": "C: compare 199 placeholders with 200 embeddings.",
        "D": "D: 5 s have 500 frames. What fills the other 700?",
    }
    for clip, kind in CLIPS.items():
        if found[clip] != kind:
            raise Wrong(diagnoses[clip])
    return (
        "Seconds, frames, placeholders and embeddings: if these four agree, the audio is in. "
        "For the mean question of ALR's train split, 62.33 s, they are 6,233 frames and 1,558 "
        "tokens; the prompt limit in the published script is 400."
    )


def _unchecked(embeddings, is_placeholder, audio):
    return embeddings.masked_scatter(is_placeholder[:, None], audio)


def _at_the_start(embeddings, is_placeholder, audio):
    if is_placeholder.sum() != len(audio):
        raise ValueError
    return torch.cat([audio, embeddings[len(audio) :]])


def _in_place(embeddings, is_placeholder, audio):
    if is_placeholder.sum() != len(audio):
        raise ValueError
    embeddings[is_placeholder] = audio
    return embeddings


def _asserted(embeddings, is_placeholder, audio):
    assert is_placeholder.sum() == len(audio)
    return _unchecked(embeddings, is_placeholder, audio)


def _first_for_all(embeddings, is_placeholder, audio):
    if is_placeholder.sum() != len(audio):
        raise ValueError
    return torch.where(is_placeholder[:, None], audio[0], embeddings)


@refuses(_unchecked, "no error for 3 placeholders and 4 audio embeddings")
@refuses(_at_the_start, "not where the placeholders are")
@refuses(_in_place, "changes its argument")
@refuses(_asserted, "a ValueError")
@refuses(_first_for_all, "the same vector")
def check_02_2(fill_placeholders):
    embeddings = torch.arange(12.0).reshape(6, 2)
    is_placeholder = torch.tensor([False, True, True, False, True, False])
    audio = 100 + torch.arange(8.0).reshape(4, 2)
    given = embeddings.clone()
    if not callable(fill_placeholders):
        raise Wrong("Expected a function. Pass its name without brackets.")
    found = fill_placeholders(given, is_placeholder.clone(), audio[:3].clone())
    if not isinstance(found, torch.Tensor) or found.shape != embeddings.shape:
        got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise Wrong(f"Expected a tensor of shape (6, 2), like the embeddings, got {got}.")
    if not torch.equal(given, embeddings):
        raise Wrong("It changes its argument: the embeddings of the text. Work on a clone.")
    if not torch.equal(found[~is_placeholder], embeddings[~is_placeholder]):
        raise Wrong(
            "Text tokens lost their embedding: the audio is not where the placeholders are."
        )
    if len(found[is_placeholder].unique(dim=0)) == 1:
        raise Wrong("All placeholders got the same vector; each gets the next one, in order.")
    if not torch.equal(found[is_placeholder], audio[:3]):
        raise Wrong("The first placeholder gets the first audio embedding, and so on, in order.")
    for count in (4, 2):
        _refused(fill_placeholders, embeddings.clone(), is_placeholder.clone(), audio[:count])
    return (
        "The thinker's forward does the same without the comparison, so one missing placeholder "
        "shifts the audio of every later clip in the batch."
    )


def _refused(function, embeddings, is_placeholder, audio) -> None:
    """Wrong unless the function raises ValueError for counts that differ."""
    counts = f"3 placeholders and {len(audio)} audio embeddings"
    try:
        function(embeddings, is_placeholder, audio)
    except ValueError:
        return
    except Exception as error:
        kind = type(error).__name__
        raise Wrong(f"For {counts} raise a ValueError with both counts, not {kind}.") from error
    raise Wrong(f"It raises no error for {counts}: compare the counts first.")


def _plain_interval(k, n):
    half = 1.96 * sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


def _chances(p, n):
    return [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def _unweighted(interval, p, n):
    inside = [low <= p <= high for low, high in (interval(k, n) for k in range(n + 1))]
    return sum(inside) / (n + 1)


def _lower_end(interval, p, n):
    return sum(c for k, c in enumerate(_chances(p, n)) if interval(k, n)[0] <= p)


def _around_measured(interval, p, n):
    half = [
        c for k, c in enumerate(_chances(0.5, n)) if interval(k, n)[0] <= p <= interval(k, n)[1]
    ]
    return sum(half)


def _coverage(interval, p, n):
    chances = enumerate(_chances(p, n))
    return sum(c for k, c in chances if interval(k, n)[0] <= p <= interval(k, n)[1])


@refuses(_unweighted, "as if each number of right answers were equally likely")
@refuses(_lower_end, "the upper end")
@refuses(_around_measured, "p = 0.5")
@refuses(lambda interval, p, n: 1 - _coverage(interval, p, n), "misses")
@refuses(lambda interval, p, n: 0.95, "nominal")
def check_02_3(coverage):
    cases = ((_plain_interval, 0.95, 20), (_plain_interval, 0.9, 60), (wilson_interval, 0.95, 20))
    found = [call(coverage, *case) for case in cases]
    right = [_coverage(*case) for case in cases]
    mistakes = {
        "You count as if each number of right answers were equally likely. Weight each k with its "
        "chance, binom.pmf(k, n, p).": [_unweighted(*case) for case in cases],
        "Look at the upper end, too: low ≤ p ≤ high.": [_lower_end(*case) for case in cases],
        "You draw k with p = 0.5; the true accuracy is p.": [_around_measured(*c) for c in cases],
        "That is the chance that the interval misses p.": [1 - value for value in right],
        "That is the nominal level. How often does it hold?": [0.95] * len(cases),
    }
    otherwise = "For (plain, 0.95, 20), (plain, 0.9, 60) and (Wilson's, 0.95, 20):"
    expect(found, right, mistakes=mistakes, otherwise=otherwise, tolerance=0.01)
    plain, _, wilson = right
    return (
        f"At a true accuracy of 95 % and 20 rows the plain interval contains it in {plain:.0%} of "
        f"the measurements, Wilson's in {wilson:.0%}. With 20 of 20 right the plain one is a point."
    )


MODELS = {
    "A": "uses the audio",
    "B": "ignores the audio",
    "C": "the test leaks",
    "D": "uses the audio",
}


@refuses(MODELS | {"B": "uses the audio"}, "B: compare")
@refuses(MODELS | {"C": "uses the audio"}, "C: compare")
@refuses(MODELS | {"D": "ignores the audio"}, "D: compare")
def check_02_4(answers):
    reasons = {
        "A": "It is right with its own audio, and at chance with another question's.",
        "B": "Nothing changes when the audio changes, and it stays at chance.",
        "C": "It is right even with another question's audio, so the verdict must come from "
        "somewhere else.",
        "D": "Accuracy says nothing here; the last two columns do.",
    }
    entries(answers, MODELS, choices=dict.fromkeys(MODELS.values()))
    for model, kind in MODELS.items():
        if answers[model] != kind:
            raise Wrong(f"{model}: compare own audio and swapped audio. ({reasons[model]})")
    return "D is our model's case: it takes the sentences from the audio, and guesses the verdict."


DECISION = {"train": "language model", "because": "reasoning"}
TRAINED = ("language model", "audio encoder", "neither")
REASONS = ("reasoning", "interval", "silence")


@refuses({"train": "audio encoder", "because": "interval"}, "12 of 13")
@refuses({"train": "neither", "because": "interval"}, "doesn't say why")
@refuses(DECISION | {"because": "interval"}, "doesn't say what to train")
@refuses(DECISION | {"because": "silence"}, "without audio there is no answer")
def check_02_5(decision):
    train, because = decided(decision, {"train": TRAINED, "because": REASONS})
    wrong_parts = {
        "audio encoder": "Where the model reasons at all, 12 of 13 completions restate the "
        "question word for word. The audio encoder already delivers what is needed.",
        "neither": "An accuracy near chance is where training starts, but it doesn't say why. "
        "Look at the completions that reason, and at those that don't.",
    }
    wrong_reasons = {
        "interval": "True, but it doesn't say what to train: a poor audio encoder and a poor "
        "language model could both score 50 %.",
        "silence": "True, but it only shows that without audio there is no answer. What happens "
        "with audio decides.",
    }
    if train != DECISION["train"]:
        raise Wrong(wrong_parts[train])
    if because != DECISION["because"]:
        raise Wrong(wrong_reasons[because])
    return (
        "What the encoder delivers suffices, and the good behaviour is already sampled: a reward "
        "can find it there and make it more probable."
    )
