"""The page of one experiment: metrics, curves, plots, checks, spec and download."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import streamlit as st

from assay.dashboard.charts import history_charts
from assay.dashboard.data import Experiment, load_history
from assay.dashboard.details import FAILED, Plot, check_table, metric_table, net_data_of, plots_of, spec_text
from assay.dashboard.overview import subsets_of, task_name
from assay.dashboard.views.common import all_experiments, plain, score_card, warn_about_ids
from assay.errors import StorageError
from assay.experiments.workspace import storage_root
from assay.metrics.registry import label_of
from assay.storage.parquet import read_parquet
from assay.utils.text import pluralize

MAX_CARDS = 4


def show() -> None:
    """Show the page."""
    experiments = all_experiments()
    warn_about_ids("id", experiments)
    by_id = {each.experiment_id: each for each in experiments}
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    name = left.selectbox("Experiment", list(by_id), key="id", bind="query-params", filter_mode="contains")
    right.link_button("Download", f"/download/{name}.zip", icon=":material/download:", width="stretch")
    experiment = by_id[name]
    _show_head(experiment)
    views: dict[str, Callable[[Path, Experiment], None]] = {
        "Metrics": _show_metrics,
        "Learning": _show_learning,
        "Pictures": _show_plots,
        "Checks": _show_checks,
        "Spec": _show_spec,
    }
    for tab, view in zip(st.tabs(list(views), key="view", bind="query-params"), views.values(), strict=True):
        if tab.open:
            with tab:
                view(storage_root(), experiment)


def _show_head(experiment: Experiment) -> None:
    st.title(plain(experiment.experiment_id))
    started = f"started {experiment.started:%Y-%m-%d %H:%M} UTC" if experiment.started else ""
    epochs = pluralize(experiment.epochs, "epoch") if experiment.epochs else ""
    model = f"{experiment.model} of {experiment.evaluates}" if experiment.evaluates else experiment.model
    facts = [experiment.name, task_name(experiment.task), model, epochs, started]
    st.caption(" · ".join(plain(fact) for fact in facts if fact))
    if experiment.description:
        st.markdown(plain(experiment.description))
    if experiment.tags:
        st.markdown(" ".join(f":gray-badge[{plain(f'{name}: {value}')}]" for name, value in experiment.tags.items()))
    if experiment.note:
        st.warning(plain(experiment.note), icon=":material/info:")


def _show_metrics(_: Path, experiment: Experiment) -> None:
    subsets = subsets_of([experiment])
    if not subsets:
        return
    main = subsets[0]
    scores = list(experiment.scores[main].items())[:MAX_CARDS]
    for column, (name, score) in zip(st.columns(MAX_CARDS), scores, strict=False):
        with column.container(border=True):
            score_card(plain(f"{label_of(name)} on {main}"), score)
    numbers = st.column_config.NumberColumn(format="%.4g")
    st.dataframe(
        metric_table(experiment, subsets),
        hide_index=True,
        height="content",
        placeholder="",
        column_config={"Value": numbers, "Baseline": numbers},
        alt="Metrics",
    )


def _show_learning(root: Path, experiment: Experiment) -> None:
    charts = history_charts(load_history(root, [experiment.experiment_id]))
    if not charts:
        st.info("It was not trained yet.", icon=":material/hourglass_empty:")
    columns = st.columns(2)
    for index, chart in enumerate(charts.values()):
        columns[index % 2].altair_chart(chart)


def _show_plots(root: Path, experiment: Experiment) -> None:
    name = experiment.experiment_id
    groups, epochs = plots_of(root, name), net_data_of(root, name)
    if not groups and not epochs:
        st.info("No stage has made pictures yet.", icon=":material/hourglass_empty:")
    if epochs:
        st.subheader("What the network saw")
        _show_net_data(epochs)
    for heading, plots in groups.items():
        st.subheader(heading)
        columns = st.columns(2)
        for index, plot in enumerate(plots):
            with columns[index % 2]:
                _show_plot(plot)


def _show_net_data(epochs: dict[int, Path]) -> None:
    numbers = list(epochs)
    epoch = numbers[0]
    if len(numbers) > 1:
        epoch = st.select_slider("Epoch", numbers, key="epoch", bind="query-params")
    path = epochs[epoch]
    if path.suffix == ".png":
        _show_plot(Plot(f"First training samples of epoch {epoch}", path))
        return
    with suppress(StorageError):  # a run has just removed it
        st.dataframe(read_parquet(path), hide_index=True, alt=f"First training samples of epoch {epoch}")


def _show_plot(plot: Plot) -> None:
    content = plot.read()
    if content is not None:
        st.image(content, caption=plain(plot.title), output_format="PNG")


def _show_checks(root: Path, experiment: Experiment) -> None:
    checks = check_table(root, experiment.experiment_id)
    if checks.is_empty():
        st.info("No check has run yet.", icon=":material/hourglass_empty:")
        return
    failed = (checks["Outcome"] == FAILED).sum()
    st.markdown(
        f"**{failed} of {pluralize(len(checks), 'check')} failed.**"
        if failed
        else f"{'All ' * (len(checks) > 1)}{pluralize(len(checks), 'check')} passed."
    )
    st.dataframe(checks, hide_index=True, height="content", alt="Checks")


def _show_spec(_: Path, experiment: Experiment) -> None:
    st.code(spec_text(experiment), language="yaml")


show()
