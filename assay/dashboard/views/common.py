"""What the pages share: the experiments, links between pages, and users' texts in Markdown."""

import re
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from assay.analysis.base import baseline_text
from assay.comparison.load import Score
from assay.comparison.terminal import interval
from assay.dashboard.data import Experiment, load_experiments, with_file_notes
from assay.errors import IdError
from assay.experiments.sharing import refresh
from assay.experiments.workspace import in_bucket, spec_files, storage_root
from assay.spec.ids import validate_id
from assay.utils.text import readable_number

OVERVIEW, EXPERIMENT, COMPARE = (f"views/{name}.py" for name in ("overview", "experiment", "compare"))

MAX_COMPARED = 30
"""Experiments that can be compared at once: more curves in one chart can't be told apart."""


REFRESHED_EVERY_S = 15.0
"""Shortest time between two looks at a storage in a bucket, in seconds."""

PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
"""Characters that can mean something in Markdown."""

NAME = re.compile(r"(?!www\.)[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
"""Texts without a meaning in Markdown, such as IDs and keys; they are not escaped, so that screen readers read them."""


def all_experiments() -> tuple[Experiment, ...]:
    """Return all experiments; if there are none, show what to do next and end the page."""
    root = storage_root()
    if in_bucket():
        _refresh(str(root))
    experiments = load_experiments(root)
    if not experiments:
        st.title("Nothing here yet")
        st.markdown(f"No experiment has run in {plain(str(root))} yet. Create one, run it, then reload this page:")
        st.code("assay new classification --id first\nassay run first", language="bash")
        st.markdown("Or let `make demo` train three examples. `ASSAY_STORAGE` chooses another storage.")
        st.stop()
    return with_file_notes(experiments, spec_files(), root)


@st.cache_resource(ttl=REFRESHED_EVERY_S, show_spinner="Looking what other machines did …")
def _refresh(root: str) -> None:
    """Enter what other machines did, at most once in a while for all pages."""
    refresh(Path(root))


def warn_about_ids(name: str, experiments: Sequence[Experiment]) -> None:
    """Show which IDs in the page's address are invalid or unknown; the page goes on without them."""
    known = {each.experiment_id for each in experiments}
    for text in st.query_params.get_all(name):
        try:
            if text and validate_id(text) not in known:
                st.warning(f"Experiment {plain(text)} never ran in this storage.", icon=":material/search_off:")
        except IdError as error:
            st.warning(plain(str(error)), icon=":material/search_off:")


def score_card(label: str, score: Score, help_: str | None = None) -> None:
    """Show a metric in large type, with its interval and baseline below."""
    st.metric(
        label,
        f"{readable_number(score.value)} {plain(score.unit)}".strip(),
        interval(score) or None,
        delta_color="off",
        delta_arrow="off",
        help=help_,
    )
    if score.baseline is not None:  # on a line of its own: beside the interval it is cut off
        st.caption(plain(baseline_text(score.baseline_name, score.baseline)))


def open_experiment(experiment_id: str) -> None:
    """Go to the page of one experiment."""
    st.switch_page(EXPERIMENT, query_params={"id": experiment_id})


def open_comparison(ids: Sequence[str]) -> None:
    """Go to the comparison of some experiments."""
    st.switch_page(COMPARE, query_params={"ids": list(ids)})


def plain(text: str) -> str:
    """Return text that Markdown shows literally, on one line: without links, images, colours, formulas or HTML."""
    return text if NAME.fullmatch(text) else PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
