"""What happens to rows that can't be used: the first one stops everything, or all of them are left out, counted and listed."""
import warnings
from contextlib import contextmanager

from ..audio import AudioError

POLICIES = ("raise", "skip")
SHOWN = 10  # rows that a warning shows; its `rows`, and the files of a run, hold all


class ALRFormatError(ValueError):
    """A row that is not in ALR's format; the message names file, line and id."""


class SkippedRows(UserWarning):
    """Rows were left out; `rows` holds all of them, as pairs of a name and what is wrong."""

    def __init__(self, rows: list[tuple[str, str]], of: int):
        self.rows = rows
        lines = [f"{len(rows)} of {of} rows are left out:", *(f"  {what}" for _, what in rows[:SHOWN])]
        super().__init__("\n".join(lines + [f"  … and {len(rows) - SHOWN} more"] * (len(rows) > SHOWN)))


class BadRows:
    """Meets rows that can't be used as its `policy` says: "raise" lets their errors pass, "skip" collects them in `found`.

    Functions with an argument `on_bad_row` take a policy, or a BadRows of the caller's, whose list then goes on growing (not
    from a stream, which tells each row when it is reached).
    """

    def __init__(self, policy: str = "raise"):
        if policy not in POLICIES:
            raise ValueError(f"on_bad_row must be 'raise' or 'skip', got {policy!r}")
        self.policy, self.found = policy, []

    @classmethod
    def of(cls, on_bad_row: "str | BadRows") -> "BadRows":
        return on_bad_row if isinstance(on_bad_row, cls) else cls(on_bad_row)

    @contextmanager
    def met(self, name: str):
        """Within it a row of that name is read; under "skip" its error ends here."""
        try:
            yield
        except (ALRFormatError, AudioError) as error:
            if self.policy == "raise":
                raise
            self.found.append((name, str(error)))

    def listed(self) -> list[dict[str, str]]:
        """All that was left out, as files list it."""
        return [{"row": name, "what": what} for name, what in self.found]

    def tell(self, rows_before: int, since: int = 0) -> None:
        """Warns of the rows left out, those found from the place `since` on, of `rows_before` rows; ALRFormatError if none of those is left."""
        if found := self.found[since:]:
            warnings.warn(SkippedRows(found, rows_before), stacklevel=3)
        if found and len(found) == rows_before:
            raise ALRFormatError(f"none of {rows_before} rows can be used; the first: {found[0][1]}")
