"""Mel features of clips, made once for each distinct clip and no longer than the clip."""
import hashlib

import numpy as np
from transformers import BatchFeature
from transformers import WhisperFeatureExtractor as TheirExtractor

from .remember import Memory

MEMORY = Memory(128)  # megabytes; a minute of speech takes 3


class WhisperFeatureExtractor(TheirExtractor):
    """Whisper's features with a memory. Theirs pads every clip to the longest that is allowed, and computes all of that each time the clip is heard.

    The frames of a clip come out the same; those behind it, which are masked, hold silence. It keeps its name, so that what it saves loads anywhere.
    """

    def __call__(self, raw_speech, sampling_rate: int | None = None, return_tensors: str | None = None, padding: str = "max_length", **options):
        clips = [np.asarray(clip, dtype=np.float32) for clip in (raw_speech if isinstance(raw_speech, (list, tuple)) else [raw_speech])]
        frames = [-(-len(clip) // self.hop_length) for clip in clips if clip.ndim == 1]
        if padding != "max_length" or len(frames) < len(clips) or max(frames) > self.nb_max_frames:
            return super().__call__(raw_speech, sampling_rate=sampling_rate, return_tensors=return_tensors, padding=padding, **options)
        features = np.empty((len(clips), self.feature_size, self.nb_max_frames), np.float32)
        for row, clip, count in zip(features, clips, frames):
            key = hashlib.blake2b(clip.tobytes(), digest_size=16).digest(), sampling_rate, self.feature_size
            found = MEMORY.get(key, lambda clip=clip, count=count: self._of(clip, count, sampling_rate))
            row[:, :count], row[:, count:] = found[:, :-1], found[:, -1:]
        mask = (np.arange(self.nb_max_frames) < np.array(frames)[:, None]).astype(np.int32)
        return BatchFeature({"input_features": features, "attention_mask": mask}, tensor_type=return_tensors)

    def _of(self, clip: np.ndarray, frames: int, sampling_rate: int) -> np.ndarray:
        """Features (mel bins, frames + 1) of one clip; the last column is silence. The clip gets silence behind it, as if it were padded to any length."""
        longer = np.concatenate([clip, np.zeros(4 * self.n_fft, np.float32)])
        found = super().__call__(longer, sampling_rate=sampling_rate, padding="longest", return_tensors="np")["input_features"][0]
        return np.concatenate([found[:, :frames], found[:, -1:]], axis=1)
