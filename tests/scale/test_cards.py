"""A GPU is recognised by what torch says of it: its name and its memory in units of 1e9 bytes."""

import pytest

from soundmind_lite.profiles import PROFILES
from soundmind_lite.scale.cards import CARDS, card_of


@pytest.mark.parametrize(
    ("name", "memory_gb", "card"),
    [
        ("Tesla T4", 15.8, "T4"),
        ("NVIDIA L4", 23.6, "L4"),
        ("NVIDIA L40S", 47.7, "L40S"),
        ("NVIDIA A40", 47.7, "A40"),
        ("NVIDIA RTX A6000", 51.0, "A6000"),
        ("NVIDIA A100-SXM4-40GB", 42.4, "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", 42.4, "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", 85.1, "A100"),
        ("NVIDIA A100 80GB PCIe", 85.1, "A100"),
        ("NVIDIA H100 80GB HBM3", 85.0, "H100"),
        ("NVIDIA H200", 150.1, "H200"),
        ("NVIDIA GeForce RTX 4090", 25.3, "RTX-4090"),
        ("NVIDIA GeForce RTX 3090", 25.3, "RTX-3090"),
    ],
)
def test_a_card_is_told_from_its_neighbours(name, memory_gb, card):
    found = card_of(name, memory_gb)
    assert found.name == card
    assert found.memory_gb == pytest.approx(0.97 * memory_gb)
    # a plan for the card by its name doesn't promise more than the machine has
    assert CARDS[card].memory_gb <= found.memory_gb


@pytest.mark.parametrize("name", ["Some GPU", "NVIDIA GH200 480GB", "NVIDIA A10", "Quadro T400"])
def test_an_unknown_card_is_called_so(name):
    assert card_of(name, 12.0).name == f"{name} (time as on an L4)"
    assert card_of(name, 12.0).memory_gb == pytest.approx(11.64)


def test_every_profile_names_a_card_of_the_table():
    assert {p.card for p in PROFILES.values()} - {""} <= set(CARDS)
