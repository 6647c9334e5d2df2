"""Where the files of a data set come from: a folder, a zip (`archive.py`) or the hub (`hub.py`).

Annotations are read at once; a clip is fetched when it is wanted, and kept. A fetch that was
stopped continues with the files that are missing, and no half file is left behind.
"""

import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from errno import EACCES, ENOENT, ENOTDIR, EPERM, EROFS
from pathlib import Path
from textwrap import shorten

from ..profiles import ASSETS, ROOT

REPOSITORY = "https://github.com/soundmind-lite/soundmind_lite"
# what a copy of ALR is called; mini_alr and soundmind_lite are this project's
ALR_NAMES = re.compile(r"(?<![a-z])(?<!mini_)alr(?![a-z])|soundmind(?!_lite)", re.IGNORECASE)
# of a URL: user and password, and the query; both often hold a key
USER = re.compile(r"(?<=://)[^/\s?'\"]*@")
QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")
KEEP_FREE_GB = 1.0  # what must stay free on the disk
UNWRITABLE = (EACCES, ENOENT, ENOTDIR, EPERM, EROFS)  # errors of the system
WRITABLE = "set SOUNDMIND_CACHE to a folder that can be written"


class SourceError(OSError):
    """Files of a data set or a model that can't be had, or don't fit on the disk."""


def open_source(source: str | Path) -> "Folder":
    """The source of a folder, a zip or a hub id; ValueError if it is none of these."""
    from .archive import Zip
    from .hub import Hub

    text = str(source)
    if not text.strip():
        raise ValueError("the source is empty; give 'mini', a folder, a zip or a hub id")
    if "://" in text:
        remedy = "download it and give the folder or the zip, or give a hub id (owner/name)"
        raise ValueError(f"{without_secrets(text)} is a URL, which isn't supported; {remedy}")
    check_shipped(source)
    kind = Hub
    if Path(text).is_dir():
        kind = Folder
    elif Path(text).is_file():
        kind = Zip
    return kind(text)


def check_shipped(path: str | Path) -> None:
    """SourceError for what the repository holds beside the package, if it isn't here."""
    path = Path(path)
    beside = path.is_relative_to(ASSETS) or path.is_relative_to(ROOT / "notebooks")
    if beside and not path.exists():
        what = (
            f"{ROOT} lacks {path.relative_to(ROOT)}: the package alone isn't the whole repository"
        )
        raise SourceError(f"{what}; git clone {REPOSITORY} and run this in its folder")


def without_secrets(text: str) -> str:
    """A text whose URLs have lost user, password and query, which often hold a key.

    >>> without_secrets("GET https://<user>:<password>@host/alr.zip?token=abc failed")
    'GET https://host/alr.zip failed'
    """
    return QUERY.sub(r"\1", USER.sub("", text))


@contextmanager
def reported(name: str, remedy: str):
    """A context whose errors become a SourceError of one line, without secrets. For a cache that
    can't be written it has a remedy of its own."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in UNWRITABLE:
            remedy = f"{WRITABLE}, for a model HF_HOME"
        what = without_secrets(f"{type(error).__name__}: {error}")
        what = shorten(what, 300, placeholder=" …")  # one line
        raise SourceError(f"{name}: {what}; {remedy}") from None  # it may quote a signed URL


def cache_folder(default: str) -> Path:
    """Where fetched files are kept."""
    return Path(os.environ.get("SOUNDMIND_CACHE") or default).expanduser()


def streamed(generator, *, features, gen_kwargs: dict):
    """An IterableDataset of a generator.

    `datasets` makes a cache folder for it, which nothing is written to: it is made where that is
    always possible, since a home folder can be read-only.
    """
    from datasets.io.generator import GeneratorDatasetInputStream

    given = {"features": features, "gen_kwargs": gen_kwargs, "streaming": True}
    with tempfile.TemporaryDirectory() as unused:
        return GeneratorDatasetInputStream(generator, cache_dir=unused, **given).read()


class Folder:
    """A local folder, and what the other sources inherit.

    `name` is the source in messages; `root` is the folder of its files, or of those fetched so far.
    """

    fetched_at_once = 8  # files

    def __init__(self, name: str, root: Path | None = None):
        self.name = name
        self.root = root or Path(name)

    @property
    def is_copy(self) -> bool:
        """Does it claim, by its name, to be ALR, which has a known number of rows?"""
        return bool(ALR_NAMES.search(Path(self.name).absolute().name))

    def path(self, name: str) -> str:
        """The path of a file, whether or not it is there yet."""
        return str(self.root / name)

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if there is no such file."""
        path = self.root / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            what = "not a file" if os.path.isdir(path) else error.strerror
            raise SourceError(f"{path}: {what}") from error

    def sizes(self, names) -> dict[str, int]:
        """The bytes of each of the files that exists."""
        there = [name for name in names if os.path.exists(self.root / name)]
        return {name: (self.root / name).stat().st_size for name in there}

    def missing(self, paths: list[str]) -> list[str]:
        """The names of the files that aren't there, or not yet."""
        absent = [Path(path) for path in paths if not os.path.exists(path)]
        return [path.relative_to(self.root).as_posix() for path in absent]

    def fetch_one(self, name: str) -> str | None:
        """Fetches a file completely or not at all; if it is damaged, returns what is wrong.

        Nothing happens if the source has no such file.
        """

    def check_space(self, paths: list[str]) -> None:
        """SourceError if the files that are still to be fetched don't fit on the disk."""
        sizes = self.sizes(self.missing(paths))
        if not sizes:
            return
        with reported(str(self.root), WRITABLE):
            self.root.mkdir(parents=True, exist_ok=True)
        size, free = sum(sizes.values()) / 1e9, shutil.disk_usage(self.root).free / 1e9
        if size + KEEP_FREE_GB > free:
            todo = f"{size:.1f} GB in {len(sizes)} files are still to be fetched"
            remedy = "use streaming=True, free some space, or set SOUNDMIND_CACHE to another disk"
            where = f"{self.root} has {free:.1f} GB free"
            raise SourceError(f"{self.name}: {todo} and {where}; {remedy}")

    def fetch(self, paths: list[str]) -> dict[str, str]:
        """Fetches the files that are missing, several at a time.

        Returns what is wrong with those that are damaged, by their paths. Raises SourceError if
        the source can't be reached.
        """
        from tqdm.auto import tqdm

        names = self.missing(paths)
        with ThreadPoolExecutor(self.fetched_at_once) as pool:
            try:
                fetched = pool.map(self.fetch_one, names)
                damage = list(tqdm(fetched, self.name, len(names), unit="file", delay=1))
            finally:  # the first error ends it
                pool.shutdown(cancel_futures=True)
        return {self.path(name): what for name, what in zip(names, damage) if what}
