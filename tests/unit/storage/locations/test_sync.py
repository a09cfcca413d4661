"""A folder appears at a place whole or recognizably unfinished, and changes there from one whole state to the next."""

from dataclasses import dataclass
from shutil import rmtree

import pytest

from assay.errors import StorageError
from assay.storage.locations.filesystem import Tree
from assay.storage.locations.sync import PENDING, complete_pending, sync_folder
from tests.helpers.stored_experiments import contents, fill

OLD = {"a": "one", "deep__b": "two", "gone": "three"}
NEW = {"a": "one", "deep__b": "2", "deep__new": "four", "z": "five"}


class Cut(BaseException):
    """Ends a copy as a signal does: no handler for errors sees it."""


@dataclass(frozen=True)
class CutOff(Tree):
    """A place that is cut off at a certain operation."""

    left: list[int] = None

    def below(self, name):
        return CutOff(self.fs, f"{self.path}/{name}", self.shown, self.left)

    def _count(self):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Cut

    def copy_from(self, source, name, as_name):
        self._count()
        return super().copy_from(source, name, as_name)

    def move(self, name, as_name):
        self._count()
        super().move(name, as_name)

    def write(self, name, content):
        self._count()
        super().write(name, content)

    def remove(self, names):
        for name in names:
            self._count()
            super().remove([name])


def test_a_copy_has_every_file_and_nothing_else(tmp_path):
    source = fill(tmp_path / "source", **OLD)
    written = sync_folder(Tree.of(source), Tree.of(tmp_path / "target"))
    assert contents(tmp_path / "target") == contents(source)
    assert (written.files, written.copied) == (6, 6)
    assert written.size_bytes == sum(map(len, contents(source).values()))


def test_what_is_there_is_not_copied_again(tmp_path):
    source, target = Tree.of(fill(tmp_path / "source", **OLD)), Tree.of(tmp_path / "target")
    sync_folder(source, target)
    assert sync_folder(source, target, thorough=True).copied == 0
    assert sync_folder(source, target).copied == 0


@pytest.mark.parametrize("thorough", [False, True])
def test_an_update_replaces_adds_and_removes(tmp_path, thorough):
    sync_folder(Tree.of(fill(tmp_path / "old", **OLD)), Tree.of(tmp_path / "target"))
    new = fill(tmp_path / "new", **NEW)
    sync_folder(Tree.of(new), Tree.of(tmp_path / "target"), thorough)
    assert contents(tmp_path / "target") == contents(new)


@pytest.mark.parametrize("operations", range(14))
def test_a_first_copy_that_is_cut_off_does_not_look_finished_and_goes_on(tmp_path, operations):
    source, target = Tree.of(fill(tmp_path / "source", **OLD)), Tree.of(tmp_path / "target")
    try:
        sync_folder(source, CutOff(target.fs, target.path, "", [operations]))
    except Cut:
        assert not (tmp_path / "target" / "manifest.json").exists()
    sync_folder(source, target)
    assert contents(tmp_path / "target") == contents(tmp_path / "source")


@pytest.mark.parametrize("operations", range(24))
@pytest.mark.system
def test_an_update_that_is_cut_off_is_the_old_state_or_says_so(tmp_path, operations):
    target = Tree.of(tmp_path / "target")
    sync_folder(Tree.of(fill(tmp_path / "old", **OLD)), target)
    new = fill(tmp_path / "new", **NEW)
    try:
        sync_folder(Tree.of(new), CutOff(target.fs, target.path, "", [operations]))
    except Cut:
        found = {name: c for name, c in contents(tmp_path / "target").items() if not name.startswith(".incoming/")}
        assert found == contents(tmp_path / "old") or (tmp_path / "target" / PENDING).exists()
    rmtree(tmp_path / "old")
    if not complete_pending(target):  # from then on, the source is not needed any more
        sync_folder(Tree.of(new), target)
    assert contents(tmp_path / "target") == contents(new)


def test_a_damaged_source_is_refused_and_leaves_no_copy(tmp_path):
    source = fill(tmp_path / "source", **OLD)
    (source / "deep" / "b").write_text("twO")
    with pytest.raises(StorageError, match=r"deep/b: the copy has SHA-256 .*source has changed it or is damaged"):
        sync_folder(Tree.of(source), Tree.of(tmp_path / "target"))
    assert not (tmp_path / "target" / "manifest.json").exists()
    assert not (tmp_path / "target" / "deep" / "b").exists()


def test_a_damaged_copy_is_noticed_when_it_matters(tmp_path):
    source, target = Tree.of(fill(tmp_path / "source", **OLD)), Tree.of(tmp_path / "target")
    sync_folder(source, target)
    (tmp_path / "target" / "a").write_text("onE")
    sync_folder(source, target, thorough=True)
    assert contents(tmp_path / "target") == contents(tmp_path / "source")


def test_an_unfinished_source_is_not_copied(tmp_path):
    source = fill(tmp_path / "source", **OLD)
    (source / "manifest.json").unlink()
    with pytest.raises(StorageError, match="it is not finished"):
        sync_folder(Tree.of(source), Tree.of(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


def test_the_user_s_own_file_in_a_copy_stays_and_a_folder_of_something_else_is_not_written_to(tmp_path):
    source, target = Tree.of(fill(tmp_path / "source", **OLD)), Tree.of(tmp_path / "target")
    sync_folder(source, target)
    (tmp_path / "target" / "mine").write_text("mine")
    sync_folder(Tree.of(fill(tmp_path / "new", **NEW)), target)
    assert (tmp_path / "target" / "mine").read_text() == "mine"
    assert not (tmp_path / "target" / "gone").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    with pytest.raises(StorageError, match="holds files of something else: mine"):
        sync_folder(source, Tree.of(tmp_path / "other"))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine"]


def test_a_byte_that_was_flipped_in_the_copy_is_noticed_when_it_is_said_to_be_compared(tmp_path):
    source, target = Tree.of(fill(tmp_path / "source", **OLD)), Tree.of(tmp_path / "target")
    sync_folder(source, target, thorough=True)
    (tmp_path / "target" / "a").write_text("onE")
    assert sync_folder(source, target, thorough=True).copied == 1
    assert contents(tmp_path / "target") == contents(tmp_path / "source")


@pytest.mark.parametrize("name", ["a", "deep", "manifest.json", "new"])
def test_a_link_is_an_error_wherever_it_is(tmp_path, name):
    for place in ("source", "target"):
        source = fill(tmp_path / f"{place}-1", **OLD)
        sync_folder(Tree.of(source), Tree.of(tmp_path / f"{place}-2"))
        linked = (source if place == "source" else tmp_path / f"{place}-2") / name
        if linked.exists():
            linked.rename(tmp_path / f"{place}-was")
        linked.symlink_to(tmp_path / f"{place}-was")
        with pytest.raises(StorageError, match=r"is a (symbolic )?link|expected regular files"):
            sync_folder(Tree.of(source), Tree.of(tmp_path / f"{place}-2"))
