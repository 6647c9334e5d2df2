"""Pictures with their words: matplotlib's figures, and the drawings of `assets/figures`.

Both are transparent, and their lines and words have a grey that can be read on white and on black:
a notebook doesn't know whether its reader's page is light or dark.
"""

import base64
import html
import io
from xml.etree import ElementTree

from matplotlib.artist import Artist
from matplotlib.colors import same_color

from ..profiles import ASSETS

READABLE = "#777777"  # a contrast above 4 to white and to the dark pages of Jupyter and the site
DRAWINGS = ASSETS / "figures"
SVG = "{http://www.w3.org/2000/svg}"


class Picture:
    """An image with its description, both as alternative text and as words under the image."""

    def __init__(self, image: bytes, alt: str, *, kind: str = "png"):
        self.image = base64.b64encode(image).decode()
        self.alt = alt
        self.kind = kind  # the second part of its media type

    def _repr_mimebundle_(self, **_):
        alt = html.escape(self.alt, quote=True)
        figure = (
            f'<figure style="margin:0.5em 0"><img alt="{alt}" style="max-width:100%; height:auto" '
            f'src="data:image/{self.kind};base64,{self.image}">'
            f"<figcaption><details><summary><small>In words</small></summary>"
            f"<small>In words: {alt}</small></details></figcaption></figure>"
        )
        return {"text/html": figure, "text/plain": f"Picture: {self.alt}"}


def picture(figure, alt: str, *, dpi: int = 110) -> Picture:
    """A matplotlib figure as a picture, with `alt` as its alternative text and under it."""
    for artist in figure.findobj():
        make_readable(artist)
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(which="both", colors=READABLE)
    for legend in figure.findobj(lambda artist: hasattr(artist, "get_frame")):
        legend.get_frame().set_alpha(0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return Picture(buffer.getvalue(), alt)


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
