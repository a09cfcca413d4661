"""Experiment tests: each kind is a pure function from a test's keys and an experiment's files to a verdict."""

from assay.checks.result import ExperimentFiles, TestResult
from assay.checks.run import run_test, write_exp_tests_csv

__all__ = ["ExperimentFiles", "TestResult", "run_test", "write_exp_tests_csv"]
