"""What `assay doctor` finds in a storage: each damage in one sentence with its remedy, and nothing is changed."""

import json
import os
from pathlib import Path

import pytest

from assay.experiments.contents import stage_results
from assay.experiments.health import check_disk, check_file_system, check_storage, file_system_of
from assay.storage.files import write_json, write_text
from tests.helpers.stored_experiments import contents

LONG_AGO = 1_600_000_000


def look(lab, deep=False):
    """Return what is found, but that all is well: area and text by level."""
    found = list(check_storage(lab.root, lab.specs, deep))
    assert {each.level for each in found} <= {"ok", "note", "problem"}
    return [(each.area, each.text) for each in found if each.level != "ok"]


def result(lab, name="one", stage="splits"):
    return stage_results(lab.root, name)[stage].folder


@pytest.mark.parametrize("deep", [False, True])
def test_a_storage_in_order_has_no_findings_and_is_left_as_it_was(lab, deep):
    before = contents(lab.root)
    assert look(lab, deep) == []
    assert contents(lab.root) == before
    told = {each.area: each.text for each in check_storage(lab.root, lab.specs, deep)}
    assert told["results"].startswith("6 of 6 results have ")
    assert told["records"].startswith("2 experiments; ")
    assert told["tables"] == "2 of 2 partitions of 1 tables are as they were stored."


def test_no_storage_is_no_problem(lab):
    (found,) = check_storage(lab.root / "nowhere", lab.specs)
    assert (found.level, found.text.endswith("the first run makes it. Elsewhere: ASSAY_STORAGE.")) == ("note", True)


def change_size(folder):
    (folder / "file").unlink()
    (folder / "file").write_text("other size")


def change_bytes(folder):
    (folder / "file").unlink()
    (folder / "file").write_text("x")


def rewrite_manifest(folder, **values):
    path = folder / "manifest.json"
    write_json(path, {**json.loads(path.read_text()), **values})


