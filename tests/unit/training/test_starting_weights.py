import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from assay.errors import DataError
from assay.pipeline import stage_config
from assay.spec.loading import spec_from
from assay.spec.models import BUILT_IN_MODELS, CnnModel, DetectorModel, MlpModel, UnetModel
from assay.spec.trained_model import TrainedModelSection
from assay.spec.weights import StartingWeights
from assay.training.model_file import build_network, start_from
from assay.training.trained_model import CHOSEN, build_trained_model
from assay.training.trainer import prepare
from tests.helpers.training_tasks import network

SECTIONS = [MlpModel(width=8), CnnModel(width=4), UnetModel(width=4), DetectorModel(width=4)]


def test_every_built_in_network_is_among_those_tested():
    fitted = {"linear", "gradient_boosting"}  # fitted at once, which needs no weights to start from
    assert {section.kind for section in SECTIONS} == set(BUILT_IN_MODELS) - fitted - {"pretrained"}  # has its own


@pytest.fixture
def weights(tmp_path):
    """A function that writes the weights of a network, changed by its arguments; None leaves one out."""

    def write(**changes):
        torch.manual_seed(9)
        weights = {name: value + 1 for name, value in network().state_dict().items()}
        weights |= {name.replace("__", "."): value for name, value in changes.items()}
        save_file({name: value for name, value in weights.items() if value is not None}, tmp_path / "w.safetensors")
        return str(tmp_path / "w.safetensors")

    return write


def test_a_network_starts_from_the_file(weights):
    model, before = network(), network()
    start_from(model, StartingWeights(path=weights()))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before.state_dict()[name] + 1)


def test_every_difference_is_named_by_layer_with_both_shapes(weights):
    path = weights(head__weight=torch.zeros(3, 2), head__bias=None, extra=torch.zeros(5))
    with pytest.raises(DataError) as caught:
        start_from(network(), StartingWeights(path=path))
    text = str(caught.value)
    assert "head.weight: 3x2 in the file, 1x2 in the network" in text
    assert "head.bias: the file lacks it; the network needs 1" in text
    assert "extra: only the file has it, 5" in text
    assert "3 places" in text


def test_what_is_excluded_keeps_its_random_values(weights):
    model, before = network(), network()
    path = weights(head__weight=torch.zeros(3, 2), head__bias=None, head__other=torch.zeros(1))
    start_from(model, StartingWeights(path=path, exclude=("head.*",)))
    assert torch.equal(model.head.weight, before.head.weight)
    assert not torch.equal(model.features[1].weight, before.features[1].weight)


def test_missing_and_unexpected_tensors_can_be_allowed_but_no_other_shape(weights):
    path = weights(head__bias=None, extra=torch.zeros(5))
    allowed = {"allow_missing": True, "allow_unexpected": True}
    start_from(network(), StartingWeights(path=path, **allowed))
    path = weights(head__bias=torch.zeros(7))
    with pytest.raises(DataError, match=r"head\.bias: 7 in the file, 1 in the network"):
        start_from(network(), StartingWeights(path=path, **allowed))


@pytest.mark.defect("C6")
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.kind)
def test_every_network_starts_from_the_file_it_is_given_and_asks_nobody_for_weights(section, offline, tmp_path):
    torch.manual_seed(1)
    first = build_network(section, (3, 32, 32), 5)
    save_file({name: value.contiguous() for name, value in first.state_dict().items()}, tmp_path / "w.safetensors")
    torch.manual_seed(2)
    model = build_network(section, (3, 32, 32), 5)
    assert not same_weights(model, first), "the weights of a new network are random"
    prepare(model, TrainedModelSection(model=section, starting_weights={"path": str(tmp_path / "w.safetensors")}))
    assert same_weights(model, first)
    assert offline == []


def same_weights(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.defect("C6")
@pytest.mark.system
def test_a_training_of_pictures_needs_no_network(store_crops, tiny_spec, offline, tmp_path):
    spec = tiny_spec(model={"kind": "cnn", "width": 2}, train_params={"epochs": 1, "threads": 1})
    build_trained_model(spec, "classification", 1, store_crops(), tmp_path)
    assert (tmp_path / CHOSEN).exists()
    assert offline == []


@pytest.mark.defect("C6")
@pytest.mark.parametrize("path", ["https://example.org/w.safetensors", "hf://model/w.safetensors"])
def test_weights_are_never_downloaded(path):
    with pytest.raises(ValidationError, match="never downloaded"):
        StartingWeights(path=path)


@pytest.mark.defect("C6")
def test_a_missing_file_is_an_error_and_not_a_download(tmp_path):
    with pytest.raises(DataError, match=r"none\.safetensors does not exist. Assay never downloads"):
        start_from(network(), StartingWeights(path=str(tmp_path / "none.safetensors")))


@pytest.mark.parametrize("suffix", ["pt", "pth", "PTH", "h5", "ckpt"])
def test_files_that_may_run_code_are_refused_with_advice(suffix):
    with pytest.raises(ValidationError, match="convert it once"):
        StartingWeights(path=f"weights.{suffix}")


def test_a_pickle_of_another_name_is_not_read(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="is no safetensors file"):
        start_from(network(), StartingWeights(path=str(tmp_path / "w.safetensors")))


def test_the_content_of_the_file_is_part_of_the_fingerprint(weights):
    path = weights()
    spec = spec_from({"task": "regression", "trained_model": {"starting_weights": {"path": path}}}, "ab12")
    digests = [stage_config(spec, "ab12", "trained_model").digest for _ in range(2)]
    weights(extra=torch.zeros(5))
    assert digests[0] == digests[1] != stage_config(spec, "ab12", "trained_model").digest
