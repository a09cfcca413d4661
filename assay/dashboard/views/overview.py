"""The first page: filters, the best experiment of every task, and the table of all experiments."""

from collections.abc import Sequence

import streamlit as st

from assay.comparison.load import Entry
from assay.comparison.ranking import Ranking
from assay.comparison.terminal import items_name, verdict_on_best
from assay.dashboard.data import Experiment
from assay.dashboard.overview import Column, best_of, overview_columns, rankings, task_name
from assay.dashboard.views.common import (
    EXPERIMENT,
    MAX_COMPARED,
    all_experiments,
    open_comparison,
    plain,
    score_card,
)
from assay.dashboard.views.sidebar import choose_experiments
from assay.dashboard.views.table import experiment_table
from assay.utils.text import pluralize

MAX_BEST = 6
"""Number of rankings whose best experiment is shown above the table."""

CARDS_IN_A_ROW = 3
"""More of them cut each other's titles and intervals off."""


def show() -> None:
    """Show the page."""
    experiments = all_experiments()
    shown, subset, keys = choose_experiments(experiments)
    with_results = sum(subset in each.scores for each in shown)
    st.title("Experiments")
    st.caption(
        f"{len(shown):,} of {pluralize(len(experiments), 'experiment')} · {with_results:,} with results on "
        f"{plain(subset)}"
    )
    if not shown:
        st.info("No experiment meets all of these conditions. Clear one in the sidebar.", icon=":material/filter_alt:")
        return
    ranked = rankings(shown, subset)
    _show_best(ranked, subset)
    _show_table(shown, overview_columns(shown, ranked, subset, keys))


def _show_best(ranked: Sequence[Ranking], subset: str) -> None:
    """Show the best experiment of every task and set of test items, and why a task has several."""
    found = [(ranking, best) for ranking in ranked if (best := best_of(ranking))]
    shown = found[:MAX_BEST]
    for start in range(0, len(shown), CARDS_IN_A_ROW):
        _show_cards(shown[start : start + CARDS_IN_A_ROW], subset)
    apart = {ranking.task: ranking.apart for ranking in ranked if ranking.apart}
    if apart:
        counts = [f"{task_name(task)}: {each.experiments:,} on {each.sets:,} sets" for task, each in apart.items()]
        st.caption(
            f"Experiments were tested on different sets of items ({plain(', '.join(counts))}). Numbers about different "
            "items can't be compared; see the column Items."
        )
    if len(found) > len(shown):
        st.caption(
            f"The best of {pluralize(len(found) - len(shown), 'smaller set is', 'smaller sets are')} not "
            "shown here; filter, or compare some."
        )


def _show_cards(row: Sequence[tuple[Ranking, Entry]], subset: str) -> None:
    for column, (ranking, best) in zip(st.columns(CARDS_IN_A_ROW), row, strict=False):
        with column.container(border=True):
            word = "best " if len(ranking.ranked) > 1 else ""
            items = f", items {items_name(ranking)}" if ranking.apart else ""
            heading = f"{task_name(ranking.task)}: {word}{ranking.metric.label} on {subset}{items}"
            score_card(plain(heading), ranking.score(best), help_=plain(verdict_on_best(ranking)))
            st.page_link(
                EXPERIMENT,
                label=plain(best.experiment_id),
                icon=":material/arrow_forward:",
                query_params={"id": best.experiment_id},
            )


def _show_table(experiments: Sequence[Experiment], columns: Sequence[Column]) -> None:
    ids = [each.experiment_id for each in experiments]
    actions = st.container(horizontal=True, vertical_alignment="center")
    chosen = experiment_table(ids, columns, "Experiments", selectable=True)
    with actions:
        _offer_actions(chosen, ids)


def _offer_actions(chosen: Sequence[str], ids: Sequence[str]) -> None:
    compared = chosen or (ids if len(ids) <= MAX_COMPARED else [])
    label = f"Compare {len(chosen)} selected" if chosen else "Compare all shown" if compared else "Compare"
    if st.button(label, icon=":material/stacked_line_chart:", disabled=not 2 <= len(compared) <= MAX_COMPARED):
        open_comparison(compared)
    if not chosen:
        st.caption("Click an ID to open it, a heading to sort; select rows at the left edge to compare them.")


show()
