"""Background photos that can and can't be used, and the part of a photo that an image shows."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.datasets.synthetic.backgrounds import (
    SHIPPED_PHOTOS,
    PhotoCache,
    background_digest,
    crop_to_frame,
    photo_files,
    random_frame,
    warp,
)
from assay.errors import DataError
from assay.images.png import encode_png
from assay.spec.generated_images import PhotoAugmentation


def save_photo(path, color="red", size=(20, 10)):
    Image.new("RGB", size, color).save(path)


def save_bomb(path, side):
    content = bytearray(encode_png(Image.new("RGB", (4, 4))))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def test_all_shipped_photos_can_be_used_and_none_is_listed_twice():
    assert len(set(SHIPPED_PHOTOS)) == len(SHIPPED_PHOTOS)
    assert [path.name for path in PhotoCache(None, 64).files] == sorted(SHIPPED_PHOTOS)


@pytest.mark.defect("A18")
def test_photos_come_sorted_by_name_whatever_the_order_of_the_folder(tmp_path):
    names = [f"{letter}{number}.png" for letter in "cab" for number in (10, 2, 33)]
    for name in names:
        save_photo(tmp_path / name)
    assert [path.name for path in photo_files(str(tmp_path))] == sorted(names)


def test_hidden_files_and_folders_are_not_photos(tmp_path):
    save_photo(tmp_path / "a.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "more").mkdir()
    assert [path.name for path in photo_files(str(tmp_path))] == ["a.png"]


def test_every_photo_that_cannot_be_used_is_reported_by_name_and_reason(tmp_path):
    save_photo(tmp_path / "fine.png")
    (tmp_path / "text.png").write_text("not an image")
    save_bomb(tmp_path / "bomb.png", 60_000)
    save_bomb(tmp_path / "large.png", 9_000)
    Image.new("I;16", (9, 9)).save(tmp_path / "deep.png")
    Image.effect_noise((200, 200), 90).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    with pytest.raises(DataError) as caught:
        PhotoCache(str(tmp_path), 64)
    reasons = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert "bomb" in reasons["bomb.png"]
    assert "9000x9000 pixels" in reasons["large.png"]
    assert "truncated" in reasons["cut.png"]
    assert "8 bits" in reasons["deep.png"]
    assert "not a readable image" in reasons["text.png"]
    assert len(reasons) == 5


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_photos_says_so(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="background_folder"):
        PhotoCache(str(tmp_path / name), 64)


def test_a_photo_is_rgb_and_not_much_larger_than_needed(tmp_path):
    Image.new("L", (1000, 700), 9).save(tmp_path / "grey.png")
    photo = PhotoCache(str(tmp_path), 100).photo(0)
    assert photo.name == "grey.png"
    assert photo.image.mode == "RGB"
    assert min(photo.image.size) in range(100, 200)


def test_a_camera_held_upright_gives_an_upright_photo(tmp_path):
    image, exif = Image.new("RGB", (30, 10)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert PhotoCache(str(tmp_path), 64).photo(0).image.size == (10, 30)


def test_the_digest_follows_names_and_bytes_of_the_users_photos(tmp_path):
    save_photo(tmp_path / "a.png")
    first = background_digest(str(tmp_path))
    assert first == background_digest(str(tmp_path))
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    renamed = background_digest(str(tmp_path))
    save_photo(tmp_path / "b.png", "blue")
    assert len({first, renamed, background_digest(str(tmp_path)), background_digest(None)}) == 4


NOTHING = dict.fromkeys(PhotoAugmentation.model_fields, False)


def only(*families: str) -> PhotoAugmentation:
    return PhotoAugmentation(**{**NOTHING, **dict.fromkeys(families, True)})


def warped(photo: Image.Image, size, seed: int, augmentation: PhotoAugmentation) -> np.ndarray:
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
    image = warped(Image.new("RGB", photo, (200, 100, 50)), size, seed, PhotoAugmentation())
    assert image.shape == (size[1], size[0], 3)
    assert (image == (200, 100, 50)).all()


@pytest.mark.system
def test_every_part_of_a_photo_can_be_seen():
    photo = gradient(300, 60)
    reds = [warped(photo, (60, 60), seed, only())[..., 0] for seed in range(300)]
    assert min(red.min() for red in reds) < 10
    assert max(red.max() for red in reds) > 245
