"""Fields of annotations beyond ALR's own: they are kept as columns, which rewards get by name."""

from datasets import Dataset, Features, Value

from ..data import COLUMNS, ALRFormatError

ALR_FEATURES = {name: Value("int64" if name == "label" else "string") for name in COLUMNS}
NUMBERS = (int, float)


class FurtherFields:
    """What the rows of a file hold beyond ALR's fields, each field of one type in all rows."""

    def __init__(self):
        self.first: dict[str, tuple[type, str]] = {}  # field → its type, and where it came first

    def of(self, fields: dict, where: str) -> dict:
        """The fields, without those that have the name of a column of `load_alr`. ALRFormatError,
        beginning with `where`, for a type that differs from earlier rows'."""
        kept = {name: value for name, value in fields.items() if name not in COLUMNS}
        for name, value in kept.items():
            if value is None:
                continue
            kind = float if type(value) in NUMBERS else type(value)
            expected, there = self.first.setdefault(name, (kind, where))
            if kind is not expected:
                what = f"{name!r} is {value!r:.60}, a {_word(kind)}"
                what += f", and a {_word(expected)} in {there}"
                raise ALRFormatError(f"{where}: {what}; give it one type in all rows")
        return kept


def _word(kind: type) -> str:
    words = {float: "number", str: "text", bool: "truth value", dict: "object"}
    return words.get(kind, kind.__name__)


def features_of(rows: list[dict], *, name: str) -> Features:
    """The features of rows of `load_alr`, which get None where they lack another's further field.

    `name` is the source's. ALRFormatError for a field that no column can hold.
    """
    fields = dict.fromkeys(field for row in rows for field in row)
    found = dict(ALR_FEATURES)
    for field in [field for field in fields if field not in COLUMNS]:
        values = [row.setdefault(field, None) for row in rows]
        if any(type(value) is float for value in values):
            for row, value in zip(rows, values):
                row[field] = None if value is None else float(value)
        try:
            column = Dataset.from_list([{field: row[field]} for row in rows])
        except (TypeError, ValueError, OverflowError) as error:
            what = f"{name}: the field {field!r} can't be one column ({error!s:.80})"
            raise ALRFormatError(f"{what}; give it one type in all rows") from error
        found[field] = column.features[field]
        if found[field] == Value("null"):
            found[field] = Value("string")
    return Features(found)
