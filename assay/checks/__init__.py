"""Experiment tests: each kind is a pure function from a test's keys and an experiment's files to a verdict."""

from assay.checks.registry import run_test, write_exp_tests_csv
from assay.checks.result import ExperimentFiles, TestResult

__all__ = ["ExperimentFiles", "TestResult", "run_test", "write_exp_tests_csv"]
