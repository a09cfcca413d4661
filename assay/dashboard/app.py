"""The script that Streamlit runs whenever a page is shown: the list of pages, and how errors are shown.

Does not belong here: pages (``assay.dashboard.views``), options of the server (``assay.dashboard.server``).
"""

import streamlit as st

from assay.dashboard.views.common import plain
from assay.errors import AssayError

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="#0072B2">
<rect x="1" y="8" width="4" height="7" rx="1"/><rect x="6" y="1" width="4" height="14" rx="1"/>
<rect x="11" y="5" width="4" height="10" rx="1"/></svg>"""
"""Streamlit's own icons for the browser tab would be loaded from a third party's server."""

st.set_page_config(page_title="Assay", page_icon=ICON, layout="wide")
page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", icon=":material/table_view:", default=True),
        st.Page("views/experiment.py", title="Experiment", icon=":material/science:"),
        st.Page("views/compare.py", title="Compare", icon=":material/stacked_line_chart:"),
    ],
    position="top",
)
try:
    page.run()
except AssayError as error:
    st.error(plain(str(error)), icon=":material/error:")
