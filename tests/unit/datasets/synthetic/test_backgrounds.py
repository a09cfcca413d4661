import struct
import zlib

import pytest
from PIL import Image

from assay.datasets.synthetic.backgrounds import SHIPPED_PHOTOS, PhotoCache, background_digest, photo_files
from assay.errors import DataError
from assay.images.png import encode_png


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


def test_a18_photos_come_sorted_by_name_whatever_the_order_of_the_folder(tmp_path):
    names = [f"{letter}{number}.png" for letter in "cab" for number in (10, 2, 33)]
    for name in names:
        save_photo(tmp_path / name)
    assert [path.name for path in photo_files(str(tmp_path))] == sorted(names)


def test_hidden_files_and_folders_are_no_photos(tmp_path):
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
