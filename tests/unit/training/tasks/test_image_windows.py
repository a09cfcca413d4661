import torch

from assay.spec.trained_model import Augmentation
from assay.training.tasks.images import levels_of
from assay.training.tasks.windows import recoloured, standard_windows


def test_windows_have_the_levels_of_their_whole_image_not_their_own():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    image[:, :, 20:] = 200
    levels = levels_of(image, standardize=True)
    dark, bright = standard_windows([image, image], [levels] * 2, torch.tensor([[2, 2], [22, 2]]), 16)
    assert torch.allclose(dark, -bright)
    assert (bright > 0.5).all()


def test_outside_of_the_image_is_its_mean():
    image = torch.full((3, 20, 20), 90, dtype=torch.uint8)
    (window,) = standard_windows([image], [levels_of(image, standardize=True)], torch.tensor([[-8, 12]]), 16)
    assert window.abs().max() == 0


def test_recoloured_windows_are_channels_last_and_follow_the_generator():
    windows = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    strength = Augmentation(contrast=0.3, colour_shift=0.5, noise=0.1)
    one, same, other = (recoloured(windows, strength, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.is_contiguous(memory_format=torch.channels_last)
