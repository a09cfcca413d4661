"""Trainings that would use all cores of this machine take turns; others run at the same time."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaits

import dagster as dg
import pytest

from assay.utils.concurrency import usable_cores


def train(lab, threads, usable=None):
    with lab.store.cores(dg.build_asset_context(partition_key="second"), threads, usable):
        return "trained"


@pytest.mark.system
def test_a_training_that_fills_the_cores_waits_for_the_other(lab):
    first = dg.build_asset_context(partition_key="first")
    with ThreadPoolExecutor(1) as pool:
        with lab.store.cores(first, usable_cores()):
            second = pool.submit(train, lab, usable_cores())
            with pytest.raises(StillWaits):
                second.result(timeout=0.5)
        assert second.result(timeout=60) == "trained"


def test_trainings_that_leave_cores_free_go_on_together(lab):
    with lab.store.cores(dg.build_asset_context(partition_key="first"), 2, 8), ThreadPoolExecutor(1) as pool:
        assert pool.submit(train, lab, 2, 8).result(timeout=20) == "trained"
