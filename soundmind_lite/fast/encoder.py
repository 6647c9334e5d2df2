"""Audio embeddings of clips, encoded once for all the measurements of a run."""

import hashlib
from functools import partial

import torch

from .. import families
from .remember import AUDIO_EMBEDS


def embeddings(thinker, batch: dict[str, torch.Tensor]) -> list[torch.Tensor] | None:
    """The audio embeddings (audio tokens, width) of each row of a batch of `models.encoded`, None
    for a batch without audio. Those used last are remembered, for this state of the encoder."""
    family = families.of(thinker.config)
    features = {name: batch[name].cpu() for name in family.fields if name in batch}
    if not features:
        return None
    by_row = family.by_prompt(features, batch["input_ids"].tolist())
    encoder = state_of(family.encoder_parameters(thinker))
    width = thinker.get_input_embeddings().embedding_dim
    found = []
    for values in zip(*by_row.values()):
        if not len(values[0]):  # a row without audio
            found.append(torch.empty(0, width, device=thinker.device))
            continue
        # without what pads it to longer clips
        row = family.prepared(dict(zip(by_row, values)), thinker.dtype)
        embeds = AUDIO_EMBEDS.get((encoder, digest(row)), partial(encoded, family, thinker, row))
        found.append(embeds.to(thinker.device))
    return found


def encoded(family, thinker, row: dict[str, torch.Tensor]) -> torch.Tensor:
    """The embeddings of the features of a row, in main memory."""
    features = {name: values.to(thinker.device) for name, values in row.items()}
    return family.encode(thinker, features).cpu()


def digest(row: dict[str, torch.Tensor]) -> bytes:
    """What makes the features of a row distinct."""
    found = hashlib.blake2b(digest_size=16)
    for values in row.values():
        found.update(values.contiguous().view(torch.uint8).numpy())
    return found.digest()


def state_of(parameters) -> tuple[float, ...]:
    """Two sums for each parameter: another state has others."""
    sums = [(own.sum(dtype=torch.float64), own.float().norm().double()) for own in parameters]
    return tuple(torch.stack([each for pair in sums for each in pair]).tolist())
