import pytest
import torch

from assay.spec.models import DetectorModel
from assay.training.model_file import build_network
from assay.training.models.detector import build_detector


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_detector(DetectorModel(width=4), (3, 128, 128), output_count=3 + 4).eval()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (16, 160)])
def test_every_cell_of_an_image_of_any_size_has_outputs(network, height, width):
    assert network(torch.zeros(2, 3, height, width)).shape == (2, 7, height // 4, width // 4)


def test_an_untrained_network_expects_objects_nearly_nowhere_and_distances_of_some_pixels(network):
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert outputs[:, :3].sigmoid().mean() < 0.1
    assert outputs[:, 3:].min() > 0
    assert 1 < outputs[:, 3:].mean() < 30


def test_a_batch_gives_what_its_images_give_alone(network):
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(network(images), alone, atol=1e-4)


def test_the_spec_builds_it_for_images_of_any_size():
    small = build_network(DetectorModel(width=4), (3, 64, 64), 7)
    large = build_network(DetectorModel(width=4), (3, 512, 512), 7)
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (small, large)]
    assert shapes[0] == shapes[1]
