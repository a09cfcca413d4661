"""Garbage is looked at again under its lock; what is in doubt stays, and nothing outside of the storage goes."""

import json
import os
import shutil
import time
from functools import partial

import pytest

from assay.errors import StorageError
from assay.experiments.contents import stage_results
from assay.experiments.folders import ExperimentFolders
from assay.experiments.garbage import collect_garbage, survey
from assay.pipeline import StageConfig
from assay.storage.files import write_json, write_text
from assay.storage.locks.acquire import hold
from assay.storage.partitions import place_of
from assay.storage.results import SCRATCH
from tests.helpers.commands import run_command
from tests.helpers.small_storage import Section
from tests.helpers.stored_experiments import contents

LONG_AGO = time.time() - 30 * 24 * 3600


def test_nothing_of_living_experiments_is_garbage(lab):
    assert survey(lab.root, lab.specs) == ([], [])


def test_a_removed_experiment_goes_with_everything_that_only_it_used(lab):
    gone, kept = lab.path("one"), stage_results(lab.root, "two")
    lab.spec("one").unlink()
    assert {item.kind for item in lab.find()} == {"experiment", "result"}
    assert lab.collect() == []
    assert not gone.exists()
    assert lab.find() == []
    assert stage_results(lab.root, "two") == kept
    assert [path.name for path in (lab.root / "experiments_index").iterdir()] == ["two.json"]
    assert not list(lab.root.glob("tables/*/*/experiment_id=one"))
    assert lab.specs.tombstones.ids() == {"one"}


def test_a_spec_that_was_put_back_keeps_everything(lab):
    before = contents(lab.root)
    text = lab.spec("one").read_text()
    lab.spec("one").unlink()
    garbage = lab.find()
    lab.spec("one").write_text(text)
    kept = lab.collect(garbage)
    assert len(kept) == len(garbage) == 4
    assert not any(each.failed for each in kept)
    assert {name for name in contents(lab.root) if "locks/" not in name} >= {n for n in before if "locks/" not in n}
    assert lab.specs.tombstones.ids() == set()


def test_what_a_new_experiment_shares_by_now_is_kept(lab):
    lab.spec("one").unlink()
    garbage = lab.find()
    shared = lab.run("three", "1")
    kept = lab.collect(garbage)
    assert {each.path for each in kept} == {result.folder for result in shared.values()}
    assert {each.reason for each in kept} == {"an experiment uses it by now"}
    assert stage_results(lab.root, "three") == shared


def test_an_experiment_that_begins_while_nobody_refers_to_a_result_keeps_it(lab):
    """Between finding a result and publishing it, its lock says that it is used."""
    lab.spec("one").unlink()
    garbage = [item for item in lab.find() if item.kind == "result"]
    kept = []
    config = StageConfig("three", "generated_images", "regression", 42, Section(), "1")
    with lab.store.build(config, {}, publish=lambda _: kept.extend(lab.collect(garbage))) as build:
        assert not build.needed
    assert [each.path for each in kept] == [build.result.folder]
    assert "in use" in kept[0].reason
    assert build.result.folder.exists()


def test_a_result_that_no_experiment_names_yet_is_young(lab):
    config = StageConfig("three", "splits", "regression", 42, Section(), "3")
    with lab.store.build(config, {}) as build:
        build.report = {}
    garbage = lab.find()
    assert [item.path for item in garbage] == [build.result.folder]
    os.utime(lab.specs.folder, (LONG_AGO, LONG_AGO))
    kept = collect_garbage(lab.root, lab.specs, garbage, settled_s=3600)
    assert [(each.path, each.reason) for each in kept] == [(build.result.folder, "it was made just now")]
    assert lab.collect(garbage) == []


def test_scratch_that_somebody_continues_is_kept(lab):
    scratch = lab.root / "data" / "trained_model" / SCRATCH / ("0" * 24)
    scratch.mkdir(parents=True)
    (scratch / "half").write_text("1")
    for path in (scratch / "half", scratch):
        os.utime(path, (LONG_AGO, LONG_AGO))
    garbage = lab.find()
    assert [item.path for item in garbage] == [scratch]
    (scratch / "half").write_text("2")
    assert [each.reason for each in lab.collect(garbage)] == ["somebody went on with it meanwhile"]
    assert scratch.exists()


