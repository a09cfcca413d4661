"""Benchmarks: ratios in one run, floors beside figures; `make bench` writes RESULTS.md."""
