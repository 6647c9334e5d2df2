"""A local zip as a source: annotations are read inside it, clips are extracted to a cache."""

import hashlib
import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from zlib import error as ZlibError

from .sources import Folder, SourceError, cache_folder

ANNOTATIONS = re.compile(r"(.*/)?(train|dev|test)(\.jsonl|/metadata\.jsonl)")


class DamagedError(SourceError):
    """A file that is damaged inside its archive."""


class Zip(Folder):
    """A local zip. Annotations are read inside it; clips are extracted to a cache folder."""

    is_copy = True
    fetched_at_once = 1  # a zip is one open file

    def __init__(self, name: str):
        path = Path(name)
        if path.suffix.lower() != ".zip":
            raise ValueError(f"{name} is a file, but no zip; give a folder, a zip or a hub id")
        state = path.stat()  # another archive at the same path is another source
        self.key = f"{path.resolve()} {state.st_mtime_ns} {state.st_size}"
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:8]
        folder = re.sub(r"\W+", "-", self.key)[-60:] + "-" + digest
        super().__init__(name, cache_folder("~/.cache/soundmind_lite") / folder)
        try:
            _opened(name, self.key)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{name}: not a complete zip ({error}); fetch it again") from error

    def read(self, name: str) -> bytes | None:
        archive, members = _opened(self.name, self.key)
        if name not in members:
            return None
        with self.reading(name):
            return archive.read(members[name])

    def sizes(self, names) -> dict[str, int]:
        members = _opened(self.name, self.key)[1]
        return {name: members[name].file_size for name in names if name in members}

    def missing(self, paths: list[str]) -> list[str]:
        names = [Path(path).relative_to(self.root).as_posix() for path in paths]
        extracted = super().sizes(names)
        return [name for name, size in self.sizes(names).items() if extracted.get(name) != size]

    def fetch_one(self, name: str) -> str | None:
        archive, members = _opened(self.name, self.key)
        path = self.root / name
        part = path.with_name(f"{path.name}.{os.getpid()}.part")  # processes may extract the same
        try:
            with self.reading(name):
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(members[name]) as content, part.open("wb") as file:
                    shutil.copyfileobj(content, file)
                part.replace(path)
        except DamagedError as error:
            return str(error)
        finally:
            part.unlink(missing_ok=True)

    @contextmanager
    def reading(self, name: str):
        """A context that names the member in its errors."""
        damage = (zipfile.BadZipFile, ZlibError, LZMAError, EOFError, RuntimeError, OSError)
        try:
            yield
        except damage as error:
            if getattr(error, "errno", None) is not None:  # the system's; bz2's has no number
                raise SourceError(
                    f"{self.name}/{name}: {error}; what is here already stays"
                ) from error
            what = f"can't be read from the archive ({error}); fetch the archive again"
            raise DamagedError(f"{self.name}/{name}: {what}") from error


@lru_cache(4)
def _opened(path: str, key: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """A zip, and its members by their names below the folder that holds the annotations.

    Archives often have one folder around everything; those of older Windows tools have backslashes.
    """
    archive = zipfile.ZipFile(path)
    members = {info.filename.replace("\\", "/"): info for info in archive.infolist()}
    for found in map(ANNOTATIONS.fullmatch, sorted(members)):
        if found:
            top = found[1] or ""
            return archive, {n[len(top) :]: i for n, i in members.items() if n.startswith(top)}
    what = "the zip holds no train.jsonl, dev.jsonl, test.jsonl or metadata.jsonl"
    raise SourceError(f"{path}: {what}")
