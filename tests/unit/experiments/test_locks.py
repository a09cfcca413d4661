"""The locks of ``filelock_dict``: all or none, never a circle, and an error that says what to do."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from assay.errors import SpecError, StorageError
from assay.experiments.locks import RunLocks, lock_folder_of, lock_folders, locks_of_run, named_locks
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


HELD = {"gpu": FileLockSpec(kind="write", location="gpu", hold="training_to_analysis")}
OTHERS = {"early": FileLockSpec(location="a"), "late": FileLockSpec(location="z")}


def held_in(root):
    return [(each.lock, each.purpose) for each in holders(root / "locks")]


def test_a_lock_from_training_to_analysis_is_never_free_in_between(tmp_path):
    run = RunLocks()
    with run.during(here(tmp_path), "crops", "ab12", HELD) as locks_of_stage:
        assert locks_of_stage == HELD
    assert held_in(tmp_path) == []
    for stage in ("trained_model", "predictions", "analysis"):
        with run.during(here(tmp_path), stage, "ab12", HELD) as locks_of_stage:
            assert locks_of_stage == {}
            assert held_in(tmp_path) == [("named/gpu", "training to analysis of ab12")]
            assert all(each.path.exists() for each in holders(tmp_path / "locks"))
        assert held_in(tmp_path) == ([] if stage == "analysis" else [("named/gpu", "training to analysis of ab12")])


def test_a_run_that_fails_or_makes_no_analysis_releases_its_locks_at_its_end(tmp_path):
    run = RunLocks()
    with pytest.raises(StorageError, match="disk full"), run.during(here(tmp_path), "trained_model", "ab12", HELD):
        raise StorageError("disk full")
    assert held_in(tmp_path) == [("named/gpu", "training to analysis of ab12")]  # it may be tried again
    run.release()
    run.release()
    assert held_in(tmp_path) == []


def test_locks_before_one_of_the_run_are_held_as_long_so_that_nobody_waits_in_a_circle(tmp_path):
    assert list(locks_of_run({**OTHERS, **HELD})) == ["early", "gpu"]
    assert locks_of_run(OTHERS) == {}
    run = RunLocks()
    with run.during(here(tmp_path), "predictions", "ab12", {**OTHERS, **HELD}) as locks_of_stage:
        assert list(locks_of_stage) == ["late"]
        assert [lock for lock, _ in held_in(tmp_path)] == ["named/a", "named/gpu"]
    run.release()


def test_a_lock_that_is_not_free_leaves_none_of_the_run_held(tmp_path):
    short = {"gpu": HELD["gpu"].model_copy(update={"timeout_s": 0.1})}
    run = RunLocks()
    with hold(lock_folder_of(here(tmp_path), "gpu"), "gpu", "read", "testing"):
        with (
            pytest.raises(StorageError, match=r"filelock_dict.gpu: The write lock on gpu was not free"),
            run.during(here(tmp_path), "trained_model", "ab12", {**OTHERS, **short}),
        ):
            pytest.fail("worked without a lock")
        assert [lock for lock, _ in held_in(tmp_path)] == ["named/gpu"]


def test_how_long_a_lock_is_held_is_written_only_where_it_is_not_the_default():
    assert "hold" not in FileLockSpec(location="a").model_dump()
    assert HELD["gpu"].model_dump()["hold"] == "training_to_analysis"


ADDED = """
from contextlib import contextmanager
from typing import Literal
from assay.spec.experiment import LockSection
from assay.spec.extensions import Extension
class Door(LockSection):
    kind: Literal["door"] = "door"
    answer: str = "open"
KIND = Extension(Door, "doors:enter")
@contextmanager
def enter(section, purpose):
    if section.answer == "late":
        raise TimeoutError("nobody came")
    if section.answer == "broken":
        raise KeyError("handle")
    yield
"""


@pytest.fixture
def door(install_package):
    install_package("assay.locks", "door", "doors:KIND", doors=ADDED)

    def lock(answer="open"):
        keys = {"door": {"kind": "door", "location": "house", "answer": answer}}
        return spec_from({"task": "regression", "filelock_dict": keys}, "x").filelock_dict

    return lock


def test_a_lock_of_a_package_is_held_and_listed_for_the_block(door, tmp_path):
    with named_locks(here(tmp_path), door(), "crops of ab12"):
        (holder,) = holders(tmp_path / "locks")
        assert (holder.lock, holder.mode, holder.purpose, holder.alive) == ("door/house", "door", "crops of ab12", True)
    assert holders(tmp_path / "locks") == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("late", r"filelock_dict.door: The lock 'door' on house was not free in time: nobody came. Run again when"),
        ("broken", r"filelock_dict.door: The lock 'door' on house can't be acquired: KeyError: 'handle'"),
    ],
)
def test_a_lock_of_a_package_that_can_not_be_held_is_one_error(door, tmp_path, answer, reason):
    with pytest.raises(StorageError, match=reason), named_locks(here(tmp_path), door(answer), "crops"):
        pytest.fail("worked without a lock")
    assert holders(tmp_path / "locks") == []
