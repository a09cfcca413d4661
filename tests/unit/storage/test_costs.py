"""What a result costs: measured, kept beside it, and never the reason why a build or a command stops."""

import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from assay.pipeline import StageConfig
from assay.storage.costs import Meter, Spent, cost_of, cost_path, read_cost, write_cost
from assay.storage.results import ResultStore, scratch_of
from tests.helpers.results import Section, build

FINGERPRINT = "0123456789abcdef01234567"
RECORD = {
    "stage": "crops",
    "fingerprint": FINGERPRINT,
    "experiment_id": "ab12",
    "built": "2026-05-03T12:00:00+00:00",
    "size_bytes": 12,
    "machine": "Some CPU, 2 cores, 8 GB",
    "wall_s": 1.5,
    "cpu_s": 2,
    "gpu_s": 0.0,
    "peak_memory_mb": None,
    "attempts": 1,
}


def config(name="ab12", digest="d"):
    return StageConfig(name, "crops", "regression", 42, Section(), digest)


def fill(folder):
    (folder / "file").write_text("text")
    return {"rows": 1}


def wait_until(is_so):
    """Wait for another thread, with a deadline only against hanging."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_seconds_of_this_process_and_of_those_that_it_started_are_counted(tmp_path):
    meter = Meter(tmp_path / "notes")
    subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    begin = time.process_time()
    while time.process_time() - begin < 0.05:
        pass
    spent = meter.stop()
    assert spent.cpu_s >= 0.25
    assert spent.wall_s > 0
    assert (spent.gpu_s, spent.attempts) == (0, 1)
    assert not (tmp_path / "notes").exists()


def test_the_peak_of_memory_is_that_of_the_block_and_not_of_what_was_before(tmp_path):
    before = Meter(tmp_path / "notes")
    held = before._memory_mb
    large = bytearray(b"x") * 120_000_000
    wait_until(lambda: before._memory_mb >= held + 119)  # in a process that once needed more, samples tell
    of_large = before.stop().peak_memory_mb
    del large
    meter = Meter(tmp_path / "notes")
    small = bytearray(b"x") * 40_000_000
    held = meter._memory_mb
    wait_until(lambda: meter._memory_mb >= held + 39)
    of_small = meter.stop().peak_memory_mb
    del small
    assert of_large - 100 < of_small < of_large - 60


def test_what_was_waiting_is_not_counted(tmp_path):
    meter = Meter(tmp_path / "notes")
    begin = time.process_time()
    while time.process_time() - begin < 0.1:
        pass
    meter.restart()
    assert meter.stop().cpu_s < 0.1


def test_nothing_is_noted_of_a_build_that_waits(tmp_path):
    notes = tmp_path / "notes"
    meter = Meter(notes, every_s=0.0)
    meter.pause()
    notes.unlink(missing_ok=True)
    looked = meter._children
    wait_until(lambda: meter._children is not looked)
    meter.keep()
    assert not notes.exists()


def test_an_attempt_that_was_killed_counts_as_far_as_it_was_noted(tmp_path):
    notes = tmp_path / "scratch" / "notes"
    killed = Meter(notes, every_s=0.01)
    wait_until(notes.exists)
    killed._ended.set()  # as the end of its process does, before anything else is written
    killed._watcher.join()
    noted = json.loads(notes.read_text())
    assert noted["wall_s"] > 0
    whole = Meter(notes).stop()
    assert whole.attempts == 2
    assert whole.wall_s >= noted["wall_s"]


def test_an_attempt_that_was_interrupted_is_kept_unless_it_is_short(tmp_path):
    Meter(tmp_path / "notes").keep()
    assert not (tmp_path / "notes").exists()
    Meter(tmp_path / "notes", every_s=0.0).keep()
    Meter(tmp_path / "notes", every_s=0.0).keep()
    assert Meter(tmp_path / "notes").stop().attempts == 3


def test_the_workers_of_a_training_that_still_live_are_part_of_a_note(tmp_path):
    notes = tmp_path / "notes"
    busy = (
        "import time\nx = bytearray(b'x') * 50_000_000\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\n"
    )
    command = [sys.executable, "-S", "-c", f"{busy}time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        meter = Meter(notes, every_s=0.01)
        own = meter._memory_mb
        try:
            wait_until(lambda: notes.exists() and json.loads(notes.read_text())["cpu_s"] >= 0.1)
        finally:
            worker.kill()
    noted = json.loads(notes.read_text())
    assert noted["peak_memory_mb"] > own + 50
    assert meter.stop().peak_memory_mb > own + 50


class Cuda:
    """What of ``torch.cuda`` is asked, where there is no GPU: one that is used, and one that is not."""

    def __init__(self):
        self.allocated = 5

    def is_initialized(self):
        return True

    def device_count(self):
        return 2

    def memory_stats(self, number):
        return {"allocation.all.allocated": self.allocated} if number == 0 else {}

    def get_device_name(self, number):
        return "NVIDIA Example\u2122"


def test_gpu_seconds_are_those_for_which_a_gpu_was_taken(tmp_path, monkeypatch):
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    unused = Meter(tmp_path / "notes").stop()
    meter = Meter(tmp_path / "notes")
    cuda.allocated += 1
    used = meter.stop()
    assert (unused.gpu_s, used.gpu_s) == (0, used.wall_s)
    cost = cost_of(used, "crops", FINGERPRINT, "ab12", 1)
    assert cost.machine.endswith(", NVIDIA Example, NVIDIA Example")


def test_damaged_notes_are_as_good_as_none(tmp_path):
    (tmp_path / "notes").write_text('{"wall_s": "long"}')
    assert Meter(tmp_path / "notes").stop().attempts == 1


def test_a_cost_is_kept_beside_the_result_and_is_the_same_when_it_is_reused(tmp_path):
    store = ResultStore(tmp_path)
    made = build(store, config("one"), {}, fill)
    cost, note = made.cost
    assert note == ""
    assert (cost.experiment_id, cost.stage, cost.fingerprint) == ("one", "crops", made.fingerprint)
    assert cost.size_bytes == made.size_bytes
    assert cost.attempts == 1
    assert "cores" in cost.machine
    assert os.uname().nodename not in json.dumps(cost.model_dump())
    again = build(store, config("two"), {}, fill)
    assert again.reused
    assert again.cost == (cost, "")
    assert {path.name for path in made.folder.iterdir()} == {"file", "manifest.json", "report.json"}


def test_nothing_of_a_result_depends_on_what_it_cost(tmp_path):
    made = [build(ResultStore(tmp_path / name), config(), {}, fill) for name in "ab"]
    write_cost(made[0].cost_file, made[0].cost[0].model_copy(update={"wall_s": 1e6}))
    contents = [{path.name: path.read_bytes() for path in each.folder.iterdir()} for each in made]
    assert contents[0] == contents[1]


def test_what_earlier_attempts_took_is_added_and_their_notes_go(tmp_path):
    store = ResultStore(tmp_path)
    with store.build(config(), {}) as first:
        first.report = fill(first.folder)
    shutil.rmtree(first.result.folder)
    write_cost(first.scratch / "cost.json", Spent(wall_s=100, cpu_s=250, peak_memory_mb=1e6, attempts=2))
    made = build(store, config(), {}, fill)
    cost, _ = made.cost
    assert cost.attempts == 3
    assert 100 <= cost.wall_s < 200
    assert cost.cpu_s >= 250
    assert cost.peak_memory_mb == 1e6
    assert not scratch_of(made.folder).exists()


def test_a_result_that_is_made_anew_gets_a_new_record(tmp_path):
    store = ResultStore(tmp_path)
    made = build(store, config("one"), {}, fill)
    cleared = StageConfig("two", "crops", "regression", 42, Section(clear_folder=True), "d")
    assert build(store, cleared, {}, fill).cost[0].experiment_id == "two"
    assert made.cost[0].experiment_id == "two"


def test_a_record_that_can_not_be_written_stops_nothing(tmp_path):
    (tmp_path / ".costs").write_text("in the way")
    made = build(ResultStore(tmp_path), config(), {}, fill)
    assert made.report == {"rows": 1}
    cost, note = made.cost
    assert cost is None
    assert note.startswith("not recorded")


def test_what_was_written_is_read(tmp_path):
    path = cost_path(tmp_path, "crops", FINGERPRINT)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**RECORD, "of a later version": [1]}))
    cost, note = read_cost(path, "crops", FINGERPRINT)
    assert note == ""
    assert cost.model_dump() == RECORD


def test_without_a_record_nothing_is_known(tmp_path):
    assert read_cost(tmp_path / "none.json", "crops", FINGERPRINT) == (None, "not recorded")


DAMAGED = {
    "cut off": json.dumps(RECORD)[:40],
    "no text": "\ud83d\udca9".encode("utf-16", "surrogatepass"),
    "another shape": "[1]",
    "nested": "[" * 5000,
    "too large": json.dumps({**RECORD, "more": "x" * 70_000}),
    **{
        f"{key} {str(value)[:12]}": json.dumps({**RECORD, key: value})
        for key, value in (
            *((key, value) for key in ("wall_s", "cpu_s", "gpu_s") for value in (-1, float("nan"), 1e300, "1", None)),
            *(("peak_memory_mb", value) for value in (-0.1, float("inf"), "much")),
            *(("attempts", value) for value in (-1, 1.5, 10**30)),
            *(("size_bytes", value) for value in (-1, 2**63, 1.5)),
            *(("machine", value) for value in ("\x1b[2J", "x" * 301, "two\nlines", 3)),
            *(("built", value) for value in ("yesterday", "2026-99-99T12:00:00+00:00", 5)),
            *(("experiment_id", value) for value in ("../up", "", "A B", None)),
            *(("fingerprint", value) for value in ("f" * 24, "../../x", 1)),
            ("stage", "splits"),
        )
    },
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_record_is_none_with_a_note_that_names_it(tmp_path, name):
    content = DAMAGED[name]
    path = tmp_path / "record.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    cost, note = read_cost(path, "crops", FINGERPRINT)
    assert cost is None
    assert note.startswith("not recorded: ")
    assert str(path) in note
    assert len(note) < 600
    assert note.isprintable()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, make):
    make(tmp_path / "record.json")
    cost, note = read_cost(tmp_path / "record.json", "crops", FINGERPRINT)
    assert cost is None
    assert "expected a regular file" in note
