"""A bounded memory for arrays that are slow to make; what falls out is made again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

import numpy as np
import torch

Array = np.ndarray | torch.Tensor


class Memory:
    """Keeps the arrays used last, up to `megabytes` together. Threads may share it."""

    def __init__(self, megabytes: float):
        self.limit = int(megabytes * 2**20)  # bytes
        self.size = 0  # bytes
        self._kept: OrderedDict[Hashable, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """The array of that key, made if it isn't here. Callers share it and must not change it."""
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
                _, dropped = self._kept.popitem(last=False)
                self.size -= dropped.nbytes
        return made


DECODED = Memory(200)  # clips; a minute takes 4 MB, mini_alr's train and test clips 197
MEL_FEATURES = Memory(128)  # a minute takes 3 MB
AUDIO_EMBEDS = Memory(64)  # of the tiny model 15 kB for a second, of the 7B 180 kB
