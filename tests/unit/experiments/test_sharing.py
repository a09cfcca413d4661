"""Experiments of a storage in a bucket: what one machine made, the others have, whole; killed runs are made good."""

import multiprocessing
import shutil
import threading
import time
from dataclasses import dataclass

import polars as pl
import pytest

from assay.errors import StorageError
from assay.experiments.boards import Boards, BoardState
from assay.experiments.checks import require_passed, store_verdict
from assay.experiments.contents import TABLES, read_pointer, stage_results, stored_fingerprints
from assay.experiments.deployment import check_bucket
from assay.experiments.folders import ExperimentFolders
from assay.experiments.garbage import forget_experiment
from assay.experiments.locks import lock_folder_of, lock_folders
from assay.experiments.sharing import _leased, begin_run, end_runs, refresh, refresh_for_run, sharing, unpublished
from assay.pipeline import StageConfig
from assay.storage.bucket import Bucket
from assay.storage.files import MANIFEST, write_text
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import hold
from assay.storage.parquet import StoredTable
from assay.storage.partitions import place_of
from assay.storage.remote import connect_bucket, remote_of
from assay.storage.warehouse.query import query
from tests.helpers.results import Section
from tests.helpers.servers import wait_until
from tests.helpers.small_storage import Lab

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Machine(Lab):
    """A machine with a cache of its own."""

    url: str = ""

    def run(self, name, digest="d"):
        """Run an experiment of data stages and an analysis, as a run does."""
        begin_run(self.root, name, self.spec(name))
        try:
            return self.work(name, digest)
        finally:
            end_runs(self.root)

    def work(self, name, digest="d", value=None):
        """Work as a run does; with a value, its analysis is made anew and has this one."""
        results = super().run(name, digest)
        config = StageConfig(name, "analysis", "regression", 42, Section(clear_folder=value is not None), digest)
        publish = lambda result: ExperimentFolders(self.root).publish(name, result)  # noqa: E731
        with self.store.build(config, {"crops": results["crops"]}, publish=publish) as build:
            if build.needed:
                pl.DataFrame({"value": [value or len(digest)]}).write_parquet(build.folder / TABLES["analysis"])
                build.report = {"summary": f"of {digest}", "next": ""}
        stored = StoredTable(build.result.folder / TABLES["analysis"], build.result.fingerprint)
        place_of(self.root, "main", "analysis", "experiment_id", name).write(stored)
        write_text(self.path(name) / "notes.txt", f"by {self.folder.name}")
        (self.path(name) / "large.bin").write_bytes(bytes(range(256)) * 1024)
        return stage_results(self.root, name)


@pytest.fixture
def url(s3):
    return s3.new_prefix()


@pytest.fixture
def machine(url, tmp_path):
    """Give ``machine(name)``: a machine that has entered nothing yet."""

    def make(name):
        made = Machine(tmp_path / name, url)
        connect_bucket(url, made.root)
        write_text(made.root / "locks" / "s3" / "shared.yaml", f"heartbeat_s: 0.1\nstale_after_s: 1\ns3: {url}\n")
        return made

    return make


def values_of(machine):
    return dict(query(machine.root, "select experiment_id, value from analysis").rows())


def folder_of(machine, name):
    folder = machine.path(name)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_sees_folder_results_tables_pointers_and_verdicts(machine):
    one, two = machine("one"), machine("two")
    made = one.run("ab12")
    with sharing(one.root, "ab12", "testing"):
        store_verdict(one.root, "ab12", "split_leakage", "splits", made["splits"].fingerprint, ["items leak"])
    refresh(two.root)
    assert folder_of(two, "ab12") == folder_of(one, "ab12")
    assert stage_results(two.root, "ab12") == {"analysis": stage_results(two.root, "ab12")["analysis"]}
    assert stored_fingerprints(two.root, "ab12")["analysis"] == made["analysis"].fingerprint
    assert read_pointer(two.root, "ab12", "crops").fingerprint == made["crops"].fingerprint  # fetched when asked for
    with pytest.raises(Exception, match="failed a blocking test"):
        require_passed(two.root, "ab12", {"splits": made["splits"].fingerprint})
    assert query(two.root, "select experiment_id, value from analysis").rows() == [("ab12", 1)]


def test_what_did_not_change_is_not_brought_again(machine, monkeypatch):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    refresh(two.root)
    asked, ask = [], Bucket._ask
    monkeypatch.setattr(
        Bucket, "_ask", lambda bucket, what, request: (asked.append(what), ask(bucket, what, request))[1]
    )
    refresh(two.root)
    assert asked == ["list", "list"]