@pytest.mark.parametrize("name", ["one.yaml~", ".one.yaml.swp", "#one.yaml#", "one.yml", "One.yaml", "one.yaml.orig"])
def test_a_file_that_may_become_the_spec_again_keeps_the_experiment(lab, name):
    lab.spec("one").rename(lab.specs.folder / name)
    garbage, problems = survey(lab.root, lab.specs)
    assert garbage == []
    assert problems == [f"experiment 'one' is kept: {lab.specs.folder / name} may be its spec file"]


@pytest.mark.parametrize("replace", [shutil.rmtree, lambda path: (shutil.rmtree(path), path.write_text(""))])
def test_without_the_folder_of_spec_files_nothing_is_garbage(lab, replace):
    garbage = lab.find()
    replace(lab.specs.folder)
    with pytest.raises(StorageError, match="every experiment would look removed"):
        lab.find()
    with pytest.raises(StorageError, match="Nothing was deleted"):
        lab.collect(garbage)


DAMAGED = {
    "the storage": ".",
    "above": "..",
    "beside": "../outside",
    "inside and out": "experiments/../../outside",
    "absolute": "/tmp",  # noqa: S108
    "a location": "experiments",
    "a location as a folder": "experiments/.",
    "the tables": "tables/main",
    "the locks": "locks/splits",
    "the index": "experiments_index/two.json",
    "results": "data/splits",
    "a number": 7,
    "a list": ["experiments"],
    "nothing": None,
    "a null byte": "experiments/a\0b",
    "a link out": "experiments/link",
    "below a link": "linked/folder",
}


@pytest.mark.parametrize("folder", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("is_alive", [False, True])
@pytest.mark.system
def test_a_damaged_entry_of_the_index_leads_nowhere(lab, folder, is_alive):
    outside = lab.folder / "outside" / "folder"
    write_text(outside / "mine", "mine")
    (lab.root / "experiments" / "link").symlink_to(outside)
    (lab.root / "linked").symlink_to(outside.parent)
    write_json(lab.root / "experiments_index" / "bad.json", {"run_id": "r", "folder": folder})
    if is_alive:
        lab.write("bad")
    before = {name: content for name, content in contents(lab.folder).items() if "locks/" not in name}
    garbage, problems = survey(lab.root, lab.specs)
    assert garbage == []
    assert is_alive or problems != []
    lab.collect(garbage)
    assert {name: content for name, content in contents(lab.folder).items() if "locks/" not in name} == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"folder": "experiments/x"}', "[" * 100_000])
def test_a_broken_entry_stops_nothing_else(lab, content):
    (lab.root / "experiments_index" / "bad.json").write_text(content)
    lab.spec("one").unlink()
    garbage, problems = survey(lab.root, lab.specs)
    assert {item.kind for item in garbage} == {"experiment", "result"}
    assert problems[0].startswith("experiment 'bad' is kept: ")
    assert lab.collect(garbage) == []


def test_the_folder_of_another_experiment_is_not_that_of_a_removed_one(lab):
    relative = lab.path("two").relative_to(lab.root).as_posix()
    write_json(lab.root / "experiments_index" / "bad.json", {"run_id": "r", "folder": relative})
    garbage, problems = survey(lab.root, lab.specs)
    assert garbage == []
    assert problems == [f"{lab.path('two')} is kept: it is also that of experiment 'two'"]


def test_a_folder_that_says_that_it_is_another_one_s_is_kept(lab):
    relative = lab.path("two").relative_to(lab.root).as_posix()
    write_json(lab.root / "experiments_index" / "bad.json", {"run_id": "r", "folder": relative})
    (lab.root / "experiments_index" / "two.json").unlink()
    garbage, problems = survey(lab.root, lab.specs)
    assert garbage == []
    assert "names two" in problems[0]


def damage_manifest(lab):
    (lab.path("two") / "manifest.json").write_text("{")


