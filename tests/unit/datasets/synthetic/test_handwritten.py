"""The handwritten digits, written as a user would have them."""

import pytest
from PIL import Image

from assay.datasets.synthetic.build import write_handwritten_digits


@pytest.mark.system
def test_the_digits_are_class_folders_of_small_grey_images(tmp_path):
    folder = tmp_path / "new" / "digits"
    assert write_handwritten_digits(folder) == 1797
    assert sorted(path.name for path in folder.iterdir()) == [str(digit) for digit in range(10)]
    assert len(list(folder.glob("*/*.png"))) == 1797
    with Image.open(folder / "0" / "0000.png") as image:
        assert (image.mode, image.size) == ("L", (8, 8))
        assert image.getextrema() == (0, 239)


def test_files_already_there_are_never_mixed_with_the_digits(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        write_handwritten_digits(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
