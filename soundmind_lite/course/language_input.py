"""What the language model of a thinker reads, taken where transformers hands it over."""

import inspect
import textwrap

import torch

FIRST, LAST = "audio_features = self.get_audio_features(", "masked_scatter(audio_mask"


@torch.no_grad()
def language_model_input(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The embeddings (tokens, width) that the language model gets for a batch of one prompt.

    They are taken from a forward pass of the complete thinker, after the audio was put in.
    """
    received = {}

    def keep(module, arguments, named):
        received.update(named)

    hook = model.model.language_model.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        model(**batch)
    finally:
        hook.remove()
    return received["inputs_embeds"][0]


def merging_lines(model) -> str:
    """The lines of transformers' thinker that put the audio vectors in the placeholders' place.

    Raises ValueError if a version of transformers merges them in another way.
    """
    source = inspect.getsource(type(model.model).forward)
    start, end = source.find(FIRST), source.find(LAST)
    if not 0 <= start < end:
        raise ValueError(f"{type(model.model).__name__}.forward has no lines {FIRST} … {LAST}")
    first, last = source.rfind("\n", 0, start) + 1, source.find("\n", end)
    return textwrap.dedent(source[first:last])
