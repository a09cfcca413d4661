"""The dashboard's charts, made by Altair: curves over the epochs, and a metric against a key that was varied.

Belongs here: turning panels into charts. Does not belong here: which curves and points there are
(``assay.comparison.figures``).
"""

from collections.abc import Sequence
from typing import TypeAlias

import altair as alt
import polars as pl

from assay.dashboard.filters import MAX_CHOICES, is_number
from assay.metrics.registry import label_of
from assay.plots.common import (
    EXPERIMENT_COLOURS,
    GREY,
    LOG_SPAN,
    WIDE_SPAN,
    Curve,
    Panel,
    ParallelPlot,
    Point,
    subset_colour,
    value_ratio,
)

Chart: TypeAlias = alt.LayerChart | alt.FacetChart

HEIGHT_PX = 360
"""Height of a chart with its axes and legend; it is as wide as its column."""

Y_AXIS = alt.Axis(format="~g", tickCount=5, gridColor="#EEF1F4")
EPOCH = alt.X("epoch:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1), scale=alt.Scale(nice=False))


def history_charts(history: pl.DataFrame) -> dict[str, Chart]:
    """Return one chart per metric of an experiment's training, with a line per subset, by the metric's label."""
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
        panel: Its curves.
        names: The experiments by rank, best first.
    """
    curves = [curve for curve in panel.content if isinstance(curve, Curve)]
    parts = [
        pl.DataFrame({"epoch": curve.epochs, "value": curve.values}).with_columns(experiment=pl.lit(names[curve.rank]))
        for curve in curves
    ]
    return _lines(pl.concat(parts), _experiment_colours(names), panel.title, "experiment")


def _lines(rows: pl.DataFrame, colour: alt.Color, title: str, of: str) -> Chart:
    """Return lines; all values of the epoch under the pointer are highlighted and shown.

    Args:
        rows: Columns epoch, value and that named by ``of``.
        colour: Colours of the lines.
        title: Title of the y-axis.
        of: The column that tells the lines apart.
    """
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
        panel: Its points; its title is ``<metric> by <key>``.
        names: The experiments by rank, best first.
        metric: Label of the metric.
    """
    points = [point for point in panel.content if isinstance(point, Point)]
    numeric = all(is_number(point.x) for point in points)
    rows = pl.DataFrame(
        {
            "x": [float(point.x) if numeric else str(point.x) for point in points],
            "value": [point.value for point in points],
            "low": [point.low for point in points],
            "high": [point.high for point in points],
            "experiment": [names[point.rank] for point in points],
        }
    )
    key = panel.title.removeprefix(f"{metric} by ")
    x = alt.X("x:N", title=key, axis=alt.Axis(labelAngle=0))
    if numeric:
        values = rows["x"].unique().sort().to_list()
        ticks = alt.Axis(format="~g", values=values if len(values) <= MAX_CHOICES else alt.Undefined)
        x = alt.X("x:Q", title=key, scale=_scale(values, WIDE_SPAN), axis=ticks)
    base = alt.Chart(rows).encode(x=x, color=_experiment_colours(names))
    tips = [alt.Tooltip(f"{name}", format=".4g") for name in ("value", "low", "high")]
    intervals = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        y=alt.Y("low:Q", title=metric, scale=alt.Scale(zero=False, padding=12), axis=Y_AXIS), y2="high:Q"
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y="value:Q", tooltip=[alt.Tooltip("experiment:N"), alt.Tooltip("x", title=key), *tips]
    )
    return alt.layer(intervals, dots).properties(height=HEIGHT_PX)


def parallel_chart(plot: ParallelPlot, names: Sequence[str]) -> Chart:
    """Return experiments as lines across parallel axes; those that were ended early are dashed.

    Args:
        plot: The axes and lines.
        names: The experiments by rank, best first.
    """
    titles = [axis.name for axis in plot.axes]
    rows = pl.DataFrame(
        [
            {"axis": title, "place": place, "experiment": names[line.rank], "ended early": line.is_partial}
            for line in plot.lines
            for title, place in zip(titles, line.places, strict=True)
        ]
    )
    ticks = pl.DataFrame(
        [{"axis": axis.name, "place": place, "label": label} for axis in plot.axes for place, label in axis.ticks]
    )
    x = alt.X("axis:N", sort=titles, title=None, axis=alt.Axis(labelAngle=0, domain=False, ticks=False))
    y = alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.05, 1.05]))
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2, opacity=0.7)
        .encode(
            x=x,
            y=y,
            color=_experiment_colours(names),
            detail="experiment:N",
            strokeDash=alt.StrokeDash(
                "ended early:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [5, 4]]), legend=None
            ),
            tooltip=[alt.Tooltip("experiment:N")],
        )
    )
    labels = alt.Chart(ticks).mark_text(align="left", dx=5, fontSize=11).encode(x=x, y=y, text="label:N")
    rules = alt.Chart(ticks).mark_rule(color=GREY).encode(x=x)
    return alt.layer(rules, lines, labels).properties(height=HEIGHT_PX)


def _experiment_colours(names: Sequence[str]) -> alt.Color:
    """Return a colour for each of the best experiments and grey for the others; the legend only names the best."""
    colours = [EXPERIMENT_COLOURS[rank] if rank < len(EXPERIMENT_COLOURS) else GREY for rank in range(len(names))]
    shown = list(names[: len(EXPERIMENT_COLOURS)])
    legend = alt.Legend(orient="bottom", columns=3, title=None, values=shown, symbolOpacity=1)
    return alt.Color("experiment:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)


def _scale(values: Sequence[float | None], span: float) -> alt.Scale:
    """Return a scale that need not start at zero; a logarithmic one where the values span more than ``span``."""
    if value_ratio(value for value in values if value is not None) > span:
        return alt.Scale(type="log", nice=False, padding=12)
    return alt.Scale(type="linear", zero=False, nice=False, padding=12)
