"""A run killed at any moment and started again ends in the bytes of an undisturbed run.

ASSAY_KILLS sets how many random moments are tried; 50 before a release.
"""

import hashlib
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("ASSAY_KILLS", "6"))


def digests(storage: Path) -> dict[str, str]:
    """Hash every result file and table; the table of experiments holds the run's random ID, so it is left out."""
    found = {}
    for folder in ("data", "tables"):
        for path in sorted((storage / folder).rglob("*")):
            name = re.sub(r"version-[0-9a-f]+/", "", path.relative_to(storage).as_posix())
            if path.is_file() and "/experiments/" not in name:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


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
