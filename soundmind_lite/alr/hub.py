"""A data set of the Hugging Face hub as a source; huggingface_hub fetches, retries and caches."""

import re
from contextlib import suppress

import huggingface_hub as hub
from huggingface_hub import constants
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import silent_tqdm

from .sources import Folder, cache_folder, reported

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w.-]*)?")
PATHS_A_REQUEST = 500  # whose sizes are asked for; huggingface_hub takes as many


class Hub(Folder):
    """A data set named "owner/name" or "owner/name@revision".

    Its revision is resolved once, so that all files are of one commit; without a network the
    commit that was resolved last. `root` is the folder of this commit in huggingface_hub's cache.
    """

    def __init__(self, name: str):
        if not HUB_ID.fullmatch(name):
            kinds = "a folder, a zip or a hub id (owner/name)"
            raise ValueError(f"{name!r} is neither 'mini' nor {kinds}")
        repo, _, revision = name.partition("@")
        self.cache = cache_folder(constants.HF_HUB_CACHE)
        self.commit = {"repo_id": repo, "repo_type": "dataset"}
        folder = self.cache / repo_folder_name(**self.commit)
        with reported(name, "is it a folder that isn't there, or a hub id without a network?"):
            resolved = hub.resolve_revision(
                **self.commit, revision=revision or None, cache_dir=self.cache
            ).resolved
        self.commit["revision"] = resolved
        super().__init__(name, folder / "snapshots" / resolved)

    def read(self, name: str) -> bytes | None:
        if not (self.root / name).exists():
            self.fetch_one(name)
        return super().read(name)

    def sizes(self, names) -> dict[str, int]:
        names, sizes = list(names), {}
        for start in range(0, len(names), PATHS_A_REQUEST):
            batch = names[start : start + PATHS_A_REQUEST]
            with reported(self.name, "what is here already stays, so try again later"):
                found = hub.get_paths_info(**self.commit, paths=batch)
            sizes |= {file.path: file.size for file in found if isinstance(file, hub.RepoFile)}
        return sizes

    def fetch_one(self, name: str) -> None:
        file = {"filename": name, "cache_dir": self.cache, **self.commit}
        if hub.try_to_load_from_cache(**file) is hub._CACHED_NO_EXIST:
            return
        with (
            reported(f"{self.name}/{name}", "what is here already stays; try again"),
            suppress(RemoteEntryNotFoundError),
        ):
            hub.hf_hub_download(**file, tqdm_class=silent_tqdm)
