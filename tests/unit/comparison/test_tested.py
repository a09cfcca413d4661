"""Which experiments were tested on the same items: by names, contents and true values, however they came there."""

import json
import shutil

import polars as pl
import pytest

from assay.comparison.tested import items_digests
from assay.datasets.schema import ITEMS_FILE, OBJECTS_FILE, PREDICTED_ITEMS_FILE, PREDICTIONS_FILE
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.pipeline import STAGES, needed_stages, stage_config
from assay.storage.parquet import write_parquet
from assay.storage.results import ResultStore
from tests.helpers.results import build

ITEMS = {"a.png": "1", "b.png": "2", "c.png": "3"}
TEST = ("a.png", "b.png")
SILENT = {"git_versions": False, "environment": False}


@pytest.fixture
def store(tmp_path):
    return SpecFiles(tmp_path / "experiments", tmp_path)


def splits_of(items, test, boxes):
    """Fill a result of ``splits``: the hash of an image is its label unless ``items`` says more."""

    def fill(folder):
        subsets = ["test" if name in test else "train" for name in items]
        frame = pl.DataFrame(
            {"item": list(items), "subset": subsets, "sha256": [f"hash of {value}" for value in items.values()]}
        )
        write_parquet(frame.with_columns(mask=pl.lit(None, pl.String)), folder / ITEMS_FILE)
        places = {"x_px": 1, "y_px": 2, "width_px": 3, "height_px": 4, "crowd": False}
        rows = [{"item": name, "subset": "test", "label": label, **places} for name, label in boxes.items()]
        if rows:
            write_parquet(pl.DataFrame(rows), folder / OBJECTS_FILE)
        return {}

    return fill


def predictions_of(items, test, boxes, target, predicted):
    def fill(folder):
        names = [name for name in items if name in test]
        frame = pl.DataFrame({"item": names, "subset": "test", target: [str(items[name])[:1] for name in names]})
        write_parquet(frame.with_columns(prediction=pl.lit(predicted)), folder / PREDICTIONS_FILE)
        if boxes:
            whole = frame.select("item", "subset").with_columns(labelled=True)
            write_parquet(whole, folder / PREDICTED_ITEMS_FILE)
        return {}

    return fill


def made_up(store, name, items=ITEMS, test=TEST, boxes=None, target="target", predicted="0", task="regression", **keys):
    """Return the digest of an experiment whose results are made up, and depend on ``keys`` of the spec as real ones."""
    model = {"exp_initializer": SILENT, **keys.pop("trained_model", {})}
    store.create({"task": task, "trained_model": model, **keys}, name)
    spec, folders, results = store.load(name), ExperimentFolders(store.root), {}
    folders.open(name, spec)
    contents = {
        "splits": splits_of(items, test, boxes or {}),
        "predictions": predictions_of(items, test, boxes, target, predicted),
    }
    for stage in needed_stages(spec):
        inputs = {each: results[each] for each in STAGES[stage].inputs if each in results}
        if stage == "predictions":
            inputs = {each: inputs[each] for each in list(inputs)[:1] + list(inputs)[-1:]}
        results[stage] = build(
            ResultStore(store.root),
            stage_config(spec, name, stage),
            inputs,
            contents.get(stage, lambda folder: {}),
        )
    folders.publish(name, results["analysis"])
    return items_digests(store.root, folders.find(name).path, ["test"])["test"]


@pytest.mark.system
def test_other_models_predictions_and_training_data_do_not_matter(store):
    first = made_up(store, "first")
    assert made_up(store, "rate", predicted="7", trained_model={"learner": {"learning_rate": 0.5}}) == first
    more = {**ITEMS, "d.png": "4"}
    assert made_up(store, "more", more, seed=2) == first
    order = {name: ITEMS[name] for name in reversed(ITEMS)}
    assert made_up(store, "order", order, seed=3) == first


@pytest.mark.system
def test_other_items_contents_and_values_do(store):
    digests = [
        made_up(store, "first"),
        made_up(store, "fewer", test=TEST[:1], seed=2),
        made_up(store, "others", test=("a.png", "c.png"), seed=3),
        made_up(store, "renamed", {"A.png": "1", "b.png": "2"}, ("A.png", "b.png"), seed=4),
        made_up(store, "redrawn", {**ITEMS, "a.png": "1, redrawn"}, seed=5),
        made_up(store, "relabelled", {**ITEMS, "a.png": "2"}, seed=6),
        made_up(store, "classes", target="target_class", seed=7),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.system
def test_boxes_of_whole_images_are_compared_by_the_classes_of_their_labels(store):
    def boxes(name, found, **description):
        model = {"data_description": description} if description else {}
        return made_up(store, name, boxes=found, task="detection", seed=len(store.ids()), trained_model=model)

    first = boxes("first", {"a.png": "cat", "b.png": "dog"})
    assert boxes("again", {"a.png": "cat", "b.png": "dog"}) == first
    assert boxes("listed", {"a.png": "cat", "b.png": "dog"}, classes=["cat", "dog"]) == first
    assert boxes("ignored", {"a.png": "cat", "b.png": "dog", "c.png": "cow"}, classes=["cat", "dog"]) == first
    assert boxes("another", {"a.png": "cat", "b.png": "cat"}) != first
    assert boxes("mapped", {"a.png": "cat", "b.png": "dog"}, class_mapping={"cat": "pet", "dog": "pet"}) != first


@pytest.mark.system
def test_where_tables_are_gone_only_the_same_results_are_the_same(store):
    def without_tables(name, **keys):
        made_up(store, name, **keys)
        (path,) = store.root.glob(f"*/predictions/{fingerprint_of(store, name)}/{PREDICTIONS_FILE}")
        path.unlink()

    for name, keys in {
        "one": {},
        "two": {"trained_model": {"learner": {"learning_rate": 0.5}}},
        "three": {"seed": 5},
    }.items():
        without_tables(name, **keys)
    copy = shutil.copytree(store.root, store.root.parent / f"{store.root.name}-copy", symlinks=True)
    paths = [ExperimentFolders(copy).find(name).path for name in ("one", "two", "three")]
    one, two, three = (items_digests(copy, path, ["test"])["test"] for path in paths)
    assert one == two != three


def fingerprint_of(store, name):
    manifest = json.loads((ExperimentFolders(store.root).find(name).path / "manifest.json").read_text())
    (path,) = store.root.glob(f"*/analysis/{manifest['results']['analysis']}/manifest.json")
    return json.loads(path.read_text())["ancestors"]["predictions"]
