"""A fingerprint of rows, by which a run recognises its data when it resumes."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

from ..data import CLIPS, COLUMNS
from .files import digest

READ_AT_ONCE = 8  # clips


def fingerprint(rows) -> str:
    """Sixteen hex digits that change with any row, the order of rows, or any byte of a clip.

    Where the files are makes no difference.
    """
    rows, total = list(rows), hashlib.blake2b(digest_size=8)
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        for row, clips in zip(rows, pool.map(_clip_digests, rows)):
            texts = [row[name] for name in ("split", "id", "question", "reasoning", "label")]
            further = [row[name] for name in sorted(row) if name not in COLUMNS]
            total.update(json.dumps(texts + clips + further).encode())
    return total.hexdigest()


def digest_of(values: list) -> str:
    """Eight hex digits that change with any of the values, which JSON can hold."""
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=4).hexdigest()


def _clip_digests(row: dict) -> list[str | None]:
    return [row[name] and digest(row[name]) for name in CLIPS]
