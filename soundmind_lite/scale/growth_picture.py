"""What `growth` measured, for a person: a table for the terminal, a picture with its words."""

import math

from ..runs.report import BLUE, GREEN, ORANGE, SMALLEST, WIDTH

NAMES = {
    "seconds_of_audio": "seconds of audio",
    "group": "completions of a group",
    "new_tokens": "new tokens",
    "questions": "questions of a step",
}
DUE = {  # growth in a size n, as `growth` explains it
    "seconds_of_audio": "at most n²",
    "group": "at most n",
    "new_tokens": "at most n²",
    "questions": "n",
}
TIMES = {  # key of a point → words, colour, line, marker
    "plain_s": ("plain", ORANGE, "--", "o"),
    "shared_s": ("shared prefix", BLUE, "-", "s"),
    "limit_s": ("counted limit", GREEN, ":", "^"),
}
MEMORY = {"plain_peak_memory_mb": TIMES["plain_s"], "peak_memory_mb": TIMES["shared_s"]}
COLUMNS = (  # of the table: key of a point, width, form
    ("plain_s", 10, ".2f"),
    ("shared_s", 10, ".2f"),
    ("ratio", 8, ".1f"),
    ("limit_s", 9, ".2f"),
    ("plain_peak_memory_mb", 10, ",.0f"),
    ("peak_memory_mb", 10, ",.0f"),
)
ESTIMATED = "plain, not run: estimated"
ROW = 2.1  # inches


def table(result: dict) -> str:
    """Each point of each axis, and how both grow between the two largest sizes of an axis."""
    rate = result["limit"]["flops_per_s"] / 1e9
    product = " × ".join(map(str, result["limit"]["product"]))
    heads = f"{'plain':>10}{'shared':>10}{'ratio':>8}{'limit':>9}{'plain':>10}{'shared':>10}"
    lines = [
        f"limit: at {rate:,.0f} GFLOP/s, measured in a product of {product}",
        f"{'seconds of a step, peak MB':30}{heads}",
    ]
    for axis, points in result["growth"].items():
        lines += [f"{NAMES[axis]} {p[axis]:g}".ljust(30) + figures(p) for p in points]
        lines += [f"  {kind} not run: {why}" for kind, why in not_run(axis, points)]
    lines.append("growth between the two largest sizes n of each:")
    lines += [growth_line(axis, fitted) for axis, fitted in result["exponents"].items()]
    return "\n".join(lines)


def figures(point: dict) -> str:
    """The numbers of a point, a dash for what wasn't run."""
    words = []
    for key, width, form in COLUMNS:
        value = point[key]
        words.append("–".rjust(width) if value is None else f"{value:{width}{form}}")
    return "".join(words)


def not_run(axis: str, points: list[dict]) -> list[tuple[str, str]]:
    """Which kind was left out where, and why."""
    found = []
    for point in points:
        for kind in ("plain", "shared"):
            if why := point.get(f"{kind}_not_run"):
                found.append((kind, f"{point[axis]:g} {why}"))
    return found


def growth_line(axis: str, fitted: dict[str, float | None]) -> str:
    """How a shared step, its limit and its memory grow, and how they may.

    >>> growth_line("questions", {"shared": 0.97, "limit": 1.0, "shared_memory": 0.35})
    'questions of a step             shared n^0.97, limit n^1.00, memory n^0.35; due: n'
    """
    words = [
        f"{name.removeprefix('shared_')} n^{value:.2f}"
        for name, value in fitted.items()
        if value is not None
    ]
    return f"{NAMES[axis]:32}{', '.join(words) or 'a single size'}; due: {DUE[axis]}"


def draw(growth: dict[str, list[dict]]):
    """`(figure, words)` of the points: a row for each size that changes, on the left the seconds of
    a step, on logarithmic scales, on the right its peak memory in GB."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, ROW * len(growth) + 0.6), layout="constrained")
    rows = figure.subplots(len(growth), 2, sharey="col", squeeze=False)
    shown = {}  # label → what it stands for
    for (times, memory), (axis, points) in zip(rows, growth.items()):
        draw_lines(times, axis, points, TIMES)
        draw_lines(memory, axis, points, MEMORY, unit=1000)
        times.set_yscale("log")
        as_numbers(times.yaxis)
        if estimates := {p[axis]: p["plain_estimate_s"] for p in points if "plain_estimate_s" in p}:
            style = {"color": ORANGE, "markerfacecolor": "none", "label": ESTIMATED}
            times.plot(list(estimates), list(estimates.values()), "o", **style)
        handles, labels = times.get_legend_handles_labels()
        shown |= dict(zip(labels, handles))
    rows[0][1].set_ylim(0, None)  # of the whole column, now that all is drawn
    rows[0][0].set_title("seconds of a step", fontsize=SMALLEST)
    rows[0][1].set_title("peak memory, GB", fontsize=SMALLEST)
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=2, frameon=False)
    panels = "; ".join(in_words(axis, points) for axis, points in growth.items())
    words = "Seconds of a GRPO step, plain, with a shared prefix, and the counted limit, and peak "
    return figure, f"{words}memory of both, {panels}."


def draw_lines(panel, axis: str, points: list[dict], lines: dict, *, unit: float = 1) -> None:
    """A line for each figure of the points, in a unit of its own, with gaps for what wasn't run."""
    sizes = [point[axis] for point in points]
    for key, (label, colour, style, marker) in lines.items():
        values = [of_point(point, key) / unit for point in points]
        panel.plot(sizes, values, style, marker=marker, markersize=5, color=colour, label=label)
    panel.set(xscale="log", xticks=sizes, xlabel=NAMES[axis])
    as_numbers(panel.xaxis)


def as_numbers(scale) -> None:
    """The ticks of a logarithmic scale as plain numbers."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_locator(NullLocator())


def of_point(point: dict, key: str) -> float:
    """A figure of a point, NaN (a gap) if it wasn't run."""
    value = point.get(key)
    return math.nan if value is None else value


def in_words(axis: str, points: list[dict]) -> str:
    """One row as text: each size with its times and its memory."""
    return f"by {NAMES[axis]} {', '.join(point_in_words(axis, point) for point in points)}"


def point_in_words(axis: str, point: dict) -> str:
    """A point as text."""
    times = [seconds(point, key) for key in TIMES]
    memory = [gigabytes(point, key) for key in MEMORY]
    return f"{point[axis]:g}: {times[0]}, {times[1]} and {times[2]} s, {' and '.join(memory)} GB"


def seconds(point: dict, key: str) -> str:
    """Seconds of a point; an estimate for a plain step that wasn't run."""
    value = point.get(key)
    if value is not None:
        return f"{value:.2f}" if value < 1 else f"{value:.1f}"
    estimate = point.get("plain_estimate_s") if key == "plain_s" else None
    return "not run" if estimate is None else f"not run (about {estimate:.0f})"


def gigabytes(point: dict, key: str) -> str:
    value = point.get(key)
    return "not run" if value is None else f"{value / 1000:.1f}"
