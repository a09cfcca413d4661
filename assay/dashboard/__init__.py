"""The dashboard: all experiments in a browser, to filter, view, compare and download.

It reads the warehouse, Parquet files and plots; it writes nothing, and takes no lock that a run would wait for. Only
``app`` and ``views``, the pages, import Streamlit; everything else works, and is tested, without it.
"""
