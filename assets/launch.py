"""Runs a job for one experiment in this process, as ``assay run`` does.

Belongs here: choosing what the experiment needs, the instance, what the terminal shows. Does not belong here: assets.
"""

import logging
import os
import shutil
from pathlib import Path

import dagster as dg

from assay.pipeline import needed_stages
from assay.spec.experiment import ExperimentSpec
from definitions import build_defs
from partitions.experiments import add_experiment
from resources.terminal import TerminalReporter

TRAINING_ASSETS = ("trained_model", "training_history", "predictions", "analysis")


@dg.logger(description="Silent: the terminal shows one line per stage, the UI the whole log.")
def quiet(_: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that drops everything."""
    logger = logging.Logger("assay.quiet")
    logger.addHandler(logging.NullHandler())
    return logger