def test_a_second_run_elsewhere_finds_everything_and_its_changes_come_back(machine):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    before = stage_results(one.root, "ab12")
    two.run("ab12")
    assert two.path("ab12").name == one.path("ab12").name
    assert {name: result.fingerprint for name, result in stage_results(two.root, "ab12").items()} == {
        name: result.fingerprint for name, result in before.items()
    }
    refresh(one.root)
    assert (one.path("ab12") / "notes.txt").read_text() == "by two"
    two.run("ab12", "other")
    refresh(one.root)
    assert stage_results(one.root, "ab12")["analysis"].report["summary"] == "of other"
    assert folder_of(one, "ab12") == folder_of(two, "ab12")


def test_one_experiment_runs_on_one_machine_at_a_time(machine):
    one, two = machine("one"), machine("two")
    told = []
    begin_run(one.root, "ab12", one.spec("ab12"))
    begin_run(one.root, "ab12", one.spec("ab12"))  # as other parts of the same run do

    def waiting(holder):
        told.append(holder)
        one.work("ab12")
        end_runs(one.root)

    begin_run(two.root, "ab12", two.spec("ab12"), waiting)
    assert told[0].startswith("write lock on experiments/ab12 by process ")
    assert (two.path("ab12") / "notes.txt").read_text() == "by one"
    end_runs(two.root)


def test_what_a_killed_run_left_is_published_by_the_next_command_or_gives_way_to_what_others_did(machine):
    one, two = machine("one"), machine("two")

    remote = remote_of(one.root)

    def killed(name):
        with _leased(remote, name, "running"):
            one.work(name)
            remote.bucket.put(f"locks/experiments/{name}.lock", b'{"fence": 9}')  # taken over, and free again

    for name in ("ab12", "cd34"):
        with pytest.raises(StorageError, match="was lost while it was held"):
            killed(name)
    assert unpublished(one.root) == ["ab12", "cd34"]
    two.run("ab12")
    refresh(one.root)
    assert unpublished(one.root) == []
    assert folder_of(one, "ab12") == folder_of(two, "ab12")
    folders = [path for path in (one.root / "experiments").iterdir() if any(path.rglob("*.yaml"))]
    assert len(folders) == 2  # that which it began itself is gone
    refresh(two.root)
    assert folder_of(two, "cd34") == folder_of(one, "cd34")


def test_a_machine_that_was_taken_for_dead_does_not_undo_what_others_did(machine):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    begin_run(one.root, "ab12", one.spec("ab12"))
    remote_of(one.root).bucket.put("locks/experiments/ab12.lock", b'{"fence": 9}')
    two.run("ab12", "other")
    one.work("ab12")
    with pytest.raises(
        StorageError, match=r"was taken over by another machine, which took this one for dead; what that one makes"
    ):
        end_runs(one.root)
    refresh(one.root)
    assert stage_results(one.root, "ab12")["analysis"].report["summary"] == "of other"


def test_a_command_beside_a_run_that_was_taken_for_dead_does_not_let_it_undo_what_others_did(machine):
    one, two, three = machine("one"), machine("two"), machine("three")
    one.run("ab12")
    begin_run(one.root, "ab12", one.spec("ab12"))
    one.work("ab12")
    before = folder_of(one, "ab12")
    remote_of(one.root).bucket.put("locks/experiments/ab12.lock", b'{"fence": 9}')
    two.run("ab12", "other")
    refresh(one.root)  # as the dashboard does every few seconds
    refresh_for_run(one.root, "ab12", one.spec("ab12"))
    assert folder_of(one, "ab12") == before
    write_text(one.path("ab12") / "notes.txt", "more")
    with pytest.raises(StorageError, match="was taken over by another machine"):
        end_runs(one.root)
    refresh(three.root)
    assert folder_of(three, "ab12") == folder_of(two, "ab12")
    assert stage_results(three.root, "ab12")["analysis"].report["summary"] == "of other"


def test_a_run_that_was_taken_for_dead_does_not_publish_before_the_one_that_took_over(machine):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    begin_run(one.root, "ab12", one.spec("ab12"))
    one.work("ab12", "late")
    remote_of(one.root).bucket.put("locks/experiments/ab12.lock", b'{"fence": 9}')
    begin_run(two.root, "ab12", two.spec("ab12"))
    with pytest.raises(StorageError, match="was taken over by another machine"):
        end_runs(one.root)
    two.work("ab12", "other")
    end_runs(two.root)
    refresh(one.root)
    assert unpublished(one.root) == []
    assert folder_of(one, "ab12") == folder_of(two, "ab12")


