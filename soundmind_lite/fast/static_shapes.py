"""One new token of each row in shapes that stay the same, so that a GPU can repeat its kernels.

A pass over one token of a 7B model launches over a thousand kernels, and most end before the next
is launched. A CUDA graph launches all of them at once. It needs the same addresses and shapes for
each token, so keys and values lie in buffers with room, and what isn't sampled yet is masked. When
the room is full, it grows and the graph is captured again. On a CPU the same pass runs without it.

Not run on a GPU yet, and so off unless SOUNDMIND_CUDA_GRAPHS=1 is set; `bench decode` times it.
"""

import os
import warnings
from collections.abc import Callable

import torch

from .kv_cache import AfterPromptLayer, by_prompt
from .one_token import OneToken


def wanted() -> bool:
    """Whether this process was asked for static shapes."""
    return os.environ.get("SOUNDMIND_CUDA_GRAPHS", "0") not in ("", "0")


class StaticLayer(AfterPromptLayer):
    """An `AfterPromptLayer` that writes at `column`, a tensor (1,), of buffers with room."""

    def __init__(self, layer: AfterPromptLayer, column: torch.Tensor):
        super().__init__(*layer.prompt)
        self.column = column
        self.buffers: list[torch.Tensor] = []  # keys and values

    def make_room(self, rows: int, tokens: int) -> None:
        """Room for so many more tokens of so many rows of each prompt."""
        prompts, heads, _, width = self.prompt[0].shape
        more = self.prompt[0].new_zeros(prompts, heads, rows, tokens, width)
        self.buffers = [torch.cat([old, more], dim=-2) for old in self.buffers] or [more, more + 0]

    def update(self, key_states, value_states, *args, **kwargs):
        for buffer, states in zip(self.buffers, (key_states, value_states)):
            buffer.index_copy_(-2, self.column, by_prompt(states, len(buffer)))
        return tuple(zip(self.prompt, self.buffers))


class StaticOneToken(OneToken):
    """`OneToken` in static shapes: the same logits but for rounding."""

    def __init__(self, thinker, prompts, mask: torch.Tensor, rows: int):
        super().__init__(thinker, prompts, mask, rows)
        self.column = torch.zeros(1, dtype=torch.long, device=mask.device)  # of the token to come
        self.tokens = torch.zeros(rows, dtype=torch.long, device=mask.device)
        self.cache.layers = [StaticLayer(layer, self.column) for layer in self.cache.layers]

    def _make_room(self) -> None:
        super()._make_room()
        self.bias[..., -self.ROOM :] = float("-inf")
        self.start = self.bias.shape[-1] - self.ROOM - self.sampled  # of what is sampled
        for layer in self.cache.layers:
            layer.make_room(self.rows // len(self.bias), self.ROOM)
        self._pass = None

    def _next(self, tokens: torch.Tensor) -> torch.Tensor:
        self.tokens.copy_(tokens)
        self.column.fill_(self.sampled - 1)
        if self._pass is None:  # now that its first calls pass the token that is to be passed
            self._pass = captured(self._static)
        return self._pass()

    def _static(self) -> torch.Tensor:
        self.bias.index_fill_(-1, self.start + self.column, 0.0)
        rotation = self.rotations.index_select(0, self.column % self.ROOM)[0]
        return self._logits(self.tokens, rotation, self.bias)


def captured(function: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The function as a CUDA graph; without a GPU, or if it can't be captured, as it is.

    Its first calls, before the capture, must do the same as one.
    """
    if not torch.cuda.is_available():
        return function
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # libraries allocate what they need in their first calls
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            made = function()
    except RuntimeError as error:
        what = f"no CUDA graph of a token can be captured: {error}"
        warnings.warn(f"{what}; each kernel is launched by itself", UserWarning, stacklevel=2)
        torch.cuda.synchronize()
        return function

    def replay() -> torch.Tensor:
        graph.replay()
        return made.clone()

    return replay
