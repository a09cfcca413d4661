"""What experiments cost: each result once, whoever uses it; told in SQL, taken along, and removed with the result."""

import os
import shutil
import time

import polars as pl
import pytest

from assay.experiments.costs import (
    COST_COLUMNS,
    estimated_cost,
    record_costs,
    stage_costs,
    total_cost,
    total_of_rows,
)
from assay.experiments.folders import cost_in
from assay.experiments.garbage import forget_experiment
from assay.experiments.leftovers import LEFTOVER_S
from assay.experiments.specs import SpecFiles
from assay.spec.loading import spec_from
from assay.storage import warehouse
from assay.storage.costs import cost_path
from tests.helpers.comparison_cases import run_all, values
from tests.helpers.small_storage import lab, pattern

__all__ = ["lab", "pattern"]


def test_a_shared_result_tells_what_it_cost_once_and_that_it_was_reused(lab):
    lab.run("three", "1")
    own, shared = stage_costs(lab.root, "one"), stage_costs(lab.root, "three")
    assert [each.stage for each in own] == ["generated_images", "splits", "crops"]
    assert [each.cost for each in shared] == [each.cost for each in own]
    assert {each.reused for each in own} == {False}
    assert {each.reused for each in shared} == {True}
    assert str(shared[0]).endswith("; made for one")
    assert total_cost([*own, *shared]) == total_cost(own)
    both = total_cost([*own, *stage_costs(lab.root, "two")])
    assert both.spent.wall_s > total_cost(own).spent.wall_s
    everything = [*own, *stage_costs(lab.root, "two")]
    assert both.size_bytes == sum(each.cost.size_bytes for each in everything)


def test_costs_are_a_table(lab):
    lab.run("three", "1")
    for name in ("one", "three"):
        record_costs(lab.root, name)
    rows = warehouse.query(lab.root, "select * from costs order by experiment_id, stage")
    assert set(rows.columns) == {"experiment_id", *COST_COLUMNS}
    assert rows["experiment_id"].to_list() == ["one"] * 3 + ["three"] * 3
    assert rows["reused"].to_list() == [False] * 3 + [True] * 3
    assert rows["built_for"].unique().to_list() == ["one"]
    assert rows["built_at"].dtype == pl.Datetime("us")
    assert (
        rows.filter(experiment_id="one")["wall_s"].to_list() == rows.filter(experiment_id="three")["wall_s"].to_list()
    )
    total = total_cost(stage_costs(lab.root, "one"))
    of_rows = total_of_rows(rows)
    assert of_rows.spent.wall_s == pytest.approx(total.spent.wall_s)
    assert (of_rows.size_bytes, of_rows.machines, of_rows.unknown) == (total.size_bytes, total.machines, ())


def test_a_table_that_is_up_to_date_is_not_written_again(lab):
    record_costs(lab.root, "one")
    (link,) = lab.root.glob("tables/main/costs/experiment_id=one/current")
    before = link.readlink()
    record_costs(lab.root, "one")
    assert link.readlink() == before
    lab.run("one", "2")
    record_costs(lab.root, "one")
    assert link.readlink() != before


def test_results_of_a_version_without_costs_are_not_recorded(lab):
    shutil.rmtree(lab.root / ".costs")
    for stage in ("generated_images", "splits", "crops"):
        cost_in(lab.path("one"), stage).unlink()
    costs = stage_costs(lab.root, "one")
    assert {(str(each), each.reused) for each in costs} == {("not recorded", None)}
    assert [each.size_bytes > 0 for each in costs] == [True] * 3
    record_costs(lab.root, "one")
    rows = warehouse.query(lab.root, "select * from costs")
    assert rows["wall_s"].null_count() == len(rows) == 3
    assert rows["note"].unique().to_list() == ["not recorded"]
    assert str(total_cost(costs)) == "not recorded"
    lab.run("one", "1")
    assert {str(each) for each in stage_costs(lab.root, "one")} == {"not recorded"}


def test_a_total_names_what_it_lacks(lab):
    crops = stage_costs(lab.root, "one")[-1]
    cost_path(lab.root, "crops", crops.fingerprint).unlink()
    cost_in(lab.path("one"), "crops").unlink()
    assert str(total_cost(stage_costs(lab.root, "one"))).endswith("; without crops: not recorded")


