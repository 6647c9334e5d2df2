"""A bounded memory for arrays that are costly to make: decoded clips, mel features. What falls out is made again."""
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Memory:
    """Keeps the arrays last used, up to `megabytes` in all. Threads may share it."""

    def __init__(self, megabytes: float):
        self.limit, self.size, self._kept = int(megabytes * 2**20), 0, OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable):
        """The array of that key, made if it isn't here. Callers share it, so whoever changes it takes a copy."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if made.nbytes <= self.limit and key not in self._kept:
                self._kept[key] = made
                self.size += made.nbytes
            while self.size > self.limit:
                self.size -= self._kept.popitem(last=False)[1].nbytes
        return made
