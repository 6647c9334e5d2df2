"""How the time of a step grows with the audio, the group and the new tokens: measured and drawn."""

from dataclasses import replace

from .. import models
from ..profiles import PROFILES, Profile
from ..runs.report import BLUE, ORANGE, WIDTH
from . import bench

SIZES = {
    "seconds_of_audio": (5, 15, 60, 120),
    "group": (2, 4, 8, 16),
    "new_tokens": (25, 50, 100, 200),
}
NAMES = {
    "seconds_of_audio": "seconds of audio",
    "group": "completions of a group",
    "new_tokens": "new tokens",
}


def measure(
    profile: Profile,
    *,
    audio_seconds: float = 60.0,
    group: int = 8,
    new_tokens: int | None = None,
    random_weights: bool = False,
) -> dict[str, list[dict]]:
    """Times of a step for each value in `SIZES`; the other two sizes stay as given."""
    from tqdm.auto import tqdm

    given = {"seconds_of_audio": audio_seconds, "group": group, "new_tokens": new_tokens}
    longest = replace(profile, max_audio_seconds=max(SIZES["seconds_of_audio"]))
    if random_weights:
        processor = models.load_processor(PROFILES["tiny"].model, 1)
        model = bench.random_thinker(longest, processor)
    else:
        model, _ = models.load(longest)
    points = [(axis, value) for axis, values in SIZES.items() for value in values]
    found = {axis: [] for axis in SIZES}
    for axis, value in tqdm(points, desc="growth", unit="point"):
        sizes = given | {axis: value}
        one = bench.measure(
            profile,
            audio_seconds=sizes["seconds_of_audio"],
            group=sizes["group"],
            new_tokens=sizes["new_tokens"],
            random_weights=random_weights,
            repeats=1,
            model=model,
        )
        point = {axis: value, **one["step"]}
        point["plain_rollout_s"] = one["rollout"]["plain_s"]
        point["shared_rollout_s"] = one["rollout"]["shared_s"]
        found[axis].append(point)
    return found


def draw(growth: dict[str, list[dict]]):
    """`(figure, words)` of what `measure` found, with a panel for each size that changes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.4 * len(growth)), layout="constrained")
    panels = figure.subplots(len(growth), sharey=True)
    for panel, (axis, points) in zip(panels, growth.items()):
        sizes = [point[axis] for point in points]
        plain = [point["plain_s"] for point in points]
        shared = [point["shared_s"] for point in points]
        panel.plot(sizes, plain, "--o", color=ORANGE, label="plain")
        panel.plot(sizes, shared, "-s", color=BLUE, label="shared prefix")
        panel.set(xlabel=NAMES[axis], ylabel="seconds of a step", ylim=(0, None))
    panels[0].legend()
    panels_in_words = "; ".join(in_words(axis, points) for axis, points in growth.items())
    return figure, f"Seconds of a GRPO step, plain and with a shared prefix, {panels_in_words}."


def in_words(axis: str, points: list[dict]) -> str:
    """One panel as text: each size with its two times."""
    times = (f"{p[axis]}: {p['plain_s']:.1f} and {p['shared_s']:.1f}" for p in points)
    return f"by {NAMES[axis]} {', '.join(times)}"
