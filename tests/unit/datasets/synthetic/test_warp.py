import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.datasets.synthetic.backgrounds import crop_to_frame, random_frame, warp
from assay.spec.generated_images import Augmentation

NOTHING = dict.fromkeys(Augmentation.model_fields, False)


def only(*families: str) -> Augmentation:
    return Augmentation(**{**NOTHING, **dict.fromkeys(families, True)})


def warped(photo: Image.Image, size, seed: int, augmentation: Augmentation) -> np.ndarray:
    frame = random_frame(photo.size, size, np.random.default_rng(seed), augmentation)
    part, frame = crop_to_frame(photo, frame)
    return np.asarray(warp(part, frame, size))


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    red = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    green = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([red, green, 0 * red], -1).astype(np.uint8))


def test_without_any_change_the_photo_of_the_same_shape_stays_as_it_is():
    photo = gradient(60, 40)
    assert np.abs(warped(photo, (60, 40), 1, only()).astype(int) - np.asarray(photo)).max() <= 1


def test_flips_mirror_and_nothing_else():
    photo = np.asarray(gradient(40, 40)).astype(int)
    seen = set()
    for seed in range(20):
        image = warped(gradient(40, 40), (40, 40), seed, only("flip")).astype(int)
        fits = [
            name
            for name, mirrored in {"no": photo, "x": photo[:, ::-1], "y": photo[::-1], "xy": photo[::-1, ::-1]}.items()
            if np.abs(image - mirrored).mean() < 8
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert seen == {"no", "x", "y", "xy"}


@pytest.mark.parametrize("family", ["affine", "elastic"])
def test_each_family_changes_some_photos(family):
    plain = warped(gradient(50, 50), (50, 50), 0, only()).astype(int)
    changed = [np.abs(warped(gradient(50, 50), (50, 50), seed, only(family)) - plain).mean() > 2 for seed in range(20)]
    assert any(changed)


@settings(max_examples=50, deadline=None)
@given(
    photo=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.integers(0, 1000),
)
def test_an_image_shows_the_photo_everywhere_whatever_the_sizes(photo, size, seed):
    image = warped(Image.new("RGB", photo, (200, 100, 50)), size, seed, Augmentation())
    assert image.shape == (size[1], size[0], 3)
    assert (image == (200, 100, 50)).all()


def test_every_part_of_a_photo_can_be_seen():
    photo = gradient(300, 60)
    reds = [warped(photo, (60, 60), seed, only())[..., 0] for seed in range(300)]
    assert min(red.min() for red in reds) < 10
    assert max(red.max() for red in reds) > 245
