"""What steps print is kept in Dagster's files and shown at once, and no helper process outlives a run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from resources.instance.compute_logs import QuietComputeLogManager
manager = QuietComputeLogManager(base_dir=sys.argv[1])
with manager.capture_logs(["run", "compute_logs", "step"]):
    print("told", flush=True)
    print("warned", file=sys.stderr, flush=True)
    sys.stdin.readline()
print("after", flush=True)
"""


def start(folder):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, text=True, **pipes)


def captured(folder):
    """Return what was captured by the endings of the files: output, errors, and whether it is complete."""
    return {path.suffix: path.read_text() for path in folder.rglob("step.*")}


def test_what_is_printed_is_captured_and_shown_at_once_and_then_only_shown(tmp_path):
    process = start(tmp_path)
    assert (process.stdout.readline(), process.stderr.readline()) == ("told\n", "warned\n")
    assert process.communicate("\n", timeout=120) == ("after\n", "")
    assert captured(tmp_path) == {".out": "told\n", ".err": "warned\n", ".complete": ""}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_helper_processes_end_by_themselves_when_the_run_is_killed_and_hear_no_ctrl_c(tmp_path):
    process = start(tmp_path)
    assert process.stdout.readline() == "told\n"  # while the step is at work
    helpers = [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(helpers) == 2
    for helper in helpers:
        os.kill(helper, signal.SIGINT)
    time.sleep(0.1)
    assert all(Path(f"/proc/{helper}/cmdline").read_bytes().startswith(b"tail\0") for helper in helpers)
    process.kill()
    process.wait(timeout=120)  # until then the system has not forgotten it
    process.communicate(timeout=120)  # the helpers hold its streams open
    assert captured(tmp_path)[".out"] == "told\n"
