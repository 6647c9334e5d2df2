"""mini_alr: no surface shortcut, no leak between splits, clips that can be used."""

from functools import partial

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from soundmind_lite import data
from soundmind_lite.tiny import syllogisms

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def rows():
    return {split: list(data.load_alr("mini", split)) for split in SPLITS}


@pytest.fixture(scope="module")
def audit(rows):
    return data.audit([row for split in SPLITS for row in rows[split]], max_seconds=12)


def test_the_audit_is_clean(audit):
    assert (audit.conflicts, audit.duplicates, audit.bad_audio) == ([], [], [])
    assert 4 < audit.lengths["seconds, mean"] < audit.lengths["seconds, longest"] < 9


def nouns(row):
    words = row["question"].replace('"', " ").replace(".", " ").split()
    return frozenset(word for word in words if word in syllogisms.NOUNS)


def test_nouns_of_dev_and_test_meet_for_the_first_time(rows):
    owned = {split: {nouns(row) for row in rows[split]} for split in SPLITS}
    assert all(len(triple) == 3 for split in SPLITS for triple in owned[split])
    assert not owned["train"] & owned["test"]
    assert not owned["train"] & owned["dev"]
    assert not owned["dev"] & owned["test"]
    for split in SPLITS:
        assert all(syllogisms.split_of(tuple(triple)) == split for triple in owned[split])


def positions(texts, vocabulary):
    """One-hot vectors of the word at each position, the strongest linear reader of order."""
    width = max(len(t.split()) for t in texts)
    table = np.zeros((len(texts), width * len(vocabulary)), np.float32)
    for i, text in enumerate(texts):
        for j, word in enumerate(text.split()):
            table[i, j * len(vocabulary) + vocabulary[word]] = 1
    return table


def n_gram_features(longest, texts, questions):
    counter = CountVectorizer(ngram_range=(1, longest))
    return counter.fit_transform(texts), counter.transform(questions)


def position_features(texts, questions):
    words = sorted({word for text in texts + questions for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(words)}
    return positions(texts, vocabulary), positions(questions, vocabulary)


PROBES = {
    "1-grams": partial(n_gram_features, 1),
    "1-2-grams": partial(n_gram_features, 2),
    "1-3-grams": partial(n_gram_features, 3),
    "positions": position_features,
}


@pytest.mark.parametrize("probe", PROBES)
def test_a_surface_probe_does_no_better_than_chance(rows, probe):
    train, test = rows["train"] + rows["dev"], rows["test"]
    texts, questions = [r["question"] for r in train], [r["question"] for r in test]
    x, z = PROBES[probe](texts, questions)
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(x, [r["label"] for r in train])
    assert 0.44 <= fitted.score(z, [r["label"] for r in test]) <= 0.56
