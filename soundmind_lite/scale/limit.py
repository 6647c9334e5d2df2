"""The counted limit of a GRPO step: what must be computed once, and how long that takes at least.

Counted are the floating-point operations of matrix products and convolutions, two for each
multiplication with its addition:

- the audio encoder, once for each clip;
- in each of three passes (sampling, reference, policy) the prompt once and then its completions,
  each token with its attention to all before it, and the output head where a token is predicted. A
  completion's last token predicts nothing, and of the last layer of a prompt only keys and values
  are read, but for the token that predicts the first of each completion;
- in the policy pass LoRA's own products, and the backward pass: the gradients of LoRA and of all
  between it and the loss. Frozen weights get none, nor does the input of the first layer.

Not counted are: reading weights and the KV cache from memory, which limits sampling on a GPU;
starting kernels, and Python; all that isn't a matrix product (softmax, norms, rotary embeddings,
activations, mel features, drawing tokens, rewards, the optimizer); LoRA in sampling, where it can
be merged; padding, and what gradient checkpointing computes again. So a step can't be faster than
this, computed in these three passes, but it isn't said that one can be as fast.

`tests/scale/test_limit.py` holds the counts against torch's FlopCounterMode.
"""

from dataclasses import dataclass, replace

import torch

from ..models import audio_token_count
from .bench_meter import now

SECONDS = 0.2  # for which the rate is measured


@dataclass(frozen=True)
class Step:
    """The sizes of a step. Prompts are equally long, and so are the clips."""

    frames: int  # mel frames of a clip, 100 a second
    prompt: int  # tokens, those of the audio included
    sampled: int  # tokens of each completion
    lengths: tuple[int, ...]  # tokens of a group's completions, as they are scored
    questions: int = 1


def operations(config, rank: int, step: Step) -> dict[str, int]:
    """Floating-point operations of a step's parts: "encode", "sample", "score" (the reference pass)
    and "update" (the policy pass, forward and backward).

    `config` is that of a Qwen2.5-Omni thinker, `rank` that of LoRA on all projections of its
    language model.
    """
    text = config.text_config
    sampled = (step.sampled,) * len(step.lengths)
    parts = {
        "encode": encoding(config.audio_config, step.frames),
        "sample": forward(text, step.prompt, sampled),
        "score": forward(text, step.prompt, step.lengths),
        "update": forward(text, step.prompt, step.lengths, rank=rank)
        + backward(text, step.prompt, step.lengths, rank=rank),
    }
    return {name: step.questions * count for name, count in parts.items()}


def repeated(config, rank: int, step: Step) -> int:
    """Operations of the same step if each completion brings its own prompt and clip to each pass,
    and all are padded to the longest: about what plain steps compute."""
    rows = step.questions * len(step.lengths)
    alone = operations(config, rank, replace(step, lengths=(step.sampled,), questions=rows))
    return sum(alone.values()) + 2 * alone["encode"]


def encoding(audio, frames: int) -> int:
    """The audio encoder over a clip: two convolutions, then layers whose attention stays within
    windows of 2 × n_window frames."""
    width = audio.d_model
    window = 2 * audio.n_window
    windows = [window] * (frames // window)
    if frames % window:
        windows.append(frames % window)
    positions = [(length - 1) // 2 + 1 for length in windows]
    convolutions = frames * 3 * audio.num_mel_bins * width + sum(positions) * 3 * width * width
    weights = 4 * width * width + 2 * width * audio.encoder_ffn_dim
    attention = 2 * width * sum(n * n for n in positions)
    layers = audio.encoder_layers * (sum(positions) * weights + attention)
    projection = int(audio_token_count(frames)) * width * audio.output_dim
    return 2 * (convolutions + layers + projection)


def forward(text, prompt: int, lengths: tuple[int, ...], *, rank: int = 0) -> int:
    """The language model over a prompt once and its completions, with LoRA unless `rank` is 0."""
    sizes = _Sizes(text, prompt, lengths)
    count = sizes.predictions * text.hidden_size * text.vocab_size
    for layer in range(text.num_hidden_layers):
        for name, (wide, narrow) in sizes.matrices.items():
            count += sizes.rows(layer, name) * (wide * narrow + rank * (wide + narrow))
        count += 2 * sizes.width * sizes.pairs(layer)  # query · key, and weights · value
    return 2 * count


def backward(text, prompt: int, lengths: tuple[int, ...], *, rank: int) -> int:
    """The gradients of the same, back to LoRA's first matrices."""
    sizes = _Sizes(text, prompt, lengths)
    count = sizes.predictions * text.hidden_size * text.vocab_size
    for layer in range(text.num_hidden_layers):
        for name, (wide, narrow) in sizes.matrices.items():
            products = 2 * rank * (wide + narrow)  # for LoRA's matrices and for their inputs
            if layer == 0 and name in ("q", "k", "v"):  # whose input is no result of a parameter
                products -= rank * wide
            else:
                products += wide * narrow
            count += sizes.rows(layer, name) * products
        count += 2 * 2 * sizes.width * sizes.pairs(layer)  # each product has two gradients
    return 2 * count


class _Sizes:
    """Of a pass over a prompt and its completions: rows of each product, and attended pairs."""

    def __init__(self, text, prompt: int, lengths: tuple[int, ...]):
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        hidden, wide = text.hidden_size, text.intermediate_size
        self.width = head * text.num_attention_heads
        keys = head * text.num_key_value_heads
        self.matrices = {
            "q": (hidden, self.width),
            "k": (hidden, keys),
            "v": (hidden, keys),
            "o": (self.width, hidden),
            "gate": (hidden, wide),
            "up": (hidden, wide),
            "down": (wide, hidden),
        }
        self.prompt = prompt
        self.after = [length - 1 for length in lengths]  # tokens that are read, of each completion
        self.predictions = 1 + sum(self.after)
        self._last = text.num_hidden_layers - 1

    def rows(self, layer: int, name: str) -> int:
        """Tokens that a projection of a layer is computed for."""
        of_prompt = 1 if layer == self._last and name not in ("k", "v") else self.prompt
        return of_prompt + sum(self.after)

    def pairs(self, layer: int) -> int:
        """Of a token and one that it attends to: itself, and those before it."""
        of_prompt = self.prompt if layer == self._last else triangle(self.prompt)
        return of_prompt + sum(count * self.prompt + triangle(count) for count in self.after)


def triangle(count: int) -> int:
    """1 + 2 + … + count."""
    return count * (count + 1) // 2


def rate(config, prompt: int, *, dtype: torch.dtype, device) -> dict:
    """Floating-point operations a second of this machine, at a product of a typical shape: the
    tokens of a prompt with the widest matrix of the language model's layers.

    Returns {"product": [rows, inner, columns], "flops_per_s": the best that was measured}.
    """
    text = config.text_config
    shape = [prompt, text.hidden_size, text.intermediate_size]
    rows, inner, columns = shape
    left = torch.randn(rows, inner, dtype=dtype, device=device)
    right = torch.randn(columns, inner, dtype=dtype, device=device).T  # as a Linear keeps it
    seconds = []
    began = now()
    while now() - began < SECONDS or len(seconds) < 3:
        start = now()
        left @ right
        seconds.append(now() - start)
    return {"product": shape, "flops_per_s": 2 * rows * inner * columns / min(seconds)}
