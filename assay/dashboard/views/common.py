"""What the pages share: the storage, and going from one page to another.

Belongs here: parts of several pages. Does not belong here: a page.
"""

import re
from collections.abc import Sequence

import streamlit as st

from assay.analysis.base import readable_number
from assay.comparison.load import Score
from assay.comparison.terminal import interval
from assay.dashboard.data import Experiment, load_catalogue
from assay.errors import IdError
from assay.experiments.workspace import storage_root
from assay.spec.ids import validate_id

OVERVIEW, EXPERIMENT, COMPARE = (f"views/{name}.py" for name in ("overview", "experiment", "compare"))

MOST_COMPARED = 30
"""More curves than this in one chart tell nothing apart."""


def catalogue() -> tuple[Experiment, ...]:
    """Return all experiments; without any, say what to do next and end the page."""
    root = storage_root()
    found = load_catalogue(root)
    if not found:
        st.title("Nothing here yet")
        st.markdown(f"No experiment has run in `{root}` yet. Create one, run it, then reload this page:")
        st.code("assay new classification --id first\nassay run first", language="bash")
        st.markdown("Or let `make demo` train three examples. `ASSAY_STORAGE` chooses another storage.")
        st.stop()
    return found


def wanted_ids(name: str, experiments: Sequence[Experiment]) -> None:
    """Say which IDs in the address are not valid or not known; the page goes on without them."""
    known = {each.experiment_id for each in experiments}
    for text in st.query_params.get_all(name):
        try:
            if text and validate_id(text) not in known:
                st.warning(f"Experiment {plain(text)} never ran in this storage.", icon=":material/search_off:")
        except IdError as error:
            st.warning(plain(str(error)), icon=":material/search_off:")


def score_card(label: str, score: Score, help_: str | None = None) -> None:
    """Show a metric large, with its interval and baseline below."""
    baseline = None if score.baseline is None else f"baseline {readable_number(score.baseline)}"
    st.metric(
        label,
        f"{readable_number(score.value)} {score.unit}".strip(),
        interval(score) or None,
        delta_color="off",
        delta_arrow="off",
        delta_description=baseline,
        help=help_,
    )


def open_experiment(experiment_id: str) -> None:
    """Go to the page of one experiment."""
    st.switch_page(EXPERIMENT, query_params={"id": experiment_id})


def open_comparison(ids: Sequence[str]) -> None:
    """Go to the comparison of some experiments."""
    st.switch_page(COMPARE, query_params={"ids": list(ids)})


PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")

NAME = re.compile(r"(?!www\.)[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
"""What means nothing in Markdown, such as an ID or a key; as labels, these stay as they are for screen readers."""


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no link, picture, colour, formula or HTML."""
    return text if NAME.fullmatch(text) else PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
