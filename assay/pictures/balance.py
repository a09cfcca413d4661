"""Picture of how often each class occurs in each subset."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from assay.natural import natural_key
from assay.plots.style import headline, literal, render, short, subset_colour

MOST_BARS = 60


def class_balance(counts: pl.DataFrame) -> bytes:
    """Draw each class's share of each subset; equal heights mean an equal mix, whatever the subsets' sizes.

    Args:
        counts: Columns subset, label, count; one row per pair that occurs.
    """
    totals = counts.group_by("subset", maintain_order=True).agg(pl.sum("count"))
    subsets = totals["subset"].to_list()
    frequent = counts.group_by("label").agg(pl.sum("count")).sort("count", "label", descending=[True, False])
    labels = sorted(frequent["label"].head(MOST_BARS).to_list(), key=natural_key)
    left_out = len(frequent) - len(labels)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.84 / len(subsets)
        for index, (subset, total) in enumerate(totals.iter_rows()):
            rows = dict(counts.filter(pl.col("subset") == subset).select("label", "count").iter_rows())
            shares = [100 * rows.get(label, 0) / total for label in labels]
            places = np.arange(len(labels)) + (index - (len(subsets) - 1) / 2) * width
            colour = subset_colour(subset, subsets)
            axes.bar(places, shares, width=width * 0.94, color=colour, label=literal(f"{subset}: {total:,}"))
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
