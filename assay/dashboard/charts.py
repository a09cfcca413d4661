"""Charts of the dashboard, by Altair: curves over the epochs, and a metric against what was varied.

Belongs here: from panels to charts. Does not belong here: which curves and points there are
(``assay.comparison.figures``).
"""

from collections.abc import Sequence
from typing import TypeAlias

import altair as alt
import polars as pl

from assay.dashboard.filters import FEW, is_number
from assay.metrics.registry import label_of
from assay.plots.comparison import COLOURS, GREY, LOG_SPAN, WIDE_SPAN, Curve, Panel, Point
from assay.plots.style import subset_colour

Chart: TypeAlias = alt.LayerChart | alt.FacetChart

HEIGHT_PX = 360
"""Height of a chart with its axes and legend; its width is its column's."""

Y_AXIS = alt.Axis(format="~g", tickCount=5, gridColor="#EEF1F4")
EPOCH = alt.X("epoch:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1), scale=alt.Scale(nice=False))


def history_charts(history: pl.DataFrame) -> dict[str, Chart]:
    """Return one chart per metric of one experiment's training, with a line per subset, by its title."""
    names = history["metric"].unique(maintain_order=True).to_list()
    return {label_of(name): _history_chart(history.filter(metric=name), name) for name in names}


def _history_chart(rows: pl.DataFrame, name: str) -> Chart:
    subsets = rows["subset"].unique(maintain_order=True).to_list()
    scale = alt.Scale(domain=subsets, range=[subset_colour(subset, subsets) for subset in subsets])
    legend = alt.Legend(orient="bottom", title=None) if len(subsets) > 1 else None
    return _lines(rows, alt.Color("subset:N", scale=scale, legend=legend), label_of(name), "subset")


def curve_chart(panel: Panel, names: Sequence[str]) -> Chart:
    """Return the curves of several experiments as one chart.

    Args:
        panel: Curves by the experiment's place.
        names: The experiments, best first.
    """
    curves = [curve for curve in panel.content if isinstance(curve, Curve)]
    parts = [
        pl.DataFrame({"epoch": curve.epochs, "value": curve.values}).with_columns(experiment=pl.lit(names[curve.place]))
        for curve in curves
    ]
    return _lines(pl.concat(parts), _colour_of_experiments(names), panel.title, "experiment")


def _lines(rows: pl.DataFrame, colour: alt.Color, title: str, of: str) -> Chart:
    """Return lines that light up, with all values of an epoch, where the pointer is."""
    y = alt.Y(
        "value:Q", title=title, scale=_scale(rows["value"].to_list(), LOG_SPAN), axis=alt.Axis(format="~g", tickCount=6)
    )
    tips = [alt.Tooltip("epoch:Q"), alt.Tooltip(f"{of}:N"), alt.Tooltip("value:Q", title=title, format=".4g")]
    near = alt.selection_point(nearest=True, on="pointerover", fields=["epoch"], empty=False, clear="pointerout")
    base = alt.Chart(rows).encode(x=EPOCH, y=y, color=colour)
    dots = base.mark_point(filled=True, size=70).encode(
        opacity=alt.condition(near, alt.value(1), alt.value(1 if rows["epoch"].n_unique() == 1 else 0)), tooltip=tips
    )
    return alt.layer(base.mark_line(strokeWidth=2), dots.add_params(near)).properties(height=HEIGHT_PX)


def key_chart(panel: Panel, names: Sequence[str], metric: str) -> Chart:
    """Return a metric, with its intervals, against the values of one key.

    Args:
        panel: Points by the experiment's place; its title says which key.
        names: The experiments, best first.
        metric: What the metric is called.
    """
    points = [point for point in panel.content if isinstance(point, Point)]
    numeric = all(is_number(point.x) for point in points)
    rows = pl.DataFrame(
        {
            "x": [float(point.x) if numeric else str(point.x) for point in points],
            "value": [point.value for point in points],
            "low": [point.low for point in points],
            "high": [point.high for point in points],
            "experiment": [names[point.place] for point in points],
        }
    )
    key = panel.title.removeprefix(f"{metric} by ")
    x = alt.X("x:N", title=key, axis=alt.Axis(labelAngle=0))
    if numeric:
        values = rows["x"].unique().sort().to_list()
        ticks = alt.Axis(format="~g", values=values if len(values) <= FEW else alt.Undefined)
        x = alt.X("x:Q", title=key, scale=_scale(values, WIDE_SPAN), axis=ticks)
    base = alt.Chart(rows).encode(x=x, color=_colour_of_experiments(names))
    tips = [alt.Tooltip(f"{name}", format=".4g") for name in ("value", "low", "high")]
    intervals = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        y=alt.Y("low:Q", title=metric, scale=alt.Scale(zero=False, padding=12), axis=Y_AXIS), y2="high:Q"
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y="value:Q", tooltip=[alt.Tooltip("experiment:N"), alt.Tooltip("x", title=key), *tips]
    )
    return alt.layer(intervals, dots).properties(height=HEIGHT_PX)


def _colour_of_experiments(names: Sequence[str]) -> alt.Color:
    """Return a colour for each of the best, and grey for those beyond; the legend names the best."""
    colours = [COLOURS[place] if place < len(COLOURS) else GREY for place in range(len(names))]
    shown = list(names[: len(COLOURS)])
    legend = alt.Legend(orient="bottom", columns=3, title=None, values=shown, symbolOpacity=1)
    return alt.Color("experiment:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)


def _scale(values: Sequence[float | None], span: float) -> alt.Scale:
    """Return a scale that does not begin at zero, and a logarithmic one where it shows more."""
    known = [value for value in values if value is not None]
    if known and min(known) > 0 and max(known) / min(known) > span:
        return alt.Scale(type="log", nice=False, padding=12)
    return alt.Scale(type="linear", zero=False, nice=False, padding=12)
