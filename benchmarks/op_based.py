"""What the op-based pipeline that Assay replaces took for its own jobs, measured once, on another day.

niceml 0.16.0, TensorFlow 2.15 on CPU, Dagster 1.6.14, its shipped configurations; 2 cores, 24 GB, a noisy machine, one
run each. Seconds of wall time. Nothing of it is measured anew, so no target refers to it.
"""

from benchmarks.rows import Row

MEASURED_ON = "another day, one run on a noisy machine of this size"
EXTRAPOLATED = "another day; extrapolated from 4 training steps, ±25%"

STAGES_S = {"splits": 0.45, "crops": 2.74, "tabular": 0.28, "normalized": 0.37}
"""Stages of the data generation for 100 images of 1024x1024."""

DATA_GENERATION_S = {100: 80.8, 400: 238.1}
"""``job_data_generation`` by number of images of 1024x1024."""

TRAINING_S, EVALUATION_S = 73.4, 30.5
"""``job_train`` of a regression on 137 rows for 2 epochs, and ``job_eval`` of a regression."""

WHOLE_IMAGES_S = {"segmentation": 250.0, "detection": 1430.0}
"""``job_train`` with default settings on 100 images of 1024x1024 for 2 epochs, extrapolated from 4 steps."""


def op_based(job: str, seconds: float, note: str = "", measured_on: str = MEASURED_ON) -> Row:
    """Return the row of what the op-based pipeline took, to stand beside ours."""
    return Row(f"op-based pipeline: {job}", seconds, note=note, measured_on=measured_on)