def test_a_result_that_was_made_anew_with_other_bytes_is_that_of_all_machines(machine):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    refresh(two.root)
    with sharing(one.root, "ab12", "making anew"):
        one.work("ab12", value=7)
    refresh(two.root)
    assert values_of(two) == values_of(one) == {"ab12": 7}
    assert folder_of(two, "ab12") == folder_of(one, "ab12")


def test_a_result_that_was_made_anew_for_one_experiment_leaves_others_as_they_were(machine):
    one, two = machine("one"), machine("two")
    for name in ("ab12", "cd34"):
        one.run(name)
    before = folder_of(one, "ab12")
    with sharing(one.root, "cd34", "making anew"):
        one.work("cd34", value=7)
    three = machine("three")
    refresh(three.root)
    assert folder_of(three, "ab12") == before
    with sharing(one.root, "ab12", "noting"):
        write_text(one.path("ab12") / "notes.txt", "more")
    refresh(two.root)
    assert values_of(three) == values_of(two) == values_of(one) == {"ab12": 1, "cd34": 7}
    assert folder_of(two, "ab12") == folder_of(one, "ab12") == {**before, "notes.txt": b"more"}
    assert folder_of(two, "cd34") == folder_of(one, "cd34")


def test_a_result_that_is_being_read_is_not_waited_for(machine):
    """As by a training, which reads its data for hours, while every command looks what other machines did."""
    one, two = machine("one"), machine("two")
    one.run("ab12")
    two.run("cd34")
    with sharing(one.root, "ab12", "making anew"):
        one.work("ab12", value=7)
    one.run("ef56", "other")
    with two.store.reading(stage_results(two.root, "cd34")["analysis"]):
        refreshing = threading.Thread(target=refresh, args=(two.root,), daemon=True)
        refreshing.start()
        refreshing.join(60)
        assert not refreshing.is_alive()
    assert values_of(two) == {"ab12": 7, "cd34": 1, "ef56": 5}


def test_what_a_shared_result_cost_stays_when_one_of_its_experiments_has_another(machine):
    one, two = machine("one"), machine("two")
    for name in ("ab12", "cd34"):
        one.run(name)
    costs = stage_results(one.root, "cd34")["analysis"].cost_file.relative_to(one.root)
    refresh(two.root)
    one.run("ab12", "other")
    refresh(two.root)
    assert (two.root / costs).read_bytes() == (one.root / costs).read_bytes()


def test_a_file_whose_name_others_refuse_is_told_where_it_is_and_published_by_nobody(machine):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    for name in ("a\\b.txt", "a\udcff.txt"):
        refused = pytest.raises(StorageError, match=r"a name that other machines don't take. Rename or delete it, then")
        with refused, sharing(one.root, "ab12", "noting"):
            (one.path("ab12") / name).write_text("x")
        (one.path("ab12") / name).unlink()
    refresh(two.root)
    assert folder_of(two, "ab12") == folder_of(one, "ab12")


def test_a_damaged_experiment_is_told_after_all_others_were_entered(machine, url):
    one, two = machine("one"), machine("two")
    for name in ("ab12", "cd34"):
        one.run(name)
    Bucket.at(url).put("experiments/ab12.json", b"{")
    with pytest.raises(StorageError, match=r"experiments/ab12.json"):
        refresh(two.root)
    assert folder_of(two, "cd34") == folder_of(one, "cd34")
    Bucket.at(url).put("experiments/Notes.json", b"{}")
    with pytest.raises(
        StorageError, match=r"/experiments/Notes.json is no experiment's. Delete it there, and run again"
    ):
        refresh(two.root)


def test_a_lost_cache_comes_back_from_the_bucket(machine):
    one = machine("one")
    one.run("ab12")
    before = folder_of(one, "ab12")
    other = machine("again")
    shutil.rmtree(one.root)
    refresh_for_run(other.root, "ab12", other.spec("ab12"))
    assert folder_of(other, "ab12") == before


def test_boards_and_removals_are_those_of_all_machines(machine):
    one, two = machine("one"), machine("two")
    state = BoardState(task="regression", metric="mae", subset="test", history=[], passed_over=[])
    with Boards(one.root).changing("main"):
        Boards(one.root).store("main", state)
    one.specs.tombstones.add("gone", "digest")
    refresh(two.root)
    assert Boards(two.root).state("main") == state
    assert two.specs.tombstones.ids() == {"gone"}
    assert two.specs.tombstones.restore("gone")
    refresh(one.root)
    assert one.specs.tombstones.ids() == set()


