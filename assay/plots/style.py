"""One look for all charts, drawn without pyplot and to the same bytes every time.

Belongs here: colours, sizes, and how a figure becomes a PNG or an SVG. Does not belong here: a chart.
"""

import io
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

MAX_BYTES = 100_000
"""Largest PNG put into metadata; beyond this the UI becomes slow."""
DPI = 100
INK = "#1F2933"
FAINT = "#52606D"
GRID = "#E4E7EB"
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
"""Colours that colour-blind readers can tell apart (Okabe and Ito, Color Universal Design, 2008)."""

SUBSET_COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}

LOOK: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titlepad": 8,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.color": GRID,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelsize": 10,
    "ytick.color": FAINT,
    "ytick.labelsize": 10,
}

_DRAWING = threading.Lock()
"""matplotlib's settings are global; one figure at a time has ours."""


Draw = Callable[[Figure], None]
"""Puts charts into an empty figure."""


def render(width_px: int, height_px: int, draw: Draw) -> bytes:
    """Return the PNG of a figure: the same bytes for the same drawing, whatever the user's matplotlib settings."""
    with _our_figure(width_px, height_px) as figure:
        draw(figure)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return _small_png(image)


def render_svg(width_px: int, height_px: int, draw: Draw) -> str:
    """Return the SVG of a figure, its texts as text; equal drawings give equal SVG."""
    content = io.StringIO()
    with _our_figure(width_px, height_px) as figure:
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "assay"})
        draw(figure)
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(content, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return content.getvalue()


@contextmanager
def _our_figure(width_px: int, height_px: int) -> Iterator[Figure]:
    with _DRAWING, mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(LOOK)
        yield Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, layout="constrained")


def _small_png(image: Image.Image) -> bytes:
    """Return a PNG that is at most as large as the UI likes; charts have few colours, so that fewer hardly show."""
    content = _png(image)
    for colours in (256, 64, 16):
        if len(content) <= MAX_BYTES:
            break
        content = _png(image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    return content


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def subset_colour(subset: str, all_subsets: Iterable[str]) -> str:
    """Return the colour of a subset, the same in every chart; names that are not standard take the spare colours."""
    if subset in SUBSET_COLOURS:
        return SUBSET_COLOURS[subset]
    others = [name for name in all_subsets if name not in SUBSET_COLOURS]
    spare = (PURPLE, VERMILLION, SKY)
    return spare[others.index(subset) % len(spare)]


def literal(text: str) -> str:
    """Return text in which matplotlib finds no formulas."""
    return text.replace("$", r"\$")


def short(name: str, limit: int = 18) -> str:
    """Return a name that fits beside an axis."""
    return literal(name if len(name) <= limit else f"{name[: limit - 1]}…")


def headline(axes: Axes, title: str, subtitle: str = "") -> None:
    """Put a bold title above a chart, and below it one line that says how to read it."""
    axes.set_title(literal(title), fontweight="bold", pad=26 if subtitle else 8)
    if subtitle:
        axes.annotate(
            literal(subtitle),
            (0, 1),
            xytext=(0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            color=FAINT,
            fontsize=10,
        )