@pytest.mark.parametrize("content", ["{", '{"wall_s": -1}', "[]"])
def test_a_damaged_record_is_a_note_and_the_copy_in_the_folder_helps(lab, content):
    (before, *_) = stage_costs(lab.root, "one")
    path = cost_path(lab.root, "generated_images", before.fingerprint)
    path.write_text(content)
    assert stage_costs(lab.root, "one")[0].cost == before.cost
    copy = cost_in(lab.path("one"), "generated_images")
    copy.write_text(content)
    (damaged, *_) = stage_costs(lab.root, "one")
    assert damaged.cost is None
    assert str(damaged) == "not recorded"
    assert damaged.note.startswith("not recorded: /")
    record_costs(lab.root, "one")
    assert warehouse.query(lab.root, "select note from costs where note <> ''")["note"].to_list() == [damaged.note]


def test_the_record_of_another_result_is_not_believed(lab):
    (images, splits, _) = stage_costs(lab.root, "one")
    source = cost_path(lab.root, "generated_images", images.fingerprint)
    for target in (cost_path(lab.root, "splits", splits.fingerprint), cost_in(lab.path("one"), "splits")):
        shutil.copy(source, target)
    found = stage_costs(lab.root, "one")[1]
    assert found.cost is None
    assert f"is the record of generated_images {images.fingerprint}" in found.note


def test_a_result_and_its_cost_go_together(lab):
    (images, *_) = stage_costs(lab.root, "one")
    kept = stage_costs(lab.root, "two")
    lab.spec("one").unlink()
    assert lab.collect() == []
    assert lab.collect() == []
    assert not cost_path(lab.root, "generated_images", images.fingerprint).exists()
    assert len(list((lab.root / ".costs").glob("*/*.json"))) == 3
    assert stage_costs(lab.root, "two") == kept


def test_the_cost_of_a_result_in_two_places_stays_with_the_other(lab):
    (images, *_) = stage_costs(lab.root, "one")
    folder = lab.root / "data" / "generated_images" / images.fingerprint
    shutil.copytree(folder, lab.root / "elsewhere" / "generated_images" / images.fingerprint)
    lab.spec("one").unlink()
    garbage = [item for item in lab.find() if item.kind != "result" or item.path != folder]
    lab.collect(garbage)
    lab.collect(garbage)
    assert cost_path(lab.root, "generated_images", images.fingerprint).exists()


def test_records_of_results_that_somebody_deleted_go_after_a_day(lab):
    (images, *_) = stage_costs(lab.root, "one")
    record = cost_path(lab.root, "generated_images", images.fingerprint)
    shutil.rmtree(lab.root / "data" / "generated_images" / images.fingerprint)
    assert record not in [item.path for item in lab.find()]
    old = time.time() - LEFTOVER_S - 60
    os.utime(record, (old, old))
    (item,) = [item for item in lab.find() if item.path == record]
    assert lab.collect([item]) == []
    assert not record.exists()


def test_a_forgotten_experiment_has_no_rows(lab):
    record_costs(lab.root, "one")
    record_costs(lab.root, "two")
    forget_experiment(lab.root, lab.specs, "one")
    assert warehouse.query(lab.root, "select distinct experiment_id from costs")["experiment_id"].to_list() == ["two"]


def test_the_manifest_of_a_folder_does_not_list_costs(lab):
    folder = lab.path("one")
    assert cost_in(folder, "crops").exists()
    assert "cost.json" not in (folder / "manifest.json").read_text()


def test_a_sweep_costs_about_what_the_known_one_did_without_what_it_shares(tmp_path):
    store = SpecFiles(tmp_path / "experiments", tmp_path)
    store.create(values(trained_model={"train_params": {"epochs": 10}}), "base")
    results = run_all(store, "base")
    spec = store.load("base")

    def changed(**keys):
        return spec_from({"task": "regression", **keys}, "x")

    known = {each.stage: each.cost.wall_s for each in results}
    longer = changed(trained_model={"train_params": {"epochs": 30}})
    later = ("predictions", "analysis")
    wanted = 3 * known["trained_model"] + sum(known[stage] for stage in later)
    assert estimated_cost(results, spec, [longer]).wall_s == pytest.approx(wanted, abs=0.005)
    assert estimated_cost(results, spec, [longer, longer]).wall_s == pytest.approx(wanted, abs=0.005)
    assert estimated_cost(results, spec, [spec]).wall_s == 0
    other = changed(trained_model={"train_params": {"epochs": 10}}, generated_images={"seed": 5})
    assert estimated_cost(results, spec, [other]).wall_s == pytest.approx(sum(known.values()), abs=0.01)
    assert estimated_cost(results[1:], spec, [other]) is None
