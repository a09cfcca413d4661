"""Plots of classes: confusion, metrics per class, calibration, threshold curves, and shares of the subsets."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from assay.metrics.registry import label_of
from assay.plots.common import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION, subset_colour
from assay.plots.style import headline, literal, render, short
from assay.utils.text import natural_sort_key, pluralize

MAX_CELL_TEXTS = 20
"""Number of classes up to which the counts are written into the cells of a confusion matrix."""

MAX_AXIS_NAMES = 60
"""Number of classes up to which all names stand beside the axes; of more, every second, third, …"""

MAX_SCORED_CLASSES = 40
"""Classes in the plot of metrics per class."""

MAX_BARS = 60
"""Classes in the plot of their shares."""

CORRECT_MAP = LinearSegmentedColormap.from_list("right", ["#FFFFFF", "#A9CFE6", BLUE])

MISTAKE_MAP = LinearSegmentedColormap.from_list("wrong", ["#FFFFFF", "#F6C9A8", VERMILLION])

MARKERS = {
    "f1": ("o", BLUE),
    "iou": ("o", BLUE),
    "ap50_95": ("o", BLUE),
    "precision": (">", ORANGE),
    "recall": ("<", GREEN),
    "average_precision": ("D", PURPLE),
    "dice": ("D", PURPLE),
    "ap50": ("D", PURPLE),
}
"""Marker and colour of each metric with one value per class."""

SPARE_MARKERS = (("s", VERMILLION), ("^", SKY))
"""Those of other metrics."""

WORST_COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE)
"""Curves of the classes with the lowest best F1; the other curves are grey."""

OTHERS = "#B8C2CC"

ALL_CLASSES = "all together"
"""Label of the curve over all classes."""


def confusion_matrix(
    matrix: NDArray[np.int64], names: Sequence[str], title: str = "Confusion matrix", *, as_shares: bool = False
) -> bytes:
    """Draw how often each true class was predicted as each class.

    Correct predictions and mistakes have different colours, shaded by their share of the row: in a single colour the
    mistakes of a good model could not be seen.

    Args:
        matrix: (k, k) counts; rows are true classes.
        names: The k classes.
        title: Headline.
        as_shares: Write percentages of the row instead of counts, which are too long for pixels.
    """
    count = len(names)
    side = int(np.clip(300 + 40 * count, 480, 800))
    sums = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.imshow(_cell_colours(shares), interpolation="nearest")
        _name_classes(axes, names)
        if count <= MAX_CELL_TEXTS:
            _write_cells(axes, _percentages(shares) if as_shares else matrix.astype(str), shares)
        headline(
            axes, title, "Blue: right. Orange: mistakes. Shade: share of the row." + " Numbers: per cent." * as_shares
        )

    return render(side + 40, side, draw)


def _cell_colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colours (k, k, 3); mistakes are shaded by the cube root of their share, so that rare ones can be seen."""
    correct, mistakes = CORRECT_MAP(shares)[..., :3], MISTAKE_MAP(np.cbrt(shares))[..., :3]
    on_diagonal = np.eye(len(shares), dtype=bool)[..., None]
    colours: NDArray[np.float64] = np.where(on_diagonal, correct, mistakes)
    return colours


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    count = len(names)
    ticks = range(0, count, -(-count // MAX_AXIS_NAMES))
    labels = [short(names[tick]) for tick in ticks]
    size = float(np.clip(300 / len(ticks), 6.5, 11))
    crowded = max(map(len, labels)) * size * len(ticks) > 650
    axes.set_xticks(ticks, labels, rotation=90 if crowded else 0, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)


def _percentages(shares: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return shares as whole percentages; empty where they round to 0."""
    return np.where(shares >= 0.005, np.char.mod("%.0f", 100 * shares), "")


def _write_cells(axes: Axes, texts: NDArray[np.str_], shares: NDArray[np.float64]) -> None:
    size = float(np.clip(130 / len(texts), 8, 15))
    for row, column in np.argwhere(shares > 0):
        dark = shares[row, column] > (0.6 if row == column else 0.35)
        colour = "white" if dark else INK
        axes.text(column, row, str(texts[row, column]), ha="center", va="center", color=colour, fontsize=size)


def class_scores(rows: pl.DataFrame, title: str) -> bytes:
    """Draw one line per class, lowest values first, with one marker per metric.

    Args:
        rows: Columns class, metric, value, ci_low, ci_high, count, of one subset; null values are left out. F1, or
            else the first metric, orders the classes and shows its interval.
        title: Headline.
    """
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    leading = "f1" if "f1" in metrics else metrics[0]
    leaders = rows.filter(pl.col("metric") == leading).sort("value", "class", nulls_last=True).head(MAX_SCORED_CLASSES)
    classes = leaders["class"].to_list()

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for y, row in enumerate(leaders.iter_rows(named=True)):
            if row["ci_low"] is not None:
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=BLUE, linewidth=6, alpha=0.25)
        spare = iter(SPARE_MARKERS * len(metrics))
        for metric in metrics:
            marker, colour = MARKERS[metric] if metric in MARKERS else next(spare)
            _draw_markers(axes, rows.filter(pl.col("metric") == metric), classes, marker, colour)
        _label_classes(axes, leaders, classes)
        figure.legend(loc="outside lower center", ncols=len(metrics))
        left_out = rows["class"].n_unique() - len(classes)
        more = f" {pluralize(left_out, 'better class is', 'better classes are')} left out." if left_out else ""
        headline(axes, title, f"Bar: interval of {label_of(leading)}. Right: how many of the class there are.{more}")

    return render(760, 120 + 26 * len(classes), draw)


def _draw_markers(axes: Axes, rows: pl.DataFrame, classes: list[str], marker: str, colour: str) -> None:
    values = dict(rows.filter(pl.col("value").is_not_null()).select("class", "value").iter_rows())
    shown = [(values[name], y) for y, name in enumerate(classes) if name in values]
    (metric,) = rows["metric"].unique()
    xs, ys = [value for value, _ in shown], [y for _, y in shown]
    label = literal(label_of(metric))
    axes.plot(xs, ys, marker=marker, color=colour, linestyle="none", alpha=0.85, label=label)


def _label_classes(axes: Axes, leaders: pl.DataFrame, classes: list[str]) -> None:
    axes.set_yticks(range(len(classes)), [short(name) for name in classes])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    low = min(axes.get_xlim()[0], 0.98)
    axes.set_xlim(max(0.0, low), 1.0 + 0.02 * (1.0 - max(0.0, low)))
    axes.tick_params(length=0)
    for y, count in enumerate(leaders["count"]):
        axes.annotate(f"{count:,}", (1.01, y), xycoords=("axes fraction", "data"), va="center", color=FAINT)


def reliability(table: pl.DataFrame, title: str = "Calibration") -> bytes:
    """Draw the accuracy of each bin of confidence, above the number of items in each bin.

    Args:
        table: Columns confidence_low, confidence_high, count, mean_confidence, accuracy.
        title: Headline.
    """

    def draw(figure: Figure) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        left = table["confidence_low"].to_numpy()
        width = (table["confidence_high"] - table["confidence_low"]).to_numpy()
        axes.bar(left, table["accuracy"], width=width, align="edge", color=BLUE, edgecolor="white", linewidth=0.8)
        _draw_gaps(axes, table)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle="--")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        headline(axes, title, "Bars on the dashed line: a confidence of 0.8 is right in 80%. Orange: the gap.")
        below.bar(left, table["count"], width=width, align="edge", color=FAINT, edgecolor="white", linewidth=0.8)
        below.set_xlabel("confidence")
        below.set_ylabel("items")

    return render(620, 560, draw)


def _draw_gaps(axes: Axes, table: pl.DataFrame) -> None:
    for row in table.iter_rows(named=True):
        middle = (row["confidence_low"] + row["confidence_high"]) / 2
        axes.plot(
            [middle, middle],
            [row["accuracy"], row["mean_confidence"]],
            color=VERMILLION,
            linewidth=3,
            solid_capstyle="butt",
        )


def draw_threshold_curves(curves: pl.DataFrame, title: str, chosen: float | None = None) -> bytes:
    """Draw precision over recall and F1 over the threshold, with one curve per class; the worst classes are in colour.

    Args:
        curves: Columns class, threshold, precision, recall, f1, of one subset; nulls are left out. The curve with
            an empty class, over all classes, is black.
        title: Headline.
        chosen: The threshold in use, marked by a line.
    """
    overall, curves = curves.filter(pl.col("class") == ""), curves.filter(pl.col("class") != "")
    best = curves.group_by("class", maintain_order=True).agg(pl.col("f1").max()).sort("f1", "class", nulls_last=True)
    colours = dict(zip(best["class"], WORST_COLOURS, strict=False))
    ordered = [*best["class"].to_list()[len(WORST_COLOURS) :], *reversed(colours)]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for name in ordered:
            rows = curves.filter(pl.col("class") == name)
            colour, label = colours.get(name, OTHERS), short(name) if name in colours else None
            _draw_curve(left, rows, "recall", "precision", colour, label)
            _draw_curve(right, rows, "threshold", "f1", colour, None)
        if len(overall):
            _draw_curve(left, overall, "recall", "precision", INK, ALL_CLASSES)
            _draw_curve(right, overall, "threshold", "f1", INK, None)
        if chosen is not None:
            right.axvline(chosen, color=INK, linewidth=1, linestyle="--")
        headline(left, title, "In colour: the classes with the lowest best F1.")
        headline(right, "F1 at each threshold", f"Dashed: {chosen:.2f}, in use." if chosen is not None else "")
        left.set(xlabel="recall", ylabel="precision")
        right.set(xlabel="threshold", ylabel="F1")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels))

    return render(840, 420, draw)


def _draw_curve(axes: Axes, rows: pl.DataFrame, across: str, up: str, colour: str, label: str | None) -> None:
    shown = rows.select(across, up).drop_nulls()
    width = 1.2 if colour == OTHERS else 2
    axes.plot(shown[across], shown[up], color=colour, linewidth=width, label=label)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)


def class_balance(counts: pl.DataFrame) -> bytes:
    """Draw the share of each class in each subset, so that subsets of different sizes can be compared.

    Args:
        counts: Columns subset, label, count; one row per pair that occurs.
    """
    totals = counts.group_by("subset", maintain_order=True).agg(pl.sum("count"))
    subsets = totals["subset"].to_list()
    frequent = counts.group_by("label").agg(pl.sum("count")).sort("count", "label", descending=[True, False])
    labels = sorted(frequent["label"].head(MAX_BARS).to_list(), key=natural_sort_key)
    left_out = len(frequent) - len(labels)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.84 / len(subsets)
        for index, (subset, total) in enumerate(totals.iter_rows()):
            rows = dict(counts.filter(pl.col("subset") == subset).select("label", "count").iter_rows())
            shares = [100 * rows.get(label, 0) / total for label in labels]
            xs = np.arange(len(labels)) + (index - (len(subsets) - 1) / 2) * width
            colour = subset_colour(subset, subsets)
            axes.bar(xs, shares, width=width * 0.94, color=colour, label=literal(f"{subset}: {total:,}"))
        size = float(np.clip(420 / len(labels), 7, 11))
        names = [short(label) for label in labels]
        crowded = max(map(len, names)) * size * len(names) > 850
        axes.set_xticks(range(len(names)), names, rotation=90 if crowded else 0, fontsize=size)
        axes.set_ylabel("share of the subset (%)")
        axes.grid(False, axis="x")
        axes.margins(x=0.01)
        figure.legend(loc="outside lower center", ncols=len(subsets))
        headline(axes, "Classes per subset", f"The {len(labels)} most frequent of {len(frequent)}." * bool(left_out))

    return render(800, 420, draw)
