"""A table of experiments with one row each; a click on an ID opens the experiment."""

import hashlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from assay.dashboard.overview import Column, overview_frame
from assay.dashboard.views.common import open_experiment, plain

ROW_PX, MAX_ROWS = 35, 20
CLICKED = "clicked"


def experiment_table(ids: Sequence[str], columns: Sequence[Column], name: str, selectable: bool = False) -> list[str]:
    """Show a table and return the IDs whose rows are selected.

    Args:
        ids: The experiments, one per row.
        columns: The columns and their values.
        name: Name of the table, unique on its page.
        selectable: Whether rows can be selected.
    """
    digest = hashlib.sha256(" ".join([name, *ids]).encode()).hexdigest()[:12]
    state: Any = st.dataframe(
        overview_frame(columns),
        column_config={column.name: _configuration(column, f"{CLICKED}-{digest}") for column in columns},
        hide_index=True,
        key=f"table-{digest}",
        on_select="rerun" if selectable else "ignore",
        selection_mode="multi-row",
        height=ROW_PX * (min(len(ids), MAX_ROWS) + 1) + 2,
        placeholder="",
        alt=name,
    )
    clicked = st.session_state.get(f"{CLICKED}-{digest}")
    if clicked:
        open_experiment(ids[clicked["row"]])
    return [ids[row] for row in state["selection"]["rows"] if row < len(ids)] if selectable else []


def _configuration(column: Column, clicked: str) -> Any:
    """Return Streamlit's configuration of a column."""
    label, help_, config = column.label, plain(column.help), st.column_config
    if column.name == "experiment":
        return config.ButtonColumn(label, help=help_, type="tertiary", alignment="left", pinned=True, key=clicked)
    if column.name == "started":
        return config.DatetimeColumn(label, help=help_, format="YYYY-MM-DD HH:mm")
    if column.name == "epochs":
        return config.NumberColumn(label, help=help_)
    if column.name in ("value", "baseline", "cost") or column.name.startswith("metric "):
        return config.NumberColumn(label, help=help_, format="%.4g")
    return config.Column(label, help=help_)
