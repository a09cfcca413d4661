"""What hangs on a file, an item or a label; results before and after data changed."""

import json
import shutil
import sys
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assay.cli.main import main
from assay.comparison.explanations import before_and_now_lines, impact_lines
from assay.comparison.impact import BeforeAndNow, Effect, Impact, Place, before_and_now, impact_of
from assay.comparison.load import Entry
from assay.comparison.pairs import MetricDifference, Pair
from assay.comparison.tested import items_digests
from assay.errors import DataError, StorageError
from assay.experiments.contents import results_of_other_data, stage_results
from assay.experiments.folders import ExperimentFolders
from assay.metrics.registry import get_metric
from assay.spec.yaml_text import flatten
from assay.storage.parquet import read_parquet, write_parquet
from tests.helpers.trained import FAMILIES, TABLE, TINY, TrainedProject, make_trained_project, write_houses
from tests.unit.comparison.conftest import made_up_entry, made_up_score

TABLE_OF = {"kind": "table", "path": "houses.csv"}


def place(name="one", items=("000000017",), learned=False, effects=(), source=TABLE_OF, **subsets):
    return Place(name, tuple(items), subsets or {"test": 1}, learned, tuple(effects), source)


def test_the_lines_say_where_how_much_who_is_made_anew_and_what_to_do():
    effects = (Effect("test", "mae", 2.5, 2.25), Effect("train", "mae", 1.0, float("nan")))
    impact = Impact("item", (place(effects=effects), place("two", learned=True, train=1)), ("three",), ("four",))
    lines = impact_lines(impact, "000000017")
    assert lines[0] == "000000017 (item) is in 2 of 3 experiments."
    assert [line.split() for line in lines[3:6]] == [
        ["one", "test", "1", "mae", "2.500", "2.250", "-0.25"],
        ["mae", "on", "train", "1.000", "not", "defined"],
        ["two*", "train", "1"],
    ]
    assert "* Its model learned from it, or was chosen by it: only a new model tells what it is without." in lines
    assert "Once it is changed, a run makes anew: one, two; all others are found as they are." in lines
    assert "Their data are not in this storage: four." in lines
    assert "To mend it: correct row 18 of houses.csv, not counting the header." in lines
    assert lines[-2:] == [
        """To leave it out, in a new experiment: assay sweep one --grid 'splits.leave_out=[["000000017"]]' """
        "--name one-without; assay run one-without-01; assay diff one one-without-01",
        "Once it is mended: assay run one; assay diff one shows the results before and after.",
    ]


@pytest.mark.parametrize(
    ("source", "mend"),
    [
        ({"kind": "image_folder", "path": "p"}, "To mend it: move p/a.png into the folder of its class."),
        ({"kind": "coco", "path": "p"}, "To mend it: correct the annotations of a.png in the JSON files of p."),
        ({"kind": "yolo", "path": "p"}, "To mend it: correct the label file of a.png in p."),
        ({"kind": "masks", "path": "p"}, "To mend it: correct the mask of a.png in p."),
        ({"kind": "numbers"}, None),
    ],
)
def test_how_to_mend_an_item_depends_on_the_data(source, mend):
    lines = impact_lines(Impact("item", (place(items=["a.png"], source=source),), ()), "a.png")
    assert [line for line in lines if line.startswith("To mend")] == ([mend] if mend else [])


def test_many_items_of_a_label_are_counted_and_not_listed():
    lines = impact_lines(Impact("label", (place(items=map(str, range(30)), test=20, none=10),), ()), "cat")
    assert lines[0] == "cat (label, 30 items) is in 1 of 1 experiment."
    assert lines[3].split() == ["one", "test", "20,", "no", "subset", "10"]
    assert not any("To " in line for line in lines)


