"""Several labels at once: one decoding for training, prediction and analysis, and a real tiny training."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from assay.analysis.build import TASK_ANALYSES, inputs_of_model
from assay.errors import DataError
from assay.spec.analysis import ResultAnalyzer
from assay.spec.classes import DataDescription
from assay.spec.defaults import with_defaults
from assay.spec.predictions import PredictionsSection
from assay.storage.parquet import read_parquet
from assay.training.annotations import Annotations
from assay.training.class_targets import LabelsTarget
from assay.training.model_file import read_card
from assay.training.predictions import PREDICTIONS, build_predictions
from assay.training.targets import fit_target
from assay.training.tasks.base import TrainingRequest, task_of
from assay.training.trained_model import CHOSEN, build_trained_model
from assay.training.trainer import fit
from assay.utils.concurrency import silent

EVEN_ODD = ("0", "1", "2", "3", {"name": "even", "subclasses": ("0", "2")}, {"name": "odd", "subclasses": ("1", "3")})


def rows(*labels):
    return pl.DataFrame({"item": [str(index) for index in range(len(labels))], "label": labels})


def fitted(*labels, **description):
    description = DataDescription(multi_label=True, **description)
    return fit_target(description, "multi_label", "label", rows(*labels))


@pytest.fixture
def train(pixel_rows, store_rows, tiny_spec, tmp_path):
    """A function that trains on which of four rows of pixels is bright, and returns source and model folder."""

    def run(name="model", changed=pixel_rows, classes=EVEN_ODD, fingerprint="aaaa", description=(), **keys):
        source, folder = store_rows(changed, fingerprint), tmp_path / name
        folder.mkdir()
        description = {"input": "normalized", "multi_label": True, "classes": classes, **dict(description)}
        build_trained_model(tiny_spec(data_description=description, **keys), "multi_label", 1, source, folder)
        return source, folder

    return run


@pytest.fixture
def predict(tmp_path):
    """A function that predicts all subsets and returns the table and its folder."""

    def run(source, model):
        folder = tmp_path / "predictions"
        folder.mkdir()
        section = PredictionsSection(datasets=("train", "validation", "test"))
        build_predictions(section, "multi_label", 1, source, model, folder)
        return read_parquet(folder / PREDICTIONS), folder

    return run


@pytest.mark.defect("A5")
@pytest.mark.system
def test_labels_in_training_prediction_and_analysis_are_the_same(train, predict, pixel_rows):
    source, model = train()
    target = read_card(model / CHOSEN).target
    encoded = target.encode(pixel_rows)
    expected = {"0": ["0", "even"], "1": ["1", "odd"], "2": ["2", "even"], "3": ["3", "odd"]}
    assert target.decode(encoded) == [expected[label] for label in pixel_rows["label"]]

    table, folder = predict(source, model)
    assert table["target_labels"].to_list() == target.decode(encoded)

    inputs = inputs_of_model(model, folder)
    assert inputs.train_target.to_list() == target.decode(encoded[:64])
    subsets = TASK_ANALYSES["multi_label"].read(inputs, ResultAnalyzer())
    analysed = [row for data in subsets for row in data.sample.target]
    assert [row.tolist() for row in analysed] == encoded.bool().tolist()


@pytest.mark.defect("A6")
def test_a_weight_changes_what_is_learned(pixel_rows, store_rows, tiny_spec):
    weighted = (*EVEN_ODD[:4], {**EVEN_ODD[4], "weight": 5.0}, EVEN_ODD[5])
    plain, heavy = (last_weights(pixel_rows, store_rows, tiny_spec, classes) for classes in (EVEN_ODD, weighted))
    assert plain.keys() == heavy.keys()
    assert any(not torch.equal(plain[name], heavy[name]) for name in plain)


def last_weights(rows, store_rows, tiny_spec, classes):
    spec = tiny_spec(data_description={"input": "normalized", "multi_label": True, "classes": classes})
    request = TrainingRequest(spec, "multi_label", 1, Annotations(store_rows(rows)))
    task, subsets = task_of("multi_label"), dict(rows.partition_by("subset", as_dict=True))
    subsets = {name: subsets[(name,)] for name in ("train", "validation")}
    inputs, target = task.describe(request, subsets["train"])
    request = replace(request, section=with_defaults(spec, "multi_label", inputs.view))
    torch.manual_seed(0)
    network = torch.nn.Linear(len(inputs.columns), target.output_count)
    return fit(network, task.prepare(request, inputs, target, subsets), silent).last


@pytest.mark.system
def test_a_real_training_learns_classes_and_super_classes(train, predict):
    table, _ = predict(*train(train_params={"epochs": 40}, model={"kind": "mlp", "width": 32}))
    test = table.filter(pl.col("subset") == "test")
    right = test["target_labels"] == test["predicted_labels"]
    assert right.mean() > 0.8
    assert [name for name in table.columns if name.startswith("prob_")] == [
        f"prob_{name}" for name in ("0", "1", "2", "3", "even", "odd")
    ]


@pytest.mark.system
def test_items_without_labels_are_predicted_at_tuned_thresholds_but_not_learned(train, predict, pixel_rows):
    unknown = pl.when(pl.col("subset") == "test").then(None).otherwise("label").alias("label")
    source, model = train(changed=pixel_rows.with_columns(unknown), train_params={"decision": "tuned"})
    assert len(set(read_card(model / CHOSEN).target.thresholds)) > 1
    table, _ = predict(source, model)
    test = table.filter(pl.col("subset") == "test")
    assert test["target_labels"].null_count() == len(test) == 20
    assert test["predicted_labels"].null_count() == 0
    nothing = pl.when(pl.col("subset") == "train").then(None).otherwise("label").alias("label")
    with pytest.raises(DataError, match="64 item"):
        train("nothing", changed=pixel_rows.with_columns(nothing), fingerprint="bbbb")


def test_labels_are_separated_trimmed_and_counted_once():
    target = fitted("cat|outdoor", " outdoor | ", "cat|cat", "", label_separator="|")
    assert target.classes == ("cat", "outdoor")
    description = rows("cat|outdoor", " outdoor | ", "cat|cat", "", None)
    assert target.encode(description.head(4)).tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert target.ground_truth(description).to_list() == [["cat", "outdoor"], ["outdoor"], ["cat"], [], None]


def test_a_separator_is_no_separator_unless_it_is_named():
    assert fitted("a|b", "c").classes == ("a|b", "c")


def test_labels_of_no_class_are_named_or_refused():
    pair = ({"name": "even", "subclasses": ("0", "2")}, {"name": "prime", "subclasses": ("2", "3")})
    with pytest.raises(DataError, match=r"belong to no class(.|\n)*labels_of_no_class\.\n  - 1: 2 item"):
        fitted("0", "1", "1", "2", "3", classes=pair)
    target = fitted("0", "1", "2", "3", classes=pair, labels_of_no_class=("1",))
    assert target.encode(rows("1", "2")).tolist() == [[0, 0], [1, 1]]


def test_a_misspelt_subclass_is_named_with_the_nearest_label():
    classes = ({"name": "animal", "subclasses": ("cat", "dgo")}, "tree")
    with pytest.raises(DataError, match=r"animal: 'dgo'; did you mean 'dog'"):
        fitted("cat", "dog", "tree", classes=classes)


def test_a_label_seen_only_later_is_named_with_the_nearest_class():
    target = fitted("cat", "dog")
    assert isinstance(target, LabelsTarget)
    with pytest.raises(DataError, match=r"- dgo: 1 item; did you mean 'dog'"):
        target.ground_truth(rows("dgo"))


@pytest.mark.parametrize(
    ("labels", "description", "message"),
    [
        (("a", "b"), {"classes": ("a", "b", "c")}, r"no training item of these classes(.|\n)*- c"),
        (("a", "a"), {}, "gives all training items the same classes"),
        (("a", "b"), {"classes": ("a", "b"), "labels_of_no_class": ("b",)}, r"belong to a class\.\n  - b"),
    ],
)
def test_classes_that_can_not_be_learned_are_refused(labels, description, message):
    with pytest.raises(DataError, match=message):
        fitted(*labels, **description)


def test_without_multi_label_subclasses_are_groups_that_exclude_each_other():
    groups = ({"name": "even", "subclasses": ("0", "2")}, {"name": "odd", "subclasses": ("1", "3")})
    target = fit_target(DataDescription(classes=groups), "classification", "label", rows("0", "1", "2", "3"))
    assert target.classes == ("even", "odd")
    assert target.encode(rows("2", "3", "odd")).tolist() == [0, 1, 1]
    assert target.ground_truth(rows("0", None)).to_list() == ["even", None]
