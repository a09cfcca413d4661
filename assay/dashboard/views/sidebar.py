"""The filters beside the overview, whose values are kept in the page's address.

Belongs here: widgets. Does not belong here: conditions (``assay.dashboard.filters``).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import streamlit as st

from assay.dashboard.data import Experiment
from assay.dashboard.filters import Filter, choice_of, key_from_label, key_to_label, offered_keys
from assay.dashboard.overview import subsets_of
from assay.dashboard.views.common import plain
from assay.spec.yaml_text import brief


def choose_experiments(experiments: Sequence[Experiment]) -> tuple[list[Experiment], str, dict[str, str]]:
    """Return the experiments to show, the subset whose metrics are shown, and the chosen keys with their labels."""
    with st.sidebar:
        st.header("Filters")
        conditions = _enter_conditions(experiments)
        matching = conditions.choose(experiments)
        subset = _enter_subset(matching)
        keys, on_keys = _enter_keys(matching)
    return replace(conditions, values=on_keys.values, ranges=on_keys.ranges).choose(matching), subset, keys


def _enter_conditions(experiments: Sequence[Experiment]) -> Filter:
    words = st.text_input(
        "Search", key="q", bind="query-params", placeholder="ID, name, tag …", icon=":material/search:"
    )
    tasks = _several("Task", "task", sorted({each.task for each in experiments}))
    models = _several("Model", "model", sorted({each.model for each in experiments if each.model}))
    since, until = _enter_dates(experiments)
    return Filter(words.strip(), tasks, models, since, until, _enter_epochs(experiments))


def _several(label: str, key: str, options: list[str]) -> list[str]:
    if len(options) < 2:
        return []
    return st.multiselect(label, options, key=key, bind="query-params", placeholder="all")


def _enter_dates(experiments: Sequence[Experiment]) -> tuple[date | None, date | None]:
    days = sorted({each.started.date() for each in experiments if each.started})
    if len(days) < 2:
        return None, None
    chosen = st.date_input(
        "Started (UTC)", value=[], min_value=days[0], max_value=days[-1], key="started", bind="query-params"
    )
    return (chosen[0], chosen[-1]) if chosen else (None, None)


def _enter_epochs(experiments: Sequence[Experiment]) -> tuple[int, int] | None:
    counts = sorted({each.epochs for each in experiments if each.epochs is not None})
    if len(counts) < 2:
        return None
    ends = st.select_slider("Trained epochs", counts, (counts[0], counts[-1]), key="epochs", bind="query-params")
    return None if ends == (counts[0], counts[-1]) else ends


def _enter_subset(experiments: Sequence[Experiment]) -> str:
    subsets = subsets_of(experiments)
    if len(subsets) < 2:
        return subsets[0] if subsets else "test"
    return st.selectbox("Metrics on", subsets, key="subset", bind="query-params")


def _enter_keys(experiments: Sequence[Experiment]) -> tuple[dict[str, str], Filter]:
    names = offered_keys(experiments, [key_from_label(text) for text in st.query_params.get_all("key")])
    if not names:
        return {}, Filter()
    keys = st.multiselect(
        "Keys of the spec",
        list(names),
        format_func=key_to_label,
        key="key",
        bind="query-params",
        placeholder="such as learning_rate",
        help="Keys in which the experiments differ: each becomes a column and can be filtered by.",
    )
    values, ranges = {}, {}
    for key in keys:
        choice = choice_of(key, experiments)
        if choice.numbers:
            ends = (choice.numbers[0], choice.numbers[-1])
            chosen = st.select_slider(
                plain(names[key]), choice.numbers, ends, format_func=brief, key=f"in.{key}", bind="query-params"
            )
            if chosen != ends:
                ranges[key] = chosen
        else:
            values[key] = st.multiselect(
                plain(names[key]), choice.values, key=f"is.{key}", bind="query-params", placeholder="all"
            )
    return {key: names[key] for key in keys}, Filter(values=values, ranges=ranges)
