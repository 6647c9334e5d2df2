"""Mel features of clips, computed once for each distinct clip and no longer than the clip."""

import hashlib

import numpy as np
from transformers import BatchFeature
from transformers import WhisperFeatureExtractor as TransformersExtractor

from .remember import MEL_FEATURES


class WhisperFeatureExtractor(TransformersExtractor):
    """Whisper's features with a memory.

    The parent pads every clip to the longest that is allowed and computes all of that each time.
    The frames of a clip come out the same here; those behind it, which are masked, hold silence.
    The class keeps its parent's name, so that what it saves loads anywhere.
    """

    def __call__(
        self,
        raw_speech,
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        padding: str = "max_length",
        **options,
    ):
        clips = raw_speech if isinstance(raw_speech, (list, tuple)) else [raw_speech]
        clips = [np.asarray(clip, dtype=np.float32) for clip in clips]
        frames = [-(-len(clip) // self.hop_length) for clip in clips if clip.ndim == 1]
        ours = padding == "max_length" and len(frames) == len(clips)
        if not ours or max(frames) > self.nb_max_frames:
            options |= {"sampling_rate": sampling_rate, "return_tensors": return_tensors}
            return super().__call__(raw_speech, padding=padding, **options)
        shape = (len(clips), self.feature_size, self.nb_max_frames)
        features = np.empty(shape, np.float32)
        for row, clip, count in zip(features, clips, frames):
            found = self._remembered(clip, count, sampling_rate)
            row[:, :count] = found[:, :-1]
            row[:, count:] = found[:, -1:]
        mask = np.arange(self.nb_max_frames) < np.array(frames)[:, None]
        batch = {"input_features": features, "attention_mask": mask.astype(np.int32)}
        return BatchFeature(batch, tensor_type=return_tensors)

    def _remembered(self, clip: np.ndarray, frames: int, sampling_rate: int) -> np.ndarray:
        digest = hashlib.blake2b(clip.tobytes(), digest_size=16).digest()
        key = (digest, sampling_rate, self.feature_size)
        return MEL_FEATURES.get(key, lambda: self._of(clip, frames, sampling_rate))

    def _of(self, clip: np.ndarray, frames: int, sampling_rate: int) -> np.ndarray:
        """Features (mel bins, frames + 1) of one clip; the last column is silence.

        The clip gets silence behind it, as if it were padded to any length.
        """
        longer = np.concatenate([clip, np.zeros(4 * self.n_fft, np.float32)])
        options = {"sampling_rate": sampling_rate, "padding": "longest", "return_tensors": "np"}
        found = super().__call__(longer, **options)["input_features"][0]
        return np.concatenate([found[:, :frames], found[:, -1:]], axis=1)


def remembering(
    extractor: TransformersExtractor, max_seconds: float | None = None
) -> WhisperFeatureExtractor:
    """The same extractor with a memory, for clips of up to `max_seconds`, rounded up; the default
    is its own limit."""
    found = WhisperFeatureExtractor(**extractor.to_dict())
    if max_seconds is not None:
        found.chunk_length = int(-(-max_seconds // 1))
        found.n_samples = found.chunk_length * found.sampling_rate
        found.nb_max_frames = found.n_samples // found.hop_length
    return found
