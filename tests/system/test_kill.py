"""A run killed at any moment and started again ends in the bytes of an undisturbed run.

ASSAY_KILLS sets how many random moments are tried; 50 before a release.
"""

import os
import random
import signal
import time

import pytest

from tests.helpers.projects import digests

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("ASSAY_KILLS", "6"))


@pytest.fixture(scope="module")
def undisturbed(module_project):
    started = time.monotonic()
    code, output = module_project.assay("run", "tiny")
    assert code == 0, output
    return digests(module_project.storage), time.monotonic() - started


@pytest.mark.parametrize("attempt", range(KILLS))
def test_a_killed_run_started_again_ends_in_the_same_bytes(attempt, undisturbed, project):
    wanted, duration_s = undisturbed
    process = project.start("assay", "run", "tiny")
    time.sleep(random.Random(attempt).uniform(0.3, duration_s))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    assert digests(project.storage) == wanted
    assert [path for path in project.storage.rglob(".tmp-*") if "/data/" in str(path)] == []
