"""Files by names that another system wrote."""

import os

import pytest

from assay.datasets.file_names import FileFinder, composed, kind_of_path, spellings

COMPOSED, DECOMPOSED = "\u00e9", "e\u0301"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", ["a.png"]),
        ("a\\b.png", ["a/b.png", "a\\b.png"]),
        ("a%20b.png", ["a%20b.png", "a b.png"]),
        ("x\\a%20b.png", ["x/a%20b.png", "x\\a%20b.png", "x/a b.png"]),
        ("100%.png", ["100%.png"]),
    ],
)
def test_a_name_of_another_system_may_mean_several(name, expected):
    assert list(spellings(name)) == expected


@pytest.mark.parametrize(("asked", "there"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)])
def test_files_are_found_whatever_the_spelling_of_every_part_of_their_path(tmp_path, asked, there):
    path = tmp_path / f"x{there}" / f"y{there}.png"
    path.parent.mkdir()
    path.touch()
    assert FileFinder().find_file(tmp_path / f"x{asked}" / f"y{asked}.png") == path


def test_a_file_as_it_is_written_comes_before_one_of_another_spelling(tmp_path):
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / name).touch()
    assert FileFinder().find(tmp_path / DECOMPOSED) == tmp_path / DECOMPOSED


@pytest.mark.parametrize("name", ["gone.png", "no/folder/a.png", "a\0b", "x" * 5000, "\ud800"])
def test_what_is_not_there_is_nothing(tmp_path, name):
    finder = FileFinder()
    assert finder.find(tmp_path / name) is None
    assert finder.find_file(tmp_path / name) is None
    assert finder.hint(tmp_path / name) == ""


def test_what_is_there_instead_is_told(tmp_path):
    (tmp_path / "Photo.PNG").touch()
    os.mkfifo(tmp_path / "pipe.png")
    finder = FileFinder()
    assert finder.hint(tmp_path / "photo.png") == "; there is 'Photo.PNG', in which upper and lower case differ"
    assert finder.hint(tmp_path / "Photo1.PNG") == "; did you mean 'Photo.PNG'?"
    assert finder.hint(tmp_path / "pipe.png") == ", where it is a pipe (FIFO)"
    assert finder.find_file(tmp_path / "pipe.png") is None
    assert (finder.is_alike(tmp_path / "photo.png"), finder.is_alike(tmp_path / "other.png")) == (True, False)


def test_similar_names_are_not_sought_for_ever(tmp_path):
    (tmp_path / "photo.png").touch()
    finder = FileFinder()
    hints = [finder.hint(tmp_path / f"photo{number}.png") for number in range(100)]
    assert 0 < sum(map(bool, hints)) < 30


@pytest.mark.parametrize(
    ("target", "kind"), [("gone", "a link that leads nowhere"), ("link", "a link that leads nowhere")]
)
def test_links_that_lead_nowhere_are_called_so(tmp_path, target, kind):
    (tmp_path / "link").symlink_to(target)
    assert kind_of_path(tmp_path / "link").startswith(kind)


def test_composing_is_what_it_says():
    assert composed(DECOMPOSED) == composed(COMPOSED) == COMPOSED
