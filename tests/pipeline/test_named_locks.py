"""``filelock_dict`` and ``job_clearlocks`` through real runs: held while an asset works, released whatever happens."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import dagster as dg
import pytest

from assay.spec.experiment import SECTION_NAMES
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from definitions import build_defs
from resources.defaults import resources_for
from resources.progress import ProgressReporter

pytestmark = pytest.mark.system

IMAGES = ["experiment", *(f"spec_{name}" for name in SECTION_NAMES), "generated_images"]
NAMED = "locks/named"


class WatchingReporter(ProgressReporter):
    """Looks, while a stage works, who holds named locks."""

    folder: str

    def start(self, context, stage):
        def report(*_, **__):
            seen.append([(each.lock, each.mode, each.purpose) for each in holders(Path(self.folder))])

        return report


seen = []


@pytest.fixture
def locked(lab):
    """An experiment that reads a named location, and waits for it for 0.3 s."""
    lab.write("one", filelock_dict={"labels": {"location": "labels", "timeout_s": 0.3}})
    return lab


def test_locks_are_held_while_an_asset_works_and_released_after_it(locked):
    named = locked.store.path / NAMED
    reporter = WatchingReporter(folder=str(named))
    store = locked.store_telling(reporter)
    seen.clear()
    assert locked.run("one", assets=IMAGES, resources={"store": store}).success
    assert seen
    assert all(held == [("labels", "read", "generated_images of one")] for held in seen)
    assert holders(named) == []


HELD = {"gpu": {"kind": "write", "location": "gpu", "hold": "training_to_analysis", "timeout_s": 0.3}}


class FilesReporter(ProgressReporter):
    """Records, at the beginning of each stage, which holder files there are; the locks of the stage come after it."""

    folder: str

    def start(self, context, stage):
        began.append((stage, [each.path.name for each in holders(Path(self.folder))]))
        return super().start(context, stage)


began = []


def test_one_holder_keeps_a_lock_from_training_to_analysis(lab):
    named = lab.store.path / NAMED
    lab.write("one", filelock_dict=HELD)
    began.clear()
    store = lab.store_telling(FilesReporter(folder=str(named)))
    assert lab.run("one", resources={"store": store}).success
    held = dict(began)
    assert all(held[stage] == [] for stage in ("generated_images", "splits", "tabular", "normalized", "trained_model"))
    assert len(held["predictions"]) == 1
    assert held["predictions"] == held["analysis"]
    assert holders(named) == []


def test_a_lock_from_training_to_analysis_is_free_after_a_failed_training(lab):
    named = lab.store.path / NAMED
    lab.write("one", filelock_dict=HELD)
    assert lab.run("one", "job_data_generation").success
    lab.write("one", filelock_dict=HELD, trained_model={"data_description": {"target": "px_0_0", "inputs": ["no"]}})
    assert "Experiment one, trained_model" in lab.failure(lab.run("one", "job_train"))
    assert holders(lab.store.path / "locks") == []
    with hold(named, "gpu", "write", timeout_s=0):
        reason = lab.failure(lab.run("one", "job_train"))
    assert "Experiment one, trained_model: filelock_dict.gpu: The write lock on gpu was not free" in reason


@pytest.mark.defect("B5")
def test_a_writer_of_a_location_blocks_data_generation_and_the_failure_names_it(locked):
    with hold(locked.store.path / NAMED, "labels", "write", "editing labels"):
        result = locked.run("one", "job_data_generation", assets=IMAGES)
    reason = locked.failure(result)
    assert reason.startswith(
        "Experiment one, generated_images: filelock_dict.labels: The read lock on labels was not free"
    )
    assert "editing labels (running)" in reason
    assert not (locked.folder / "storage" / "data").exists()
    assert locked.run("one", "job_data_generation", assets=IMAGES).success


@pytest.mark.defect("B4")
def test_a_failing_asset_leaves_no_lock(locked):
    rows = locked.folder / "rows.csv"
    rows.write_text("a,y\n1,2\n3,4\n")
    source = {"kind": "table", "path": str(rows), "target_column": "nowhere"}
    locked.write(
        "one", filelock_dict={"labels": {"kind": "write", "location": "labels"}}, generated_images={"source": source}
    )
    assert "'nowhere' does not exist" in locked.failure(locked.run("one", assets=IMAGES))
    with hold(locked.store.path / NAMED, "labels", "write", timeout_s=0):
        assert [each.lock for each in holders(locked.store.path / "locks")] == ["named/labels"]


def test_waiting_for_a_lock_is_written_to_the_run_log(lab):
    lab.write("one", filelock_dict={"labels": {"location": "labels"}})
    taken, waits = Event(), Event()

    def write_labels():
        with hold(lab.store.path / NAMED, "labels", "write", "editing labels"):
            taken.set()
            waits.wait(60)

    class Told(ProgressReporter):
        def wait(self, context, stage, holder):
            super().wait(context, stage, holder)
            waits.set()

    store = lab.store_telling(Told())
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write_labels)
        assert taken.wait(60)
        result = lab.run("one", assets=IMAGES, resources={"store": store})
        writer.result()
    assert result.success
    lines = [entry.user_message for entry in lab.instance.all_logs(result.run_id)]
    (line,) = [line for line in lines if "waits for" in line]
    assert line.startswith("generated_images: waits for the write lock on labels by process ")
    assert line.endswith("editing labels (running)")


def clear_locks(lab, **config):
    job = build_defs(resources_for(lab.store)).resolve_job_def("job_clearlocks")
    loggers = {"console": {"config": {"log_level": "CRITICAL"}}}
    run_config = {"ops": {"clear_locks": {"config": config}}, "loggers": loggers}
    return job.execute_in_process(instance=lab.instance, run_config=run_config, raise_on_error=False)


def metadata(result):
    (event,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT]
    return {name: each.value for name, each in event.step_output_data.metadata.items()}


DIES = """
import os, signal, sys
from pathlib import Path
from assay.storage.locks.acquire import hold
with hold(Path(sys.argv[1]), "labels", "write", "editing"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(lab):
    """A lock whose holder was killed."""

    process = subprocess.Popen([sys.executable, "-c", DIES, str(lab.store.path / NAMED)])
    assert process.wait() == -signal.SIGKILL
    return process.pid


@pytest.mark.defect("B6")
def test_job_clearlocks_clears_the_locks_of_dead_holders_and_lists_them(lab, killed):
    result = clear_locks(lab)
    assert result.success
    assert metadata(result)["count"] == 1
    assert f"- write lock on named/labels by process {killed}" in metadata(result)["cleared"]
    assert holders(lab.store.path / "locks") == []
    assert metadata(clear_locks(lab)) == {"count": 0, "cleared": "nothing"}


@pytest.mark.defect("B6")
def test_job_clearlocks_fails_with_the_names_of_living_holders_unless_forced(lab):
    with hold(lab.store.path / NAMED, "labels", "read", "reading labels"):
        refused = clear_locks(lab, locks=["named/*"])
        assert not refused.success
        assert "Clearing locks: Nothing was cleared, because these may be at work:" in lab.failure(refused)
        assert "reading labels (running)" in lab.failure(refused)
        forced = clear_locks(lab, locks=["named/*"], force=True)
        assert metadata(forced)["count"] == 1
    with hold(lab.store.path / NAMED, "labels", "write", timeout_s=0):
        pass
