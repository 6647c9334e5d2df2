"""Pictures with their words: matplotlib's figures, and the drawings of `assets/figures`.

Both are transparent, and their lines and words have a grey that can be read on white and on black:
a notebook doesn't know whether its reader's page is light or dark. A figure of `report.WIDTH`
inches fills a phone. A wide page shows it at SHOWN pixels an inch; it has twice as many, so that
its words are sharp. Few colours keep its file small.
"""

import base64
import html
import io
from xml.etree import ElementTree

from matplotlib.artist import Artist
from matplotlib.colors import same_color
from matplotlib.text import Text
from PIL import Image

from ..profiles import ASSETS
from ..runs.report import SMALLEST

READABLE = "#777777"  # a contrast above 4 to white and to the dark pages of Jupyter and the site
SHOWN = 110  # pixels an inch, on a wide page
COLOURS = 64  # of a picture, its degrees of transparency included
DRAWINGS = ASSETS / "figures"
SVG = "{http://www.w3.org/2000/svg}"


class Picture:
    """An image with its description, both as alternative text and as words under the image."""

    def __init__(self, image: bytes, alt: str, *, kind: str = "png", size: tuple | None = None):
        self.image = base64.b64encode(image).decode()
        self.alt = alt
        self.kind = kind  # the second part of its media type
        self.size = size  # width and height on a wide page, pixels

    def _repr_mimebundle_(self, **_):
        alt = html.escape(self.alt, quote=True)
        size = 'width="{}" height="{}" '.format(*self.size) if self.size else ""
        figure = (
            f'<figure style="margin:0.5em 0"><img alt="{alt}" {size}'
            f'style="max-width:100%; height:auto" '
            f'src="data:image/{self.kind};base64,{self.image}">'
            f"<figcaption><details><summary><small>In words</small></summary>"
            f"<small>In words: {alt}</small></details></figcaption></figure>"
        )
        return {"text/html": figure, "text/plain": f"Picture: {self.alt}"}


def picture(figure, alt: str) -> Picture:
    """A matplotlib figure as a picture, with `alt` as its alternative text and under it."""
    image = png(figure)
    width, height = Image.open(io.BytesIO(image)).size
    return Picture(image, alt, size=(width // 2, height // 2))


def png(figure) -> bytes:
    """A figure without a background, readable on white and on black, at twice SHOWN."""
    for artist in figure.findobj():
        make_readable(artist)
    for words in figure.findobj(Text):
        words.set_fontsize(max(words.get_fontsize(), SMALLEST))
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(which="both", colors=READABLE)
    for legend in figure.findobj(lambda artist: hasattr(artist, "get_frame")):
        legend.get_frame().set_alpha(0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * SHOWN, bbox_inches="tight", pad_inches=0.02)
    few = Image.open(buffer).quantize(
        COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    small = io.BytesIO()
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def make_readable(artist: Artist) -> None:
    """Turns what is black, as matplotlib draws by default, into the grey `READABLE`."""
    for name in ("color", "edgecolor"):
        get, change = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
        if get and change and is_black(get()):
            change(READABLE)


def is_black(colour) -> bool:
    """Whether a colour of matplotlib, or the only one of a collection, is opaque black."""
    if hasattr(colour, "shape") and len(getattr(colour, "shape", ())) == 2:
        if len(colour) != 1:
            return False
        colour = tuple(colour[0])
    try:
        return same_color(colour, "black")
    except ValueError:  # "auto", or a list of several colours
        return False


def drawing(name: str) -> Picture:
    """A drawing of `assets/figures`; its words are the SVG's own description.

    Raises ValueError if there is no such drawing.
    """
    path = DRAWINGS / f"{name}.svg"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in DRAWINGS.glob("*.svg")))
        raise ValueError(f"there is no drawing {name!r}; there are {names}")
    image = path.read_bytes()
    words = ElementTree.fromstring(image).findtext(f"{SVG}desc")
    return Picture(image, words, kind="svg+xml")
