import subprocess
import sys

import pytest
from pydantic import ValidationError

from assay.spec.defaults import epoch_count, view_of, with_defaults
from assay.spec.predictions import PredictionsSection
from assay.spec.trained_model import TrainedModelSection
from assay.spec.validation import means_network


def section(**keys):
    return TrainedModelSection.model_validate(keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data_train": {"subset": "validation"}}, "data_train.subset and data_validation.subset are both"),
        ({"data_validation": None}, "data_validation is null, but train_params.choose_epoch is 'best'"),
        ({"model": {"kind": "cnn"}, "data_description": {"input": "normalized"}}, "model.kind 'cnn' reads images"),
        ({"data_description": {"inputs": ["a"], "input": "crops"}}, "data_description.inputs names columns"),
        ({"data_description": {"classes": ["a", "a"]}}, "classes names a twice"),
        ({"data_description": {"classes": ["a", "b"], "class_mapping": {"1": "c"}}}, "class_mapping maps to c"),
        ({"data_description": {"reductions": [2, 4]}}, "reductions is [2, 4]; expected powers of two from 1 to 64"),
        ({"data_description": {"reductions": [1, 3]}}, "nearest valid: [1, 2, 4]"),
        ({"data_description": {"reductions": [1, 1]}}, "nearest valid: [1]"),
        ({"data_description": {"reductions": [0]}}, "nearest valid: [1]"),
        ({"data_description": {"reductions": [1, 500]}}, "nearest valid: [1, 2, 4, 8, 16, 32, 64]"),
        ({"data_description": {"classes": ["a"]}}, "classes has only 'a'; expected two or more"),
        ({"data_description": {"label_separator": "|"}}, "label_separator has no effect without multi_label: true"),
        ({"data_description": {"labels_of_no_class": ["x"]}}, "labels_of_no_class has no effect without multi_label"),
        (
            {"data_description": {"multi_label": True, "class_mapping": {"1": "c"}}},
            "list labels as subclasses of classes",
        ),
        (
            {"data_description": {"classes": ["b", {"name": "a", "subclasses": ["1"]}], "class_mapping": {"1": "a"}}},
            "class_mapping and subclasses both say",
        ),
        (
            {"train_params": {"decision": "tuned", "choose_epoch": "last"}, "data_validation": None},
            "train_params.decision is 'tuned', but data_validation is null",
        ),
        (
            {"train_params": {"calibration": "temperature", "choose_epoch": "last"}, "data_validation": None},
            "train_params.calibration is set, but data_validation is null",
        ),
        (
            {"learner": {"class_weights": {"a": 0, "b": 0}}, "data_description": {"classes": ["a", "b"]}},
            "every class has weight 0",
        ),
        ({"learner": {"class_weights": {"a": -1}}}, "learner.class_weights: negative for a"),
        (
            {"learner": {"class_weights": {"c": 1}}, "data_description": {"classes": ["a", "b"]}},
            "class_weights names c, not in data_description.classes",
        ),
        ({"train_params": {"epochs": 0}}, "greater than or equal to 1"),
        ({"learner": {"learning_rate": -1}}, "greater than 0"),
        ({"model": {"kind": "cnm"}}, "does not match any of the expected tags"),
        ({"lerner": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_or_combination_names_its_keys(keys, message):
    with pytest.raises(ValidationError) as error:
        section(**keys)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("task", "images", "view", "kind", "loss"),
    [
        ("regression", True, "pixels", "mlp", "smooth_l1"),
        ("regression", False, "columns", "mlp", "smooth_l1"),
        ("classification", True, "crops", "cnn", "cross_entropy"),
        ("classification", False, "columns", "mlp", "cross_entropy"),
        ("multi_label", True, "crops", "cnn", "binary_cross_entropy"),
    ],
)
def test_defaults_become_numbers_by_task_and_input(task, images, view, kind, loss):
    assert view_of(section(), task, images) == view
    filled = with_defaults(section(), task, view)
    assert filled.model.kind == kind
    assert filled.learner.loss == loss
    assert filled.learner.learning_rate > 0
    assert filled.train_params.epochs > 0
    assert filled.data_train.batch_size > 0
    assert None not in dict(filled.data_train.augmentation).values()


def test_a_chosen_value_stays_and_its_neighbours_get_defaults():
    filled = with_defaults(section(data_train={"augmentation": {"rotation_degrees": 90}}), "classification", "crops")
    assert filled.data_train.augmentation.rotation_degrees == 90
    assert filled.data_train.augmentation.zoom > 0


@pytest.mark.parametrize(("steps", "epochs"), [(1000, 20), (35, 20), (7, 100), (1, 200)])
def test_few_items_are_seen_in_more_epochs_when_the_user_left_that_open(steps, epochs):
    assert epoch_count(with_defaults(section(), "classification", "crops").train_params, steps) == epochs
    chosen = with_defaults(section(train_params={"epochs": 3}), "classification", "crops")
    assert epoch_count(chosen.train_params, steps) == 3


LAST = {"train_params": {"choose_epoch": "last"}}


@pytest.mark.parametrize(
    ("keys", "task", "kind"),
    [
        ({}, "regression", "auto"),
        ({}, "multi_label", "auto"),
        ({"learner": {"loss": "mse"}}, "regression", "auto"),
        ({"learner": {"class_weights": "balanced"}, "train_params": {"decision": "tuned"}}, "classification", "auto"),
        ({"train_params": {"threads": 1}}, "classification", "mlp"),
        ({"learner": {"learning_rate": 0.01}}, "regression", "mlp"),
        ({"train_params": {"epochs": 20}}, "regression", "mlp"),
        ({"data_train": {"batch_size": 32}}, "classification", "mlp"),
        ({"data_validation": None, **LAST}, "regression", "mlp"),
        (LAST, "regression", "mlp"),
        ({"starting_weights": {"path": "weights.safetensors"}}, "regression", "mlp"),
        ({"model": {"kind": "linear"}}, "regression", "linear"),
    ],
)
def test_the_model_of_a_table_is_chosen_by_data_unless_a_key_is_set_that_only_a_network_reads(keys, task, kind):
    filled = with_defaults(section(**keys), task, "columns", by_data=True)
    assert filled.model.kind == kind
    assert with_defaults(filled, task, "columns", by_data=True) == filled


def test_resolving_twice_changes_nothing():
    once = with_defaults(section(), "classification", "crops")
    assert with_defaults(once, "classification", "crops") == once
    assert TrainedModelSection.model_validate(once.content()) == once


@pytest.mark.defect("A6")
@pytest.mark.parametrize(
    ("keys", "task", "view", "message"),
    [
        ({"learner": {"loss": "mse"}}, "classification", "crops", "expected cross_entropy"),
        ({"learner": {"loss": "cross_entropy"}}, "multi_label", "crops", "expected binary_cross_entropy"),
        ({"train_params": {"decision": "tuned"}}, "regression", "crops", "train_params.decision is set, but task"),
        (
            {"train_params": {"calibration": "temperature"}},
            "detection",
            "whole_images",
            "train_params.calibration is set, but task",
        ),
        ({"train_params": {"metric": "accuracy"}}, "regression", "pixels", "expected loss or mae or rmse"),
        ({"learner": {"class_weights": "balanced"}}, "regression", "pixels", "read by classification"),
        (
            {"learner": {"class_weights": "balanced"}},
            "detection",
            "images",
            "class_weights is set, but task is detection",
        ),
        (
            {"data_description": {"classes": ["a", {"name": "b", "weight": 2}]}},
            "detection",
            "images",
            "loss of detection",
        ),
        ({"learner": {"label_smoothing": 0.1}}, "segmentation", "images", "label_smoothing is set, but task is seg"),
        ({"learner": {"label_smoothing": 0.1}}, "regression", "pixels", "read by classification"),
        ({"model": {"kind": "cnn"}}, "regression", "pixels", "reads images, but the inputs are pixels"),
        ({"data_train": {"balance": "classes"}}, "regression", "pixels", "balance is set, but task is regression"),
        ({"data_description": {"target": "x"}}, "segmentation", "images", "what has one answer per item only"),
        ({"data_description": {"reductions": [1, 2]}}, "segmentation", "images", "it is read by detection only"),
        ({"learner": {"smooth_l1_beta": 0.1}}, "classification", "crops", "read by the loss smooth_l1 only"),
        ({"learner": {"focal_gamma": 1.0}}, "classification", "crops", "read by the loss focal only"),
        ({"learner": {"gamma": 0.5}}, "regression", "pixels", "read by the schedule step only"),
        ({"data_train": {"augmentation": {"contrast": 0.1}}}, "regression", "pixels", "augmentation.contrast is set"),
        ({"data_train": {"augmentation": {"zoom": 0.1}}}, "regression", "columns", "augmentation.zoom is set"),
        (
            {"model": {"kind": "auto"}},
            "classification",
            "crops",
            "'auto' reads rows of a table, but the inputs are crops",
        ),
        (
            {"model": {"kind": "auto"}, "train_params": {"epochs": 3}},
            "regression",
            "columns",
            "train_params.epochs is set, but model.kind 'auto' also means models that are fitted at once",
        ),
        (
            {"model": {"kind": "auto"}, "train_params": {"choose_epoch": "last"}},
            "regression",
            "columns",
            "choose_epoch is 'last', but model.kind 'auto' is chosen on the validation data",
        ),
    ],
)
def test_a_key_without_meaning_is_an_error_that_names_it(keys, task, view, message):
    with pytest.raises(ValueError, match=message):
        with_defaults(section(**keys), task, view)


def test_what_is_only_written_down_does_not_train_again():
    assert section(exp_initializer={"environment": False}).content() == section().content()


def test_a_training_that_is_not_ended_early_is_the_one_of_former_versions():
    assert "stop_after" not in TrainedModelSection().content()["train_params"]
    ended = TrainedModelSection.model_validate({"train_params": {"stop_after": 3}})
    assert ended.content()["train_params"]["stop_after"] == 3


def test_predicting_a_subset_twice_is_an_error():
    with pytest.raises(ValidationError, match="datasets names test more than once"):
        PredictionsSection(datasets=("test", "validation", "test"))


def test_the_specs_import_neither_torch_nor_numpy():
    code = (
        "import sys, assay.spec.defaults, assay.spec.predictions\n"
        "assert not {'torch', 'numpy', 'polars', 'dagster'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("key", "learning", "expected"),
    [
        ("train_params.epochs", "regression", True),
        ("train_params.choose_epoch", "regression", True),
        ("train_params.threads", "classification", True),
        ("train_params.early_stopping.patience", "regression", True),
        ("starting_weights.path", "regression", True),
        ("learner", "regression", True),
        ("learner.loss", "classification", True),
        ("learner.loss", "regression", False),
        ("train_params.decision", "classification", False),
        ("data_train.subset", "regression", False),
        ("data_description.inputs", "regression", False),
        ("seed", "regression", False),
    ],
)
def test_a_key_means_a_network_if_the_model_would_not_be_chosen_by_the_data_with_another_value(key, learning, expected):
    assert means_network(key, learning) == expected