def lose_manifest(lab):
    (lab.path("two") / "manifest.json").unlink()


def damage_pointer(lab):
    (lab.root / "pointers" / "two" / "splits.json").write_text("[]")


def damage_index(lab):
    (lab.root / "experiments_index" / "two.json").write_text("")


def damage_a_result(lab):
    (stage_results(lab.root, "two")["crops"].folder / "manifest.json").write_text('{"ancestors": 7}')


def damage_the_record_of_the_source(lab):
    write_text(lab.root / "adopted" / "two.yaml", "found: 7")


def take_the_folder_away(lab):
    shutil.move(lab.path("two"), lab.folder)


@pytest.mark.parametrize(
    "damage",
    [
        damage_manifest,
        lose_manifest,
        damage_pointer,
        damage_index,
        damage_a_result,
        damage_the_record_of_the_source,
        take_the_folder_away,
    ],
)
def test_a_damaged_record_of_a_living_experiment_keeps_all_results_and_says_so(lab, damage):
    lab.spec("one").unlink()
    damage(lab)
    garbage, problems = survey(lab.root, lab.specs)
    assert [item.experiment_id for item in garbage] == ["one"]
    assert "nobody knows what is used" in problems[-1]
    assert lab.collect(garbage) == []


def test_a_lost_index_makes_no_result_look_unused(lab):
    shutil.rmtree(lab.root / "experiments_index")
    shutil.rmtree(lab.root / "pointers")
    assert survey(lab.root, lab.specs) == ([], [])


def test_a_damaged_spec_is_one_of_a_living_experiment(lab):
    lab.spec("one").write_bytes(b"\xff{")
    assert survey(lab.root, lab.specs) == ([], [])


def test_results_behind_a_link_are_somebody_else_s(lab):
    other = lab.folder / "other" / "splits" / ("0" * 24)
    write_text(other / "manifest.json", "{}")
    (lab.root / "elsewhere").symlink_to(lab.folder / "other")
    garbage, problems = survey(lab.root, lab.specs)
    assert garbage == []
    assert problems == [f"{lab.root / 'elsewhere'} is a link: nothing is deleted through links"]


def test_only_folders_named_by_a_fingerprint_are_results(lab):
    """An experiment's ID may be the name of a stage, and its folder that name alone."""
    lab.specs.folder.joinpath("splits.yaml").write_text('task: regression\nexp_folder_pattern: "$SHORT_ID"\n')
    ExperimentFolders(lab.root).open("splits", lab.specs.load("splits"))
    assert (lab.root / "experiments" / "splits" / "configs").exists()
    assert survey(lab.root, lab.specs) == ([], [])


def test_what_is_in_use_is_skipped_and_is_no_failure(lab):
    result = stage_results(lab.root, "one")["crops"]
    lab.spec("one").unlink()
    garbage = lab.find()
    with hold(lab.root / "locks", f"crops/{result.fingerprint}", "read"):
        kept = lab.collect(garbage)
    assert [(each.path, each.failed) for each in kept] == [(result.folder, False)]


def test_a_link_that_came_in_between_is_not_followed(lab):
    result = stage_results(lab.root, "one")["crops"]
    lab.spec("one").unlink()
    garbage = lab.find()
    shutil.move(result.folder, lab.folder / "moved")
    result.folder.symlink_to(lab.folder / "moved")
    before = contents(lab.folder / "moved")
    kept = lab.collect(garbage)
    assert [(each.path, each.failed) for each in kept] == [(result.folder, True)]
    assert "is a link" in kept[0].reason
    assert contents(lab.folder / "moved") == before


@pytest.fixture
def assay(lab, monkeypatch, capsys):
    """Give ``assay(…)``: the exit code, and what was printed."""
    for name in ("STORAGE", "EXPERIMENTS"):
        monkeypatch.setenv(f"ASSAY_{name}", str(lab.folder / name.lower()))
    monkeypatch.chdir(lab.folder)

    return partial(run_command, monkeypatch, capsys)


