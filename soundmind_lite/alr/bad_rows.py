"""Rows that can't be used: the first stops everything, or all are left out, counted and listed."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ..audio import AudioError, load_audio, named
from ..data import CLIPS, ALRFormatError, row_name

POLICIES = ("raise", "skip")
SHOWN = 10  # rows in the text of a warning; its `rows`, and the files of a run, list all
READ_AT_ONCE = 8  # clips that are decoded at the same time; a minute takes 4 MB


class SkippedRows(UserWarning):
    """Rows were left out; `rows` lists all of them, as pairs of a name and what is wrong."""

    def __init__(self, rows: list[tuple[str, str]], of: int):
        self.rows = rows
        lines = [
            f"{len(rows)} of {of} rows are left out:",
            *(f"  {why}" for _, why in rows[:SHOWN]),
        ]
        if len(rows) > SHOWN:
            lines.append(f"  … and {len(rows) - SHOWN} more")
        super().__init__("\n".join(lines))


class BadRows:
    """The rows of one call that can't be used, treated as the `policy` says.

    "raise" lets their errors pass; "skip" collects them in `found`, as pairs of a name and what is
    wrong. A function with an argument `on_bad_row` takes a policy or a BadRows; in the latter it
    adds what it finds (but for a stream, which reports each row when it reaches it).
    """

    def __init__(self, policy: str = "raise", caller: "BadRows | None" = None):
        if policy not in POLICIES:
            raise ValueError(f"on_bad_row must be 'raise' or 'skip', got {policy!r}")
        self.policy = policy
        self.found: list[tuple[str, str]] = []
        self.caller = caller  # gets all that is found here, too

    @classmethod
    def of(cls, on_bad_row: "str | BadRows") -> "BadRows":
        """An empty BadRows for one call."""
        if isinstance(on_bad_row, cls):
            return cls(on_bad_row.policy, caller=on_bad_row)
        return cls(on_bad_row)

    @contextmanager
    def reading(self, name: str):
        """A context in which the row of that name is read; under "skip" its error ends here."""
        try:
            yield
        except (ALRFormatError, AudioError) as error:
            if self.policy == "raise":
                raise
            self.add(name, str(error))

    def add(self, name: str, why: str) -> None:
        self.found.append((name, why))
        if self.caller is not None:
            self.caller.add(name, why)

    def listed(self) -> list[dict[str, str]]:
        """The rows that were left out, as files list them."""
        return [{"row": name, "what": why} for name, why in self.found]

    def report(self, count: int) -> None:
        """Warns of the rows left out of `count`; ALRFormatError if all of them are."""
        if not self.found:
            return
        warnings.warn(SkippedRows(self.found, count), stacklevel=3)
        if len(self.found) == count:
            first = self.found[0][1]
            raise ALRFormatError(f"none of {count} rows can be used; the first: {first}")


def usable(rows: list[dict], bad: BadRows, *, damaged: dict[str, str], limit: float | None):
    """The rows whose clips can be used, in their order; the others go to `bad`.

    `damaged` says what is wrong with clips that couldn't be fetched, by their paths. With `limit`
    every clip is read, several at a time; a question may have as many seconds.
    """
    from tqdm.auto import tqdm

    good = []
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        checks = [pool.submit(check_clips, row, damaged, limit) for row in rows]
        bar = tqdm(total=len(rows), desc="reading clips", unit="row", delay=2, leave=False)
        try:
            for row, check in zip(rows, checks):
                with bad.reading(row_name(row)):
                    check.result()
                    good.append(row)
                bar.update()
        finally:  # under "raise" the first error ends it
            pool.shutdown(cancel_futures=True)
            bar.close()
    return good


def check_clips(row: dict, damaged: dict[str, str], limit: float | None) -> None:
    """AudioError, with the row's name, if a clip is damaged, or with `limit` can't be read."""
    limits = {"question_audio": limit, "answer_audio": None}
    with named(f"row {row_name(row)}"):
        for column in CLIPS:
            clip = row[column]
            if clip in damaged:
                raise AudioError(damaged[clip])
            if clip and limit is not None:
                load_audio(clip, limits[column])


def stream(rows: list[dict], files, policy: str, count: int, limit: float | None):
    """Fetches and yields row by row; `datasets` may hand over a part of the `count` rows."""
    for row in rows:
        bad = BadRows(policy)
        damaged = files.fetch([row[column] for column in CLIPS if row[column]])
        yield from usable([row], bad, damaged=damaged, limit=limit)
        if bad.found:
            warnings.warn(SkippedRows(bad.found, count), stacklevel=2)
