import pytest
import torch

from assay.spec.models import UnetModel
from assay.training.model_file import build_network
from assay.training.models.unet import build_unet, cell_outputs


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_unet(UnetModel(width=4), (3, 64, 64), output_count=1 + 3).eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (16, 160)])
@torch.no_grad()
def test_an_image_of_any_size_gets_outputs_for_every_pixel_and_cell(network, height, width):
    outputs = network(noise(2, 3, height, width))
    assert outputs.shape == (2, 16 + 2 * 3, height // 4, width // 4)
    foreground, classes, centers = cell_outputs(outputs)
    assert foreground.shape == (2, height, width)
    assert classes.shape == centers.shape == (2, 3, height // 4, width // 4)


@torch.no_grad()
def test_an_untrained_network_predicts_centers_nearly_nowhere(network):
    centers = cell_outputs(network.train()(noise(2, 3, 32, 32))).centers
    assert centers.sigmoid().mean() < 0.1


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone(network):
    images = noise(3, 3, 32, 32)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-4)


def test_the_spec_builds_it():
    assert build_network(UnetModel(width=4), (3, 256, 256), 3).middles.out_channels == 2