def test_changed_data_are_told_with_their_metrics():
    entries = tuple(
        made_up_entry(0, 1, experiment_id=name, scores={"accuracy": made_up_score(value)})
        for name, value in (("before", 0.5), ("now", 0.6))
    )
    pair = Pair(entries, {}, {"generated_images": "the data themselves"}, (), pl.DataFrame(), None, ())
    items = tuple((f"{number}.png", "cat is now dog") for number in range(12))
    found = BeforeAndNow(pair, items, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    lines = before_and_now_lines(found, "ab12", "test")
    assert lines[0] == "ab12 before its data changed (results of 2026-01-02 03:04 UTC) and now."
    assert lines[2:4] == ["12 items of the data changed:", "  0.png: cat is now dog"]
    assert "  … and 2 more" in lines
    assert lines[-2:] == ["metric    before  now", "accuracy  0.500   0.600"]
    same = BeforeAndNow(
        Pair(
            entries, {}, pair.stages, (MetricDifference("accuracy", (0.5, 0.6), 0.01, 0.2),), pl.DataFrame(), None, ()
        ),
        (),
        found.made,
    )
    lines = before_and_now_lines(same, "ab12", "test")
    assert "now is better: accuracy 0.500 and 0.600." in lines
    assert lines[-1] == "No key differs: the difference is explained by the data themselves."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cat"], "No experiment has results in this storage. Next: assay run ID"),
        (["cat", "--of", "ab12"], "--of: Experiment with results 'ab12' does not exist."),
    ],
)
def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys, arguments, message):
    TrainedProject(tmp_path).enter(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["assay", "impact", *arguments])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two experiments of one table, and one of another."""
    learned = FAMILIES["table"]["trained_model"]
    everywhere = {"datasets": ["train", "validation", "test"]}
    table = {**FAMILIES["table"], "predictions": everywhere}
    other = {**table, "generated_images": {"source": {**TABLE, "path": "others.csv"}}}
    half = {**table, "trained_model": {**learned, "train_params": {**TINY, "epochs": 1}}}
    several = {"multi_label": True, "label_separator": ";"}
    tagged = {
        "task": "classification",
        "generated_images": {"source": {"kind": "table", "path": "tags.csv", "target_column": "tags"}},
        "trained_model": {"model": {"kind": "linear"}, "data_description": several},
        "analysis": table["analysis"],
    }
    families = {"houses": table, "again": half, "others": other, "tagged": tagged}
    folder = tmp_path_factory.mktemp("impact")
    tags = ["few", "few; green", "green", "fewer"]
    (folder / "tags.csv").write_text("size,tags\n" + "".join(f"{row},{tags[row % 4]}\n" for row in range(60)))
    write_houses(folder / "others.csv", seed=7)
    return make_trained_project(folder, families)


def items_of(project, name, subset):
    splits = stage_results(project.storage, name)["splits"].folder
    return read_parquet(splits / "items.parquet").filter(pl.col("subset") == subset)["item"].sort().to_list()


@pytest.mark.system
def test_a_tested_item_changes_the_metrics_of_the_experiments_that_have_it(project):
    item = items_of(project, "houses", "test")[0]
    found = impact_of(project.storage, ["houses", "again", "others"], item, "houses")
    assert (found.kind, [each.experiment_id for each in found.places]) == ("item", ["again", "houses"])
    assert found.others == ("others",)
    assert not found.places[1].learned
    rows = read_parquet(stage_results(project.storage, "houses")["predictions"].folder / "predictions.parquet")
    rows = rows.filter((pl.col("subset") == "test") & (pl.col("item") != item))
    error = (rows["target"] - rows["prediction"]).abs().mean()
    (effect,) = [each for each in found.places[1].effects if each.metric == "mae"]
    assert effect.without == pytest.approx(error, rel=1e-6)
    assert effect.value != pytest.approx(error, rel=1e-6)


@pytest.mark.system
def test_an_item_learned_from_needs_a_new_model(project):
    for subset in ("train", "validation"):
        found = impact_of(project.storage, ["houses"], items_of(project, "houses", subset)[0])
        assert found.places[0].learned
        assert {each.subset for each in found.places[0].effects} == {subset}


@pytest.mark.system
@pytest.mark.parametrize("name", ["softmax", "segmentation", "multilabel"])
def test_images_count_with_all_that_was_cut_from_them(trained_families, name):
    project = trained_families
    image = items_of(project, name, "test")[0]
    found = {each.experiment_id: each for each in impact_of(project.storage, FAMILIES, image, name).places}[name]
    assert found.subsets == {"test": 1}
    assert {each.subset for each in found.effects} == {"test"}
    assert any(np.isnan(each.without) or each.without != pytest.approx(each.value) for each in found.effects)
    report = stage_results(project.storage, name)["analysis"].report["metrics"]["test"]
    assert all(each.value == report[each.metric]["value"] for each in found.effects)
    assert not any(get_metric(each.metric, found_task(project, name)).per_class for each in found.effects)


@pytest.mark.system
def test_an_image_counts_with_its_boxes_also_where_none_was_predicted(trained_families, tmp_path):
    """All objects of the other images are found, so that the metrics are perfect without the one image."""
    project = TrainedProject(shutil.copytree(trained_families.folder, tmp_path / "copy"))
    results = stage_results(project.storage, "detection")
    image, path = items_of(project, "detection", "test")[0], results["predictions"].folder / "predictions.parquet"
    objects = read_parquet(results["splits"].folder / "objects.parquet").filter(pl.col("item") != image)
    predicted = objects.with_columns(predicted_class=pl.col("label"), confidence=pl.lit(0.9))
    schema = read_parquet(path).schema
    write_parquet(predicted.select(pl.col(name).cast(kind) for name, kind in schema.items()), path)
    (found,) = impact_of(project.storage, ["detection"], image).places
    without = {each.metric: each.without for each in found.effects}
    assert without["map50"] == pytest.approx(1.0)
    assert without["map50_95"] == pytest.approx(1.0)


def found_task(project, name):
    return project.specs.load(name).learning


@pytest.mark.system
def test_files_and_labels_are_found_and_other_things_refused(project, trained_families, monkeypatch):
    monkeypatch.chdir(project.folder)
    names = ["houses", "again", "others"]
    found = impact_of(project.storage, names, "houses.csv")
    assert (found.kind, [each.experiment_id for each in found.places]) == ("file", ["again", "houses"])
    assert len(found.places[0].items) == 80
    with pytest.raises(DataError, match=r"houses\.yaml: no stored experiment was made from this file"):
        impact_of(project.storage, names, "experiments/houses.yaml")
    folder = stage_results(trained_families.storage, "softmax")["generated_images"].folder
    rows = read_parquet(folder / "items.parquet")
    picture = impact_of(trained_families.storage, FAMILIES, str(folder / rows["file"][3]))
    assert (picture.kind, picture.places[0].items) == ("file", (rows["item"][3],))
    label = impact_of(trained_families.storage, FAMILIES, "7")
    assert label.kind == "label"
    assert "table" not in {each.experiment_id for each in label.places}
    with pytest.raises(DataError, match="is no file, item or label of the stored experiments"):
        impact_of(trained_families.storage, FAMILIES, "sevn")


@pytest.mark.system
def test_a_label_among_several_of_an_item_is_found(project):
    found = impact_of(project.storage, ["houses", "tagged"], "few")
    assert (found.kind, [each.experiment_id for each in found.places]) == ("label", ["tagged"])
    assert [int(item) for item in found.places[0].items] == [row for row in range(60) if row % 4 < 2]
    with pytest.raises(DataError, match=r"Did you mean 'few'\? Labels: few, fewer, green; items"):
        impact_of(project.storage, ["tagged"], "fw")


def mend(project: TrainedProject, item: str, price: str) -> None:
    path = project.folder / "houses.csv"
    lines = path.read_text().splitlines()
    lines[int(item) + 1] = ";".join([*lines[int(item) + 1].split(";")[:-1], price])
    path.write_text("\n".join(lines) + "\n")


def entry_of(project, name):
    metrics = stage_results(project.storage, name)["analysis"].report["metrics"]["test"]
    scores = {metric: made_up_score(row["value"]) for metric, row in metrics.items()}
    keys = flatten(project.specs.load(name).as_dict())
    folder = ExperimentFolders(project.storage).find(name).path
    tested = items_digests(project.storage, folder, ["test"])["test"]
    return Entry(name, "regression", "", folder, keys, scores, tested=tested)


@pytest.mark.system
def test_a_mended_label_makes_only_the_experiments_that_have_it_anew_and_shows_before_and_after(project, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(project.storage))
    project.enter(monkeypatch)
    with pytest.raises(StorageError, match="houses has no results of other data"):
        before_and_now(project.storage, entry_of(project, "houses"), "test")
    item = items_of(project, "houses", "train")[0]
    known = ["houses", "again", "others"]
    with pytest.raises(DataError, match=f"not the same item in again and in others.*assay impact {item} --of again"):
        impact_of(project.storage, known, item)
    affected = {each.experiment_id for each in impact_of(project.storage, known, item, "houses").places}
    before = {name: stage_results(project.storage, name) for name in known}
    mend(project, item, "9999,0")
    after = {name: project.run(name) for name in before}
    changed = {name for name, results in after.items() if results["analysis"] != before[name]["analysis"]}
    assert changed == affected == {"houses", "again"}
    assert results_of_other_data(project.storage, "houses") == before["houses"]
    found = before_and_now(project.storage, entry_of(project, "houses"), "test")
    assert [name for name, _ in found.items] == [item]
    assert found.pair.metrics[0].values[0] == before["houses"]["analysis"].report["metrics"]["test"]["mae"]["value"]
    assert found.pair.metrics[0].values[1] == after["houses"]["analysis"].report["metrics"]["test"]["mae"]["value"]
    assert found.pair.stages["generated_images"] == "the data themselves"
    assert json.dumps(before_and_now_lines(found, "houses", "test"))

    tested = items_of(project, "houses", "test")[0]
    mend(project, tested, "1,0")
    project.run("houses")
    found = before_and_now(project.storage, entry_of(project, "houses"), "test")
    assert found.pair.metrics == ()
    assert "changed too" in "\n".join(before_and_now_lines(found, "houses", "test"))
