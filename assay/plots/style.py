"""The common style of all matplotlib plots, which are drawn without pyplot and have the same bytes every time.

Belongs here: settings, headlines, and how a figure becomes a PNG or an SVG. Does not belong here: colours
(``assay.plots.common``), a plot.
"""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from assay.plots.common import FAINT, GRID, INK
from assay.plots.sheets import MAX_PNG_BYTES, encode_sheet

DPI = 100

SETTINGS: Any = {
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
"""matplotlib's settings are global, so that only one figure is drawn at a time."""

Draw = Callable[[Figure], None]
"""Draws into an empty figure."""


def render(width_px: int, height_px: int, draw: Draw) -> bytes:
    """Return the PNG of a figure; equal drawings give equal bytes, whatever matplotlib settings the user has."""
    with _our_figure(width_px, height_px) as figure:
        draw(figure)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return _small_png(image)


def render_svg(width_px: int, height_px: int, draw: Draw) -> str:
    """Return the SVG of a figure, with text as text; equal drawings give equal SVG."""
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
        mpl.rcParams.update(SETTINGS)
        yield Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, layout="constrained")


def _small_png(image: Image.Image) -> bytes:
    """Return a PNG with as many colours as ``MAX_PNG_BYTES`` allows; plots have few colours anyway."""
    content = encode_sheet(image)
    for colours in (256, 64, 16):
        if len(content) <= MAX_PNG_BYTES:
            break
        content = encode_sheet(image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    return content


def literal(text: str) -> str:
    """Return text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def short(name: str, limit: int = 18) -> str:
    """Return a name that fits beside an axis."""
    return literal(name if len(name) <= limit else f"{name[: limit - 1]}…")


def headline(axes: Axes, title: str, subtitle: str = "") -> None:
    """Put a bold title above a plot, and below the title one line that says how to read it."""
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