def test_deleting_is_refused_with_a_way_out(machine):
    one = machine("one")
    one.run("ab12")
    with pytest.raises(StorageError, match=r"is not supported for a storage in a bucket .* To free .* assay gc"):
        forget_experiment(one.root, one.specs, "ab12")


def test_what_the_bucket_has_can_leave_the_cache_and_comes_back(machine, url):
    one = machine("one")
    made = one.run("ab12")
    with sharing(one.root, "ab12", "running"):
        kept = one.collect()
    assert {each.reason for each in kept} == {"a run of ab12 on this machine may need it"}
    Bucket.at(url).put(f"results/splits/{made['splits'].fingerprint}/{MANIFEST}", b"{}")
    garbage = one.find()
    assert {item.path.parent.name for item in garbage} == {"generated_images", "splits", "crops"}
    assert all(item.size_bytes > 0 for item in garbage)
    before = folder_of(one, "ab12")
    (kept,) = one.collect(garbage)
    assert (kept.path, kept.reason) == (made["splits"].folder, f"{url} does not have it as it is here")
    assert not made["crops"].folder.exists()
    assert folder_of(one, "ab12") == before
    assert read_pointer(one.root, "ab12", "crops").folder == made["crops"].folder
    assert made["crops"].folder.exists()


def test_what_is_also_among_the_users_data_frees_nothing_and_stays(machine):
    one = machine("one")
    made = one.run("ab12")
    for path in [path for path in made["crops"].folder.iterdir() if path.is_file()]:
        (one.folder / f"own-{path.name}").hardlink_to(path)
    assert {item.path.parent.name for item in one.find()} == {"generated_images", "splits"}


def test_named_locks_are_those_of_all_machines(machine, tmp_path):
    one, two = (Locations(tmp_path / "none.yaml", machine(name).root) for name in ("one", "two"))
    with hold(lock_folder_of(one, "team/labels"), "team/labels", "write", "labels"):
        with pytest.raises(StorageError, match=r"write lock on named/team/labels by process .* labels \(running\)"):
            hold(lock_folder_of(two, "team/labels"), "team/labels", "read", timeout_s=0).__enter__()
        assert list(lock_folders(two)) == ["", "s3"]


def test_a_record_that_would_write_elsewhere_is_refused(machine, url):
    one, two = machine("one"), machine("two")
    one.run("ab12")
    bucket = Bucket.at(url)
    text = bucket.get("experiments/ab12.json").content.decode()
    for name in ("tables/main/x", "pointers/other/crops.json", "../x"):
        bucket.put("experiments/ab12.json", text.replace("pointers/ab12/crops.json", name).encode())
        with pytest.raises(StorageError, match=r"experiments/ab12.json"):
            refresh(two.root)
    assert not (two.root / "experiments_index").exists()


def test_the_doctor_says_that_a_bucket_can_be_used_and_what_waits(machine, url, monkeypatch):
    one = machine("one")
    monkeypatch.setenv("ASSAY_CACHE", str(one.root))
    (found,) = check_bucket(url)
    assert (found.level, found.text) == (
        "ok",
        f"{url} can be listed, read, written and emptied, and heeds conditions.",
    )
    write_text(one.root / ".remote" / "outbox" / "ab12", "")
    assert "have not published ab12" in list(check_bucket(url))[1].text


def test_who_was_killed_on_this_machine_is_not_waited_for(machine):
    one = machine("one")
    marker = one.root / "locks" / "s3" / "shared.yaml"
    write_text(marker, marker.read_text().replace("stale_after_s: 1", "stale_after_s: 3600"))
    process = multiprocessing.get_context("spawn").Process(target=_work_until_killed, args=(one,))
    process.start()
    wait_until(lambda: (one.root / "works").exists(), "the other process works")
    refresh(one.root)
    assert unpublished(one.root) == ["ab12"]  # it lives
    process.kill()
    process.join()
    refresh(one.root)
    assert unpublished(one.root) == []
    two = machine("two")
    refresh(two.root)
    assert folder_of(two, "ab12") == folder_of(one, "ab12")


def _work_until_killed(machine):
    connect_bucket(machine.url, machine.root)
    begin_run(machine.root, "ab12", machine.spec("ab12"))
    machine.work("ab12")
    write_text(machine.root / "works", "")
    time.sleep(600)
