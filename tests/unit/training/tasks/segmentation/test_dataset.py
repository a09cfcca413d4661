import torch

from assay.datasets.mask_classes import IGNORED
from assay.spec.trained_model import Augmentation
from assay.training.tasks.segmentation.dataset import SegmentationDataset

MOVES = Augmentation(rotation_degrees=15, zoom=0.2, shift=0.05)


def picture(height, width, box, index):
    """A dark image with a bright object, and its mask: bright where the mask says so."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = index
    return ((mask > 0) * torch.tensor(200)).to(torch.uint8).expand(3, -1, -1), mask


def some_items(augmentation=MOVES):
    pictures = [
        picture(90, 160, (100, 30, 130, 60), 1),
        picture(24, 30, (5, 6, 21, 18), 2),
        picture(70, 70, [0] * 4, 1),
    ]
    images, masks = zip(*pictures, strict=True)
    return SegmentationDataset(images, masks, window_size=48, augmentation=augmentation)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_mask_moves_with_its_image():
    items = some_items()
    windows, targets = items.batch(torch.arange(12), generator())
    assert windows.shape == (12, 3, 48, 48)
    assert targets.shape == (12, 2, 48, 48)
    assert targets.dtype == torch.uint8
    for window, (classes, _) in zip(windows, targets, strict=True):
        known = classes != IGNORED
        levels = window[0][known]
        if not (classes[known] > 0).any():
            continue
        halfway = (levels.min() + levels.max()) / 2  # where an edge is blurred, the nearest pixel decides
        differ = (window[0] > halfway) != (classes > 0)
        assert (differ & known).sum() <= 0.03 * known.sum()


def test_most_windows_show_an_object_and_all_of_it():
    items = some_items(Augmentation())
    _, targets = items.batch(torch.zeros(200, dtype=torch.int64), generator())
    sizes = (targets[:, 0] == 1).sum((1, 2))
    assert 0.5 < (sizes == 30 * 30).float().mean() < 0.9


def test_regions_have_one_number_and_pixels_outside_the_image_are_unknown():
    items = some_items()
    _, targets = items.batch(torch.ones(20, dtype=torch.int64), generator())
    classes, regions = targets.unbind(1)
    assert (regions[classes == 2] == 1).all()
    assert (regions[classes != 2] == 0).all()
    assert (classes == IGNORED).any()  # the image is smaller than the window


def test_a_pass_shows_half_of_the_pixels_and_every_image_at_least_once():
    image, mask = picture(256, 256, (3, 3, 40, 40), 1)
    assert len(SegmentationDataset([image] * 5, [mask] * 5, window_size=64)) == 5 * 8
    assert len(SegmentationDataset([image] * 5, [mask] * 5, window_size=512)) == 5
    assert len(SegmentationDataset([], [], window_size=64)) == 0


def test_the_same_generator_gives_the_same_batch_channels_last():
    strength = MOVES.model_copy(update={"invert_probability": 0.5, "colour_shift": 0.5, "noise": 0.1})
    first, second = (some_items(strength).batch(torch.tensor([2, 0, 4]), generator(5)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[0].is_contiguous(memory_format=torch.channels_last)


def test_whole_images_come_in_order_with_their_masks_unknown_in_the_padding():
    items = some_items()
    batches = list(items.batches(2))
    assert [images.shape for images, _ in batches] == [(2, 3, 96, 160), (1, 3, 80, 80)]
    assert [masks.shape for _, masks in batches] == [(2, 96, 160), (1, 80, 80)]
    masks = batches[0][1]
    assert torch.equal(masks[1, :24, :30], items.targets[1])
    assert (masks[1, 24:] == IGNORED).all()
    assert (masks[1, :, 30:] == IGNORED).all()
