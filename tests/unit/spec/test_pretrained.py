"""Key ``model.kind: pretrained``: its defaults, what is refused beside it, and what identifies its weights."""

from pathlib import Path
from typing import Any

import pytest

from assay.errors import SpecError
from assay.pipeline import stage_config
from assay.spec.defaults import resolve
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.weights import digest_of_weights, folder_of_weights


def write_weights(folder: Path, content: bytes = b"weights") -> Path:
    """Write the files of a model, whose content nobody reads here."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    return folder


def spec_of(task: str = "classification", head: Any = None, weights: Any = "w", **changes: Any) -> ExperimentSpec:
    model = {"kind": "pretrained", "weights": str(weights), **({"head": head} if head else {})}
    source = {"kind": "image_folder", "path": "pictures"}
    values = {"task": task, "generated_images": {"source": source}, "trained_model": {"model": model, **changes}}
    return spec_from(values, "ab12")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pictures_are_its_input_by_default(task):
    section = spec_of(task).trained_model
    assert section.data_description.input == "crops"
    assert section.data_description.standardize is False
    assert section.model.head.kind == "linear"


def test_a_head_in_steps_has_the_defaults_of_rows():
    section = spec_of(head={"kind": "mlp"}).trained_model
    assert (section.data_train.batch_size, section.train_params.epochs) == (64, 80)
    assert section.data_train.augmentation.rotation_degrees == 0
    assert section.model.head.width == 384


def test_resolving_is_idempotent():
    spec = spec_of(head={"kind": "mlp"})
    assert resolve(spec) == spec
    assert ExperimentSpec.model_validate(spec.as_dict()) == spec


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (
            "classification",
            {"data_train": {"augmentation": {"zoom": 0.1}}},
            "zoom is set, but the features",
        ),
        ("classification", {"data_description": {"standardize": True}}, "standardize is true, but model.kind 'pretr"),
        ("classification", {"starting_weights": {"path": "a.safetensors"}}, "starting_weights is set, but model.kind"),
        ("classification", {"train_params": {"epochs": 3}}, "train_params.epochs is set, but model.head.kind 'linear'"),
        ("classification", {"learner": {"learning_rate": 0.1}}, "or use model.head.kind: mlp"),
        ("classification", {"data_description": {"input": "normalized"}}, "reads images"),
        ("segmentation", {}, "model.kind 'pretrained' can't learn segmentation; use model.kind: unet"),
        ("detection", {}, "model.kind 'pretrained' can't learn detection; use model.kind: detector"),
    ],
)
def test_what_has_no_meaning_beside_it_is_refused(task, changes, message):
    with pytest.raises(SpecError, match=message):
        spec_of(task, **changes)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("https://huggingface.co/a/b", "is a web address; weights are never downloaded"),
        ("net/pytorch_model.bin", "may run code when it is read"),
        ("", "at least 1 character"),
    ],
)
def test_only_folders_and_names_are_weights(weights, message):
    with pytest.raises(SpecError, match=message):
        spec_of(weights=weights)


def test_weights_are_identified_by_their_content(tmp_path):
    same = [digest_of_weights(str(write_weights(tmp_path / name))) for name in ("one", "copy")]
    other = write_weights(tmp_path / "other", b"others")
    assert same[0] == same[1] != digest_of_weights(str(other))
    (tmp_path / "one" / "preprocessor_config.json").write_text("{}")
    assert digest_of_weights(str(tmp_path / "one")) != same[0]
    assert digest_of_weights(str(tmp_path / "missing")) == ""
    (other / "model.safetensors").unlink()
    assert digest_of_weights(str(other)) == ""


def test_parts_of_the_weights_count_where_there_is_no_whole_file(tmp_path):
    folder = write_weights(tmp_path / "one")
    alone = digest_of_weights(str(folder))
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"a part")
    assert digest_of_weights(str(folder)) == alone
    (folder / "model.safetensors").unlink()
    assert digest_of_weights(str(folder)) not in ("", alone)


def test_other_weights_in_the_same_place_make_the_model_anew(tmp_path):
    folder = write_weights(tmp_path / "one")
    spec = spec_of(weights=folder)
    before = stage_config(spec, "ab12", "trained_model").digest
    (folder / "model.safetensors").write_bytes(b"other")
    assert stage_config(spec, "ab12", "trained_model").digest != before


def test_a_name_is_looked_up_in_the_cache_of_the_hub_only(tmp_path):
    pytest.importorskip("huggingface_hub")
    model = tmp_path / "models--some--net"
    snapshot = write_weights(model / "snapshots" / ("a" * 40))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    assert folder_of_weights("some/net", tmp_path) == snapshot
    assert folder_of_weights("some/other", tmp_path) is None
    assert folder_of_weights("../some/net", tmp_path) is None


def test_a_folder_comes_before_a_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of_weights("some/net", tmp_path / "cache") is None
    assert folder_of_weights(str(write_weights(tmp_path / "some" / "net"))) == tmp_path / "some" / "net"
    assert folder_of_weights("some/net", tmp_path / "cache") == tmp_path / "some" / "net"
