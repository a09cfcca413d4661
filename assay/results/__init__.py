"""The result store: every stage's result is a folder named by its fingerprint, built once, complete or absent."""

from assay.results.result import REPORT, Report, Result, verify
from assay.results.store import SCRATCH, Build, ResultStore

__all__ = ["REPORT", "SCRATCH", "Build", "Report", "Result", "ResultStore", "verify"]