@pytest.mark.system
def test_a_failed_delete_is_told_and_fails_the_command(assay, lab):
    lab.spec("one").unlink()
    (lab.root / "pointers" / "one").rename(lab.folder / "moved")
    (lab.root / "pointers" / "one").symlink_to(lab.folder / "moved")
    code, text = assay("gc", "--yes")
    assert code == 1
    assert f"Failed: {lab.path('one')}: can't be deleted: " in text
    assert (lab.folder / "moved").exists()


def test_a_dry_run_deletes_nothing(assay, lab):
    lab.spec("one").unlink()
    before = contents(lab.root)
    code, text = assay("gc", "--dry-run")
    assert code == 0
    assert "4 folders, 0.0 MB, would be deleted." in text
    assert contents(lab.root) == before


@pytest.mark.system
def test_the_command_goes_on_beside_what_is_in_doubt(assay, lab):
    (lab.root / "experiments_index" / "bad.json").write_text("{")
    lab.spec("one").unlink()
    code, text = assay("gc", "--yes")
    assert code == 0
    assert "In doubt: experiment 'bad' is kept: " in text
    assert "Deleted 4 folders." in text


LEFTOVERS = {
    "spec files": "experiments/.three.4711.draft",
    "draft of a draft": "experiments/.tmp-7-0123456789ab-.three.4711.draft",
    "storage": "storage/.tmp-7-0123456789ab-source_digests.json",
    "warehouse": "storage/.tmp-7-0123456789ab-warehouse.duckdb",
    "index": "storage/experiments_index/.tmp-7-0123456789ab-three.json",
    "pointers": "storage/pointers/one/.tmp-7-0123456789ab-splits.json",
    "tombstones": "storage/tombstones/.tmp-7-0123456789ab-three",
    "result": f"storage/data/splits/.tmp-7-0123456789ab-{'0' * 24}/file",
    "location": "storage/experiments/.tmp-7-0123456789ab-REG-1/file",
    "import": "storage/experiments/.importing-three/file",
    "fetched": f"storage/adopted/.fetched/{'0' * 24}/file",
    "table": "storage/tables/main/experiments/.tmp-7-0123456789ab-experiment_id=three/file",
    "version": "storage/tables/main/experiments/experiment_id=one/version-0123456789ab/table.parquet",
    "folder": "FOLDER/predictions/.tmp-7-0123456789ab-predictions.parquet",
}


@pytest.mark.parametrize("name", LEFTOVERS.values(), ids=LEFTOVERS)
@pytest.mark.system
def test_what_a_killed_process_left_is_garbage_after_a_day(lab, name):
    path = lab.folder / name.replace("FOLDER", str(lab.path("one")))
    before = {name for name in contents(lab.folder) if "locks/" not in name}
    write_text(path, "half")
    assert lab.find() == []
    top = path if path.name.startswith(".") else path.parent
    for each in (path, top):
        os.utime(each, (LONG_AGO, LONG_AGO))
    garbage = lab.find()
    assert [item.path for item in garbage] == [top]
    assert lab.collect(garbage) == []
    assert {name for name in contents(lab.folder) if "locks/" not in name} == before


def test_the_current_version_of_a_table_is_no_leftover(lab):
    partition = place_of(lab.root, "main", "experiments", "experiment_id", "one")
    table = partition.current()
    assert table is not None
    for path in (table.path, table.path.parent):
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert lab.find() == []


def test_a_leftover_that_is_written_to_again_is_kept(lab):
    path = lab.root / "experiments_index" / ".tmp-7-0123456789ab-three.json"
    path.write_text("half")
    os.utime(path, (LONG_AGO, LONG_AGO))
    garbage = lab.find()
    path.write_text("more")
    assert [each.reason for each in lab.collect(garbage)] == ["somebody went on with it meanwhile"]


def test_a_damaged_entry_names_the_file_and_what_is_wrong(lab):
    entry = lab.root / "experiments_index" / "one.json"
    entry.write_text(json.dumps({"run_id": "r", "folder": "../x"}))
    with pytest.raises(StorageError, match=r"one\.json: 'folder': expected a location and the name of a folder there"):
        ExperimentFolders(lab.root).find("one")
