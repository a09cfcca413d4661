"""The page that compares chosen experiments: a table, best first, with the keys that differ, and curves."""

from collections.abc import Iterable, Sequence

import polars as pl
import streamlit as st

from assay.comparison.figures import cost_panels, curve_panels, key_importances, key_panels, parallel_plot
from assay.comparison.ranking import Ranking
from assay.comparison.terminal import importance_sentence, note_on_items, title, verdict_on_best
from assay.dashboard.charts import Chart, curve_chart, key_chart, parallel_chart
from assay.dashboard.data import Experiment, load_history
from assay.dashboard.overview import overview_columns, rankings, subsets_of
from assay.dashboard.views.common import MAX_COMPARED, all_experiments, plain, warn_about_ids
from assay.dashboard.views.table import experiment_table
from assay.experiments.workspace import storage_root
from assay.metrics.registry import label_of

CHARTS_PER_ROW = 2


def show() -> None:
    """Show the page."""
    experiments = all_experiments()
    warn_about_ids("ids", experiments)
    st.title("Compare")
    ids = st.multiselect(
        "Experiments",
        [each.experiment_id for each in experiments],
        key="ids",
        bind="query-params",
        max_selections=MAX_COMPARED,
        placeholder="Choose at least two, here or on the overview",
    )
    if len(ids) < 2:
        st.info("Choose at least two experiments, here or on the overview.", icon=":material/stacked_line_chart:")
        return
    chosen = [each for each in experiments if each.experiment_id in ids]
    subset, metric = _enter_metric(chosen)
    history = load_history(storage_root(), ids)
    for ranking in rankings(chosen, subset, metric):
        _show_ranking(ranking, {each.experiment_id: each for each in chosen}, subset, history)


def _enter_metric(experiments: Sequence[Experiment]) -> tuple[str, str | None]:
    """Return the subset and the metric that order the experiments; None for the main metric of each task."""
    left, right = st.columns(2)
    subsets = subsets_of(experiments)
    subset = left.selectbox("Metrics on", subsets, key="subset", bind="query-params") if subsets else "test"
    names = dict.fromkeys(name for each in experiments for name in each.scores.get(subset, {}))
    metric = right.selectbox(
        "Ordered by",
        list(names),
        index=None,
        format_func=label_of,
        key="metric",
        bind="query-params",
        placeholder="the main metric of each task",
    )
    return subset, metric


def _show_ranking(ranking: Ranking, by_id: dict[str, Experiment], subset: str, history: pl.DataFrame) -> None:
    st.subheader(plain(title(ranking, subset)))
    if note := note_on_items(ranking):
        st.warning(plain(note), icon=":material/rule:")
    if ranking.ranked:
        st.markdown(plain(verdict_on_best(ranking)))
    experiments = [by_id[entry.experiment_id] for entry in (*ranking.ranked, *ranking.others)]
    columns = overview_columns(experiments, [ranking], subset, ranking.keys)
    ids = [each.experiment_id for each in experiments]
    experiment_table(ids, columns, f"Comparison of {ranking.task} {ranking.tested}")
    names = [entry.experiment_id for entry in ranking.ranked]
    curves = curve_panels(ranking, history) if ranking.ranked else []
    _show_charts("Learning", (curve_chart(panel, names) for panel in curves))
    varied = key_panels(ranking) if ranking.ranked else []
    _show_charts("What was varied", (key_chart(panel, names, ranking.metric.label) for panel in varied))
    if ranking.ranked:
        _show_all_keys(ranking, names)
    against = cost_panels(ranking) if ranking.ranked else []
    _show_charts("Quality against cost", (key_chart(panel, names, ranking.metric.label) for panel in against))


def _show_all_keys(ranking: Ranking, names: Sequence[str]) -> None:
    """Show the experiments as lines across all keys that vary, with the importance of each key."""
    shares = key_importances(ranking)
    plot = parallel_plot(ranking, shares)
    if plot is None:
        return
    st.markdown("#### All keys at once")
    st.altair_chart(parallel_chart(plot, names))
    if shares:
        st.caption(plain(importance_sentence(ranking, shares)))


def _show_charts(heading: str, charts: Iterable[Chart]) -> None:
    shown = list(charts)
    if not shown:
        return
    st.markdown(f"#### {heading}")
    columns = st.columns(CHARTS_PER_ROW)
    for index, chart in enumerate(shown):
        columns[index % CHARTS_PER_ROW].altair_chart(chart)


show()
