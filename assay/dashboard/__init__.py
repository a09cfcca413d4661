"""The dashboard: all experiments in a browser, to filter, look at, compare and download.

It reads the warehouse, Parquet files and pictures, writes nothing, and takes no lock that a run would wait for.
``views`` are the thin pages of Streamlit; everything else works, and is tested, without it.
"""
