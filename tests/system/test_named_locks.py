"""``filelock_dict`` under ``assay run``: the terminal says who is in the way, and Ctrl-C ends the wait."""

import os
import signal

import pytest

from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders

pytestmark = pytest.mark.system

SPEC = """\
task: regression
filelock_dict: {{labels: {{location: team/labels}}}}
generated_images: {{source: {{kind: table, path: {table}, target_column: y}}}}
trained_model: {{train_params: {{epochs: 1, least_steps: 1}}}}
analysis: {{result_analyzer: {{bootstrap_samples: 20}}}}
exptests: {{tests: []}}
"""


def start(project):
    """Start ``assay run`` of an experiment that reads ``team/labels``, and wait until it says that it waits."""
    table = project.folder / "rows.csv"
    table.write_text("\n".join(["a,y", *(f"{row},{2 * row}" for row in range(60))]) + "\n")
    project.write("one", SPEC.format(table=table))
    process = project.start("assay", "run", "one")
    return process, next(line for line in process.stdout if "waits for" in line)


def test_assay_run_says_who_is_in_the_way_and_goes_on_when_the_lock_is_free(project):
    with hold(project.storage / "locks" / "named", "team/labels", "write", "editing labels"):
        process, line = start(project)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert line.startswith(f"generated_images  waits for the write lock on team/labels by process {os.getpid()} on ")
    assert line.endswith("editing labels (running)\n")


def test_ctrl_c_ends_a_wait_for_a_lock(project):
    named = project.storage / "locks" / "named"
    with hold(named, "team/labels", "write", "editing labels"):
        process, _ = start(project)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode != 0
        assert [each.pid for each in holders(named)] == [os.getpid()]
