"""The locks of ``filelock_dict``: all or none, never a circle, and an error that says what to do."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from assay.errors import SpecError, StorageError
from assay.experiments.locks import lock_folder_of, lock_folders, named_locks
from assay.spec.experiment import FileLockSpec
from assay.spec.loading import spec_from
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import heartbeat_of, holders


def here(root):
    return Locations(root / "locations.yaml", root)


def locks(**locations):
    return {key: FileLockSpec(kind="write", location=place, timeout_s=20) for key, place in locations.items()}


def test_all_are_held_for_the_block_and_released_after_it(tmp_path):
    wanted = {"b": FileLockSpec(kind="write", location="team/b"), "a": FileLockSpec(location="a")}
    with named_locks(here(tmp_path), wanted, "crops of ab12"):
        held = holders(tmp_path / "locks")
        assert [(each.lock, each.mode) for each in held] == [("named/a", "read"), ("named/team/b", "write")]
        assert {each.purpose for each in held} == {"crops of ab12"}
    assert holders(tmp_path / "locks") == []


@pytest.mark.defect("B4")
def test_when_the_second_is_not_free_the_first_is_released_and_the_error_says_what_to_do(tmp_path):
    wanted = {"first": FileLockSpec(location="a"), "labels": FileLockSpec(location="b", timeout_s=0.1)}
    reason = r"filelock_dict.labels: The read lock on b was not free within 0.1 s. Held by: write lock on b by process"
    with hold(lock_folder_of(here(tmp_path), "b"), "b", "write", "editing"):
        with pytest.raises(StorageError, match=reason) as caught, named_locks(here(tmp_path), wanted, "crops"):
            pytest.fail("worked without a lock")
        assert [each.lock for each in holders(tmp_path / "locks")] == ["named/b"]
    assert "editing (running). Run again when it is free, or raise filelock_dict.labels.timeout_s" in str(caught.value)


@pytest.mark.defect("B4")
def test_a_failure_inside_releases_all_and_keeps_its_own_reason(tmp_path):
    with pytest.raises(StorageError, match=r"^disk full$"), named_locks(here(tmp_path), locks(a="x", b="y"), "crops"):
        raise StorageError("disk full")
    assert holders(tmp_path / "locks") == []


def test_two_that_name_the_same_locations_in_another_order_never_wait_in_a_circle(tmp_path):
    def work(wanted):
        for _ in range(15):
            with named_locks(here(tmp_path), wanted, "work"):
                pass
        return "done"

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(work, wanted) for wanted in (locks(a="x", b="y"), locks(a="y", b="x"))]
        assert [each.result(timeout=30) for each in both] == ["done", "done"]


@pytest.mark.parametrize("location", ["", "../x", "a/../../x", "a//b", "a/", "/a", "a b", "a/.b", "x" * 201, "a\n"])
def test_a_location_that_would_leave_its_folder_is_refused(location):
    with pytest.raises(SpecError, match=r"filelock_dict.*location: got"):
        spec_from({"task": "regression", "filelock_dict": {"key": {"location": location}}}, "x.yaml")


def test_two_keys_for_one_location_are_refused(tmp_path):
    twice = {"one": {"location": "labels"}, "two": {"location": "labels", "kind": "write"}}
    with pytest.raises(SpecError, match=r"filelock_dict.one and filelock_dict.two lock the same location, 'labels'"):
        spec_from({"task": "regression", "filelock_dict": twice}, "x.yaml")


def test_a_lock_on_a_location_that_machines_share_lies_there_and_lives_by_heartbeats(tmp_path):
    (tmp_path / "team").mkdir()
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        root.mkdir()
        (root / "locations.yaml").write_text(f"team: {{url: {tmp_path / 'team'}, shared: true}}\n")
    wanted = {"data": FileLockSpec(kind="write", location="team", timeout_s=0.3)}
    with named_locks(here(one), wanted, "crops of ab12"):
        assert heartbeat_of(tmp_path / "team" / ".locks") is not None
        assert [each.lock for each in holders(lock_folders(here(other))["team"])] == ["team"]
        with (
            pytest.raises(StorageError, match=r"write lock on team .*crops of ab12"),
            named_locks(here(other), wanted, "x"),
        ):
            pytest.fail("both hold it")
    with named_locks(here(other), wanted, "x"):
        pass


def test_only_folders_can_be_shared(tmp_path):
    (tmp_path / "locations.yaml").write_text("team: {url: 's3://b/x', shared: true}")
    with pytest.raises(SpecError, match="shared is true, but url is no folder"):
        here(tmp_path).names()
