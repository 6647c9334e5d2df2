"""GPUs by their data sheets: the figures that a plan starts from."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Card:
    """A GPU: memory that torch can use (GB), dense bf16 or fp16 TFLOP/s (tensor cores, without
    sparsity), memory bandwidth (GB/s). `bfloat16`: Turing and older cards have none."""

    name: str
    memory_gb: float
    tflops: float
    bandwidth: float
    bfloat16: bool = True


# Bandwidth and TFLOP/s from NVIDIA's data sheets (A100-40GB, A100, H100 and H200: the SXM cards;
# where a sheet gives TFLOP/s with sparsity only, half of it). Memory: a little less than what the
# driver reports, in units of 1e9 bytes; the 48 GB of L40S and A40 are less by their ECC.
CARDS = {
    card.name: card
    for card in (
        Card("T4", 15.0, 65, 320, bfloat16=False),
        Card("L4", 22.5, 121, 300),
        Card("RTX-3090", 24.0, 71, 936),
        Card("RTX-4090", 24.0, 165, 1008),
        Card("A100-40GB", 40.0, 312, 1555),
        Card("A40", 46.0, 150, 696),
        Card("A6000", 48.0, 155, 768),
        Card("L40S", 46.0, 362, 864),
        Card("A100", 79.0, 312, 2039),
        Card("H100", 79.0, 989, 3350),
        Card("H200", 139.0, 989, 4800),
    )
}
USABLE = 0.97  # of the memory that the driver reports


def card_of(name: str, memory_gb: float) -> Card:
    """The card of a GPU's name and memory (GB) as torch reports them, with 97 % of it to use.

    An A100 of 40 GB and one of 80 GB differ in memory alone. A card that isn't in the table is
    planned like an L4, and its name says so.

    >>> card_of("NVIDIA A100-SXM4-40GB", 42.4).name
    'A100-40GB'
    """
    usable = USABLE * memory_gb
    kinds = [kind for kind in CARDS.values() if _names(kind, name)]
    if not kinds:
        return replace(CARDS["L4"], name=f"{name} (time as on an L4)", memory_gb=usable)
    nearest = min(kinds, key=lambda kind: abs(kind.memory_gb - usable))
    return replace(nearest, memory_gb=usable)


def _names(card: Card, name: str) -> bool:
    """Is the card's name, without its size of memory, part of the GPU's name?"""
    word = card.name.removesuffix("-40GB").replace("-", " ")
    return re.search(rf"\b{word}\b", name) is not None