def replace_by_pipe(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


@pytest.mark.parametrize(
    ("damage", "deep", "told"),
    [
        (change_size, False, "file has 10 bytes instead of 1. Delete this folder: splits is then made again."),
        (change_bytes, True, "file has changed. Delete this folder: splits is then made again."),
        (lambda folder: (folder / "file").unlink(), False, "file is missing. Delete this folder"),
        (lambda folder: (folder / "a\nb").touch(), False, "a\\nb is not in the manifest. Delete this folder"),
        (lambda folder: (folder / "manifest.json").unlink(), False, "it has no manifest.json. Delete this folder"),
        (lambda folder: rewrite_manifest(folder, stage="crops"), False, "its manifest.json is that of crops "),
        (lambda folder: write_text(folder / "manifest.json", "[" * 100_000), False, "is JSON of too many nested"),
        (replace_by_pipe, False, "is a pipe (FIFO); expected a regular file. Delete this folder"),
    ],
)
def test_a_damaged_result_is_named_with_what_to_do(lab, damage, deep, told):
    folder = result(lab)
    damage(folder)
    found = [text for area, text in look(lab, deep) if area == "results"]
    assert len(found) == 1
    assert found[0].startswith(f"{folder}: ")
    assert told in found[0]


def test_changed_bytes_of_the_same_size_need_a_deep_look(lab):
    change_bytes(result(lab))
    assert look(lab) == []


def test_many_damages_are_counted(lab):
    for number in range(30):
        (result(lab).parent / f"{number:024x}").mkdir()
    found = [text for area, text in look(lab) if area == "results"]
    assert len(found) == 11
    assert found[-1] == "… and 20 more of this kind."


def test_a_pointer_to_a_result_that_is_gone_says_what_makes_it_again(lab):
    gone = result(lab)
    gone.rename(lab.folder / "elsewhere")
    (found,) = (text for area, text in look(lab) if area == "records")
    assert f"pointers/one/splits.json leads to splits {gone.name}, which is gone" in found
    assert found.endswith("Make it again: assay run one")


def test_a_damaged_record_is_named(lab):
    write_text(lab.root / "pointers" / "one" / "splits.json", "{")
    (found,) = (text for area, text in look(lab) if area == "records")
    assert "pointers/one/splits.json: is no JSON" in found


def test_a_table_that_was_changed_is_named_and_others_are_looked_at(lab):
    paths = sorted((lab.root / "tables").rglob("*.parquet"))
    for path in paths:
        path.write_bytes(b"mine")
    found = [text for area, text in look(lab) if area == "tables"]
    assert len(found) == len(paths) == 2


def test_an_index_that_can_not_be_read_is_made_anew(lab):
    (lab.root / "warehouse.duckdb").write_bytes(b"no database")
    (found,) = look(lab)
    assert found[0] == "index"
    assert found[1].endswith("The next query makes it anew from the tables, or: assay sql --rebuild")


def test_holders_that_died_and_leftovers_are_notes_with_the_command(lab):
    note = {
        "mode": "write",
        "host": os.uname().nodename,
        "pid": 1,
        "since": "2026-01-02T03:04:05+00:00",
        "purpose": "x",
    }
    write_json(lab.root / "locks" / "splits" / "abc.lock.0123456789ab.holder", note)
    left = result(lab).parent / ".tmp-1-0123456789ab-left"
    left.mkdir()
    os.utime(left, (LONG_AGO, LONG_AGO))
    found = dict(look(lab))
    assert found["locks"].startswith("Left by a process that died: write lock on splits/abc by process 1 on ")
    assert found["locks"].endswith("(dead). Next: assay locks --clear")
    assert found["leftovers"] == f"1 left by killed processes, such as {left}. Next: assay gc"


def test_a_wrong_marker_of_the_locks_stops_no_other_look(lab):
    write_text(lab.root / "locks" / "shared.yaml", "heartbeat_s: never\n")
    (found,) = look(lab)
    assert found[0] == "locks"
    assert "shared.yaml: heartbeat_s: " in found[1]


def test_a_folder_of_experiments_that_is_missing_is_a_note(lab):
    lab.specs.folder.rename(lab.folder / "other")
    found = dict(look(lab))
    assert found["records"].endswith("'assay new TASK' makes it; elsewhere: ASSAY_EXPERIMENTS.")


def test_the_file_system_of_this_machine_can_do_all_and_nothing_is_left(tmp_path):
    (found,) = check_file_system(tmp_path)
    assert (found.level, found.area) == ("ok", "file system")
    assert list(tmp_path.iterdir()) == []
    assert list(check_file_system(tmp_path / "nowhere")) == []
    assert not (tmp_path / "nowhere").exists()


def test_a_network_file_system_needs_locks_by_heartbeats(tmp_path):
    *_, found = check_file_system(tmp_path, "nfs4")
    assert found.level == "problem"
    assert "is on a network file system (nfs4), where locks of the operating system may not hold" in found.text
    assert found.text.endswith("Next, while nothing runs: assay locks --shared")
    write_text(tmp_path / "locks" / "shared.yaml", "")
    assert {each.level for each in check_file_system(tmp_path, "nfs4")} == {"ok"}


def test_mounts_are_read_with_their_spaces_and_the_nearest_one_counts(tmp_path):
    place = tmp_path / "our data"
    place.mkdir()
    shown = str(place).replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {shown} rw,x master:1 - nfs4 host:/a rw\n")
    assert file_system_of(place / "not-yet", mounts) == "nfs4"
    assert file_system_of(tmp_path, mounts) == "ext4"
    assert file_system_of(place, tmp_path / "none") == ""


def test_the_disk_is_that_of_the_nearest_folder_that_exists(tmp_path):
    found = list(check_disk(tmp_path / "not" / "yet"))
    assert f"are free at {tmp_path}" in found[0].text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux says so")
def test_the_kind_of_a_file_system_is_that_of_the_nearest_mount():
    assert file_system_of(Path("/proc/self")) == "proc"
