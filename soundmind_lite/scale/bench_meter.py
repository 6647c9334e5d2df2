"""What `bench` counts while a trainer samples or takes steps: time, memory, tokens."""

import threading
import time
from dataclasses import dataclass, field

import psutil
import torch
from transformers import TrainerCallback

from ..runs.process_memory import return_freed_memory

KINDS = ("plain", "shared")


@dataclass
class Measurement:
    """What sampling a group once, or one step, took."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0  # of the GPU if there is one, else of the process
    encoder_calls: int = 0  # clips that went through the audio encoder
    prefilled_tokens: int = 0  # prompt tokens computed for sampling
    padded_tokens: int = 0  # padding computed in log-prob passes
    phases: dict[str, float] = field(default_factory=dict)  # seconds of a step's phases


class Meter:
    """Fills a Measurement between `start` and `stop`.

    `sampling` is to be set while completions are sampled: a prompt's tokens count as prefilled
    then, and padding counts otherwise.
    """

    def __init__(self, trainer):
        self.sampling = False
        self.found = Measurement()
        self._running = False
        self._began = 0.0
        self._thread = None
        thinker = trainer.model.get_base_model().model
        self._hooks = [
            thinker.audio_tower.register_forward_pre_hook(self._count_clips, with_kwargs=True),
            thinker.language_model.register_forward_pre_hook(self._count_tokens, with_kwargs=True),
        ]

    def close(self) -> None:
        """Takes the hooks off the model, and stops what a step that failed has left running."""
        self._running = False
        for hook in self._hooks:
            hook.remove()

    def _count_clips(self, module, args, options) -> None:
        self.found.encoder_calls += len(options["feature_lens"])

    def _count_tokens(self, module, args, options) -> None:
        rows, tokens = options["inputs_embeds"].shape[:2]
        mask = options.get("attention_mask")
        if self.sampling and tokens > 1:
            self.found.prefilled_tokens += rows * tokens
        if not self.sampling and isinstance(mask, torch.Tensor) and mask.ndim == 2:
            self.found.padded_tokens += int((mask[:, -tokens:] == 0).sum())

    def start(self) -> None:
        return_freed_memory()
        self.found = Measurement()
        self._running = True
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch_memory, daemon=True)
        self._thread.start()
        self._began = now()

    def stop(self) -> Measurement:
        self.found.seconds = now() - self._began
        self._running = False
        self._thread.join()
        if torch.cuda.is_available():
            self.found.peak_memory_mb = torch.cuda.max_memory_allocated() / 2**20
        return self.found

    def _watch_memory(self) -> None:
        process = psutil.Process()
        while self._running:
            resident = process.memory_info().rss / 2**20
            self.found.peak_memory_mb = max(self.found.peak_memory_mb, resident)
            time.sleep(0.01)


def now() -> float:
    """Seconds on a clock that waits for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class MeteredSteps(TrainerCallback):
    """Takes steps of the given kinds in turn; `found` collects a Measurement of each.

    `trainer` and `meter` are set once the trainer exists, which is made with its callbacks.
    """

    def __init__(self, kinds: tuple[str, ...] = KINDS):
        self.kinds = kinds
        self.trainer = None
        self.meter = None
        self.found: dict[str, list[Measurement]] = {kind: [] for kind in KINDS}

    def on_step_begin(self, args, state, control, **_):
        self.trainer.share(self._kind(state.global_step) == "shared")
        self.trainer.seconds = dict.fromkeys(self.trainer.seconds, 0.0)
        self.meter.start()

    def on_step_end(self, args, state, control, **_):
        measurement = self.meter.stop()
        measurement.phases = dict(self.trainer.seconds)
        self.found[self._kind(state.global_step - 1)].append(measurement)

    def _kind(self, step: int) -> str:
        return self.kinds[step % len(self.kinds)]
