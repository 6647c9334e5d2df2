"""The figures of notebook 10: the memory of a run's phases on a card."""

from ...runs.report import BLUE, GREEN, GREY, ORANGE, PINK, SKY, WIDTH
from .. import show

# Parts of `Plan.memory` with a colour and a hatch each, so that they differ without colour, too
PARTS = {
    "weights": (BLUE, ""),
    "adapter and optimizer": (SKY, "//"),
    "overhead": (GREY, ""),
    "KV cache": (ORANGE, ".."),
    "activations": (GREEN, "\\\\"),
    "logits": (PINK, "xx"),
}


def phases(plan) -> show.Picture:
    """The memory (GB) of each phase of a `planner.Plan`, in parts, beside the card's limit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    names = list(plan.memory.phases)
    ends = [0.0] * len(names)
    for part, (colour, hatch) in PARTS.items():
        sizes = [part_of(plan.memory, name, part) for name in names]
        look = {"color": colour, "hatch": hatch, "edgecolor": "white", "height": 0.6}
        axes.barh(names, sizes, left=ends, label=part, **look)
        ends = [end + size for end, size in zip(ends, sizes)]
    limit = f"the {plan.card}'s {plan.limit_gb:g} GB"
    axes.axvline(plan.limit_gb, color="black", linestyle="--", label=limit)
    axes.invert_yaxis()
    axes.set_xlabel(f"GB, an estimate for the profile {plan.profile}")
    figure.legend(loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return show.picture(figure, in_words(plan))


def part_of(memory, phase: str, part: str) -> float:
    """GB of a part in a phase; 0 if the phase doesn't have it."""
    return memory.lasting.get(part) or memory.phases[phase].get(part, 0.0)


def in_words(plan) -> str:
    """The figure as text: what stays, and what each phase adds."""
    lasting = ", ".join(f"{name} {size:.1f}" for name, size in plan.memory.lasting.items())
    added = []
    for name, parts in plan.memory.phases.items():
        sizes = ", ".join(f"{part} {size:.1f}" for part, size in parts.items())
        added.append(f"{name} {plan.memory.totals[name]:.1f} ({sizes})")
    limit = f"the limit of the {plan.card} is {plan.limit_gb:g}"
    stays = f"GB of profile {plan.profile} by phase. All the time: {lasting}."
    return f"{stays} Together with that, {'; '.join(added)}; {limit}."
