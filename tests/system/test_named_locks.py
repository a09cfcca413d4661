"""``filelock_dict`` under ``assay run``: the terminal says who is in the way, and Ctrl-C ends the wait."""

import os
import re
import signal

import pytest

from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from tests.helpers.servers import wait_until

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


HELD = "filelock_dict: {labels: {location: team/labels, kind: write, hold: training_to_analysis}}"
LONG = "train_params: {epochs: 100000, least_steps: 100000000}"


def test_a_killed_run_frees_the_lock_that_it_held_from_training_to_analysis(project):
    named = project.storage / "locks" / "named"
    table = project.folder / "rows.csv"
    table.write_text("\n".join(["a,y", *(f"{row},{2 * row}" for row in range(60))]) + "\n")
    text = SPEC.format(table=table)
    lines = [HELD if "filelock" in line else line for line in text.splitlines()]
    lines = [f"trained_model: {{{LONG}}}" if "trained_model" in line else line for line in lines]
    project.write("one", "\n".join(lines))
    process = project.start("assay", "run", "one")
    try:
        purposes = ["training to analysis of one"]
        wait_until(lambda: [each.purpose for each in holders(named)] == purposes, "the training holds its lock")
        assert re.search(r"^named/team/labels +write .* running +training to", project.assay("locks")[1], flags=re.M)
    finally:
        process.kill()
        process.communicate(timeout=20)
    with hold(named, "team/labels", "write", "the next one", timeout_s=20):
        pass
    assert [each.alive for each in holders(named)] == [False]
    assert project.assay("locks", "--clear", "--yes")[0] == 0
    assert holders(named) == []


def test_ctrl_c_ends_a_wait_for_a_lock(project):
    named = project.storage / "locks" / "named"
    with hold(named, "team/labels", "write", "editing labels"):
        process, _ = start(project)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode != 0
        assert [each.pid for each in holders(named)] == [os.getpid()]
