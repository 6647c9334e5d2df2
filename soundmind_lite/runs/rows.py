"""The rows of a run: for training and for testing, checked, fetched once, and fingerprinted."""

import warnings
from dataclasses import dataclass, field

from accelerate.utils import gather_object
from datasets import Dataset

from .. import data, evaluation
from ..alr.bad_rows import BadRows, SkippedRows
from ..profiles import Profile
from .files import RunError
from .fingerprint import fingerprint
from .processes import processes
from .sizes import check_sizes


@dataclass(frozen=True)
class RunRows:
    """Training rows for the trainer, test rows of `load_alr`, and what was left out."""

    train: Dataset
    test: Dataset
    skipped: list[dict[str, str]]
    used: list[dict] = field(repr=False)  # the rows of `load_alr` behind both
    fingerprint: str

    def is_unchanged(self) -> bool:
        """Are all rows and clips still what they were?"""
        return fingerprint(self.used) == self.fingerprint


def load_rows(profile: Profile, setting: str, *, on_bad_row: str = "raise") -> RunRows:
    """All rows of a run, with every clip read. One process fetches, the others find.

    RunError if the processes don't find the same.
    """
    state = processes()
    bad = BadRows(on_bad_row)
    if not state.is_main_process:
        warnings.simplefilter("ignore", SkippedRows)  # the main process warns for all
    audio = {"audio-text": "question", "audio-audio": "both", "text-audio": "both"}.get(setting)
    options = {"on_bad_row": bad, "max_seconds": profile.max_audio_seconds}
    with state.main_process_first():
        train = data.load_alr(
            profile.data, "train", audio=audio, max_rows=profile.train_rows, **options
        )
        rows = data.training_rows(train, setting, on_bad_row=bad)
        test = data.load_alr(profile.data, "test", max_rows=profile.test_rows, **options)
    check_sizes(profile, rows=len(rows))
    if profile.eval != "none":
        evaluation.donors(test["label"])  # the swapped control at the end needs both labels
    chosen = set(rows["id"])
    used = [row for row in train if row["id"] in chosen] + list(test)
    prints = gather_object([fingerprint(used)])
    if len(set(prints)) > 1:
        what = "the processes don't find the same rows and clips"
        raise RunError(f"{what}; can all of them read all of the data?")
    return RunRows(rows, test, bad.listed(), used, prints[0])
