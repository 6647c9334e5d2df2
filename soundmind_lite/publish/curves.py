"""The training curves that README and the home page show, from the shipped run of seed 0.

`python -m soundmind_lite.publish.curves` writes them to `assets/figures`: three panels in a row for
a wide page, and stacked for a phone. Both are transparent, for light and dark pages.
"""

from ..course import pictures
from ..profiles import ASSETS
from ..runs import report

METRICS = ASSETS / "runs" / "all_seed0" / "metrics.jsonl"
# File: columns of panels, size in inches. As wide as the text of a wide page, where words of 10
# points are 11 px high.
FILES = {
    "tiny_seed0_curves.png": (3, (8.4, 4)),
    "tiny_seed0_curves_stacked.png": (1, (report.WIDTH, 9)),
}


def main() -> None:
    metrics = report.read_lines(METRICS)
    for name, (columns, inches) in FILES.items():
        figure = report.draw(metrics, columns=columns)
        figure.set_size_inches(inches)
        image = pictures.png(figure)
        (ASSETS / "figures" / name).write_bytes(image)
        print(f"{name}: {len(image) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
