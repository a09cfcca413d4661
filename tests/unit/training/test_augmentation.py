import pytest
import torch

from assay.spec.recipes import RECIPES
from assay.spec.trained_model import Augmentation
from assay.training.augmentation import add_noise, augment, invert, move, recolour
from assay.training.device import generator
from assay.training.inputs import Inputs

IMAGES = Inputs(view="crops", image_size=8)
PIXELS = Inputs(view="pixels", columns=tuple(f"px_{y}_{x}" for y in range(4) for x in range(4)), grid=(4, 4))


def batch(*shape):
    return torch.randn(shape, generator=generator(1, 1))


@pytest.mark.parametrize(("inputs", "shape"), [(IMAGES, (5, 3, 8, 8)), (PIXELS, (5, 16))])
def test_a_batch_keeps_its_shape_and_its_source(inputs, shape):
    before = batch(*shape)
    copy = before.clone()
    after = augment(before, inputs, RECIPES[inputs.view].augmentation, generator(0, 2))
    assert after.shape == shape
    assert not torch.equal(after, before)
    assert torch.equal(before, copy)


@pytest.mark.parametrize(("inputs", "shape"), [(IMAGES, (5, 3, 8, 8)), (PIXELS, (5, 16))])
@pytest.mark.system
def test_a_batch_is_changed_where_it_is(inputs, shape):
    after = augment(torch.zeros(shape, device="meta"), inputs, RECIPES[inputs.view].augmentation, generator(0, 2))
    assert (after.device.type, after.shape) == ("meta", shape)


def test_the_generator_alone_decides():
    strength = RECIPES["crops"].augmentation
    one, same, other = (augment(batch(5, 3, 8, 8), IMAGES, strength, generator(seed, 2)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_no_strength_changes_nothing():
    images = batch(5, 3, 8, 8)
    assert torch.equal(augment(images, IMAGES, Augmentation(), generator(0, 2)), images)


def test_images_stay_channels_last():
    images = batch(5, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    after = augment(images, IMAGES, RECIPES["crops"].augmentation, generator(0, 2))
    assert after.is_contiguous(memory_format=torch.channels_last)


def test_a_shift_moves_each_image_by_an_amount_of_its_own():
    images = torch.zeros(50, 1, 9, 9)
    images[:, 0, 4, 4] = 1.0
    moved = move(images, Augmentation(shift=0.25), generator(0, 2))
    columns = (moved.sum(2) * torch.arange(9)).sum(2) / moved.sum((2, 3))
    assert columns.min() < 3 < 5 < columns.max()
    assert (columns - 4).abs().max() <= 0.25 * 9 + 1e-3


def test_half_a_turn_at_most_turns_the_picture_over():
    images = torch.zeros(40, 1, 9, 9)
    images[:, 0, 0, 4] = 1.0
    upper = move(images, Augmentation(rotation_degrees=45), generator(0, 2))[:, 0, :5].sum((1, 2))
    assert (upper > 0.5).all()


def test_inverting_exchanges_light_and_dark_around_the_mean():
    images = batch(40, 3, 4, 4) + 2
    after = invert(images, 0.5, generator(0, 2))
    assert torch.allclose(after.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    unchanged = (after == images).flatten(1).all(1)
    assert 0 < unchanged.sum() < 40


def test_recolouring_shifts_each_channel_as_a_whole():
    images = batch(6, 3, 4, 4)
    difference = recolour(images, 0.0, 0.5, generator(0, 2)) - images
    assert difference.flatten(2).std(2).max() < 1e-6
    assert 0 < difference.abs().max() <= 0.5


def test_noise_has_the_standard_deviation_of_the_spec():
    assert add_noise(torch.zeros(10_000), 0.3, generator(0, 2)).std().item() == pytest.approx(0.3, rel=0.05)
