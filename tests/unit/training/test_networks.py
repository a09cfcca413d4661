import sys

import pytest
import torch

from assay.errors import AssayError
from assay.spec.models import CnnModel, DetectorModel, MlpModel, ModelSection, UnetModel
from assay.spec.trained_model import TrainedModelSection
from assay.training.model_file import build_network

ADDED = """
from typing import Literal
from assay.spec.models import ModelKind, ModelSection
class Added(ModelSection):
    kind: Literal["one_layer"] = "one_layer"
    scale: float = 1.0
KIND = ModelKind(Added, "added_network:build")
"""
ADDED_NETWORK = """
from torch import nn
def build(section, input_shape, output_count):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], output_count))
"""


@pytest.fixture
def installed(install_package):
    """A package on the path that registers one more kind of network."""
    install_package("assay.models", "one_layer", "added:KIND", added=ADDED, added_network=ADDED_NETWORK)


@pytest.mark.defect("C5")
@pytest.mark.parametrize("kind", [MlpModel, CnnModel, UnetModel, DetectorModel])
def test_building_a_network_four_times_gives_the_same_network(kind):
    section = kind(width=8)
    before = section.model_dump()
    networks = [build_network(section, (3, 16, 16), 6) for _ in range(4)]
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in networks]
    assert shapes == shapes[:1] * 4
    assert section.model_dump() == before


@pytest.mark.parametrize(
    ("section", "shape"), [(MlpModel(width=8), (10,)), (MlpModel(width=8), (3, 8, 8)), (CnnModel(width=4), (3, 16, 16))]
)
def test_a_network_maps_items_to_outputs_and_a_batch_equals_its_items(section, shape):
    network = build_network(section, shape, 5).eval()
    items = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, single = network(items), torch.cat([network(item) for item in items.split(1)])
    assert whole.shape == (6, 5)
    assert torch.allclose(whole, single, atol=1e-5)


def test_every_weight_of_the_cnn_learns():
    network = build_network(CnnModel(width=4), (3, 16, 16), 3)
    network(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_an_installed_package_adds_a_network_that_is_imported_only_when_built(installed):
    section = TrainedModelSection.model_validate({"model": {"kind": "one_layer", "scale": 2.0}})
    assert section.content()["model"] == {"kind": "one_layer", "scale": 2.0}
    assert "added_network" not in sys.modules
    assert build_network(section.model, (7,), 2)(torch.zeros(1, 7)).shape == (1, 2)


def test_a_misspelt_key_of_an_added_network_is_an_error(installed):
    with pytest.raises(ValueError, match="scal"):
        TrainedModelSection.model_validate({"model": {"kind": "one_layer", "scal": 2.0}})


def test_an_unknown_kind_lists_those_that_exist():
    with pytest.raises(
        AssayError, match=r"'cnm' does not exist\. Did you mean 'cnn'\? Choices: cnn, detector, gradient_boosting, l"
    ):
        build_network(ModelSection(kind="cnm"), (1,), 1)
