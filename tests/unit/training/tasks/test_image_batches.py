import pytest
import torch

from assay.training.tasks.images import image_batch, levels_of, split_images


def image(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_each_image_is_standardized_by_itself_and_padded_with_its_mean():
    dark, bright = image(20, 16) // 4, image(16, 40)
    batch = image_batch([dark, bright], standardize=True)
    assert batch.shape == (2, 3, 32, 48)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch[0, :, :20, :16].mean().item() == pytest.approx(0, abs=1e-4)
    assert 0.5 < batch[0, :, :20, :16].std().item() < 1  # less than 1 where there is little contrast
    assert batch[0, :, 20:].abs().max() == 0
    assert torch.equal(batch[1, :, :16, :40], image_batch([bright], standardize=True)[0, :, :, :40])


def test_without_standardizing_white_is_1():
    white = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    assert image_batch([white], standardize=False).eq(1).all()


def test_noise_in_a_uniform_image_is_not_amplified():
    mean, spread = levels_of(torch.full((3, 8, 8), 77, dtype=torch.uint8), standardize=True)
    assert mean == pytest.approx(77)
    assert spread == pytest.approx(255 * 0.05)


def test_batches_have_at_most_batch_size_images_and_not_too_many_pixels():
    images = [image(10, 10)] * 3 + [image(60, 60)] + [image(20, 20)] * 3
    parts = [(part.start, part.stop) for part in split_images(images, 2, max_pixels=1000)]
    assert parts == [(0, 2), (2, 3), (3, 4), (4, 6), (6, 7)]
    assert list(split_images([], 4)) == []
