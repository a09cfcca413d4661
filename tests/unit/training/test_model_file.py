import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from assay.errors import StorageError
from assay.spec.defaults import with_defaults
from assay.training.class_targets import ClassTarget
from assay.training.inputs import Inputs
from assay.training.model_card import ModelCard
from assay.training.model_file import load_model, network_of, read_card, save_model
from assay.training.trainer import weights_of


@pytest.fixture
def card(tiny_spec):
    return ModelCard(
        task="classification",
        section=with_defaults(tiny_spec(model={"kind": "cnn", "width": 2}), "classification", "crops"),
        inputs=Inputs(view="crops", image_size=16),
        target=ClassTarget(column="label", classes=("a", "ä b", '"')),
        trained_on={"crops": "cccc"},
        rows={"train": 64},
        seed=7,
        epoch=3,
        chosen_by="best loss on validation",
        values={"loss": 0.1234567890123},
        torch_version=torch.__version__,
    )


def test_a_model_comes_back_as_it_was_saved(card, tmp_path):
    network = network_of(card).eval()
    save_model(tmp_path / "model.safetensors", weights_of(network), card)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.card == card
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(loaded.network(images), network(images))


@pytest.mark.defect("A15")
def test_equal_models_are_equal_files(card, tmp_path):
    weights = weights_of(network_of(card))
    for name in ("one", "two"):
        save_model(tmp_path / name, dict(reversed(weights.items())) if name == "two" else weights, card)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.defect("B9")
def test_a_failed_save_leaves_the_former_model_and_no_other_file(card, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, weights_of(network_of(card)), card)
    before = path.read_bytes()
    with full_after(1000), pytest.raises((SafetensorError, OSError), match="File too large"):
        save_model(path, {"weight": torch.zeros(10_000)}, card)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.defect("B9")
def test_a_first_save_that_fails_leaves_no_file(card, tmp_path):
    with full_after(1000), pytest.raises((SafetensorError, OSError), match="File too large"):
        save_model(tmp_path / "model.safetensors", {"weight": torch.zeros(10_000)}, card)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def full_after(size_bytes):
    """Let no file grow beyond a size: the write that does fails in the middle, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100])
def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"model\.safetensors is not a readable.*Materialize trained_model again"):
        load_model(path)


def test_a_truncated_file_is_not_readable(card, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, weights_of(network_of(card)), card)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match="not a readable model file"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"model\.safetensors does not exist"):
        read_card(tmp_path / "model.safetensors")


def test_weights_of_somebody_else_are_no_model(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(StorageError, match="not written by Assay"):
        load_model(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_card_are_an_error(card, tmp_path):
    save_model(tmp_path / "model.safetensors", {"weight": torch.zeros(1)}, card)
    with pytest.raises(StorageError, match="do not fit the model"):
        load_model(tmp_path / "model.safetensors")
