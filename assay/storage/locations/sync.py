"""Copying a folder to a location, or updating it there: the target is complete, or recognizably unfinished.

A new folder is written in place and its manifest last; a folder without manifest is unfinished. An existing folder
first receives its new files below ``.incoming/``. When all of them are there and verified, ``pending.json`` is written;
from then on the change can only be completed, by whoever comes next: the files move into place, the manifest last, and
``.incoming/`` is deleted. An object store can't rename folders, so locations of all kinds are written in this one way.

Belongs here: that order. Does not belong here: which experiments are copied (``assay.experiments.copying``), opening
locations (``config``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from assay.errors import StorageError
from assay.storage.files import MANIFEST, require_inner_names
from assay.storage.locations.filesystem import Tree, side_by_side
from assay.storage.records import FolderManifest, PendingChange, Sums, parse_stored
from assay.utils.text import canonical_json

INCOMING = ".incoming"
PENDING = f"{INCOMING}/pending.json"
"""Lists the files that have to be moved into place, and those to delete."""

STAGED = f"{INCOMING}/files"

SUMS = ".sha256.json"
"""SHA-256 of the verified files by name, so that the next copy need not read them again."""


@dataclass(frozen=True)
class SyncResult:
    """The outcome of a copy.

    Attributes:
        files: Number of files in the folder.
        size_bytes: Their total size.
        copied: Number of files that were copied; the others were there already.
    """

    files: int
    size_bytes: int
    copied: int


def sync_folder(
    source: Tree, target: Tree, thorough: bool = False, done: Callable[[int, int], None] = lambda _done, _total: None
) -> SyncResult:
    """Make ``target`` hold the files of ``source``: every file is copied and compared by SHA-256.

    Files that an earlier, interrupted call copied are not copied again. Files that no copy brought stay.

    Args:
        source: A finished folder.
        target: Need not exist.
        thorough: Read back every file at the end, including those that an earlier call copied; otherwise the sums that
            an earlier call noted are believed.
        done: Called with the number of files that are ready, and their total.

    Raises:
        StorageError: The source differs from its manifest, the copy from the source, one of them holds links, or the
            target holds files of somebody else. The target is then left without manifest, or unchanged.
    """
    sizes = _own_files(source)
    listed_sums = _listed(source, sizes)
    complete_pending(target)
    there = _own_files(target)
    target.require_space(sum(size for name, size in sizes.items() if there.get(name) != size))  # before all is hashed
    expected = {**_digests(source, [name for name in sizes if name not in listed_sums]), **listed_sums}
    is_finished, noted = MANIFEST in there, _noted(target)
    own = {**sizes, **noted, **_listed_by(target)}
    _require_own(target, [name for name in there if name not in own], is_finished)
    known = noted if is_finished else {}
    listed = [name for name in sizes if (known.get(name), there.get(name)) == (expected[name], sizes[name])]
    same = {name for name in listed if not thorough or target.digest(name) == expected[name]}
    new = [name for name in sizes if name not in same]
    gone = [name for name in there if name in own and name not in sizes]
    if not new and not gone:
        return SyncResult(len(sizes), sum(sizes.values()), 0)
    prefix = f"{STAGED}/" if is_finished else ""
    if not prefix:  # says whose files these are, should this copy be cut off
        target.write(SUMS, canonical_json({**noted, **expected}).encode())
    copied, kept = 0, len(sizes) - len(new)

    def bring_one(name: str) -> bool:
        return copy_verified(source, target, name, f"{prefix}{name}", expected[name])

    for ready, was_copied in enumerate(side_by_side(bring_one, [name for name in new if name != MANIFEST]), start=1):
        copied += was_copied
        done(kept + ready, len(sizes))
    if thorough:
        _require_read_back(target, {f"{prefix}{name}": expected[name] for name in new if name != MANIFEST})
    target.write(f"{prefix}{SUMS}", canonical_json(expected).encode())
    if not prefix:
        target.remove([*gone, *target.leftovers()])
    copied += bring_one(MANIFEST) if MANIFEST in new else 0
    if thorough and MANIFEST in new:
        _require_read_back(target, {f"{prefix}{MANIFEST}": expected[MANIFEST]})
    if prefix:
        target.write(PENDING, canonical_json({"move": [*new, SUMS], "remove": gone}).encode())
        complete_pending(target)
    done(len(sizes), len(sizes))
    return SyncResult(len(sizes), sum(sizes.values()), copied)


def _require_own(target: Tree, others: Sequence[str], is_finished: bool) -> None:
    """Refuse a folder without manifest that holds files which no copy brought."""
    if others and not is_finished:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise StorageError(
            f"{target.shown} holds files of something else: {shown}. Move that folder away first. Nothing was copied."
        )


def _noted(target: Tree) -> dict[str, str]:
    """Return what a copy noted about its own files; nothing where the note is damaged, and all is compared again."""
    return _parsed(target.read(SUMS), Sums)


def _listed_by(target: Tree) -> dict[str, Any]:
    """Return the files that a copy's manifest lists; none where it is damaged, and is replaced."""
    files: dict[str, Any] = _parsed(target.read(MANIFEST), FolderManifest).get("files", {})
    return files


def _parsed(content: bytes | None, shape: type[BaseModel]) -> dict[str, Any]:
    try:
        return parse_stored(content, "", shape) if content else {}
    except StorageError:
        return {}


def _require_read_back(target: Tree, expected: Mapping[str, str]) -> None:
    """Raise ``StorageError`` if a copied file reads back with another SHA-256 than expected."""
    for name, found in zip(expected, side_by_side(target.digest, expected), strict=True):
        if found != expected[name]:
            target.remove([name])
            raise StorageError(f"{target.shown}: {name} reads back as something else. Nothing was replaced or deleted.")


def complete_pending(target: Tree) -> bool:
    """Complete a pending change of ``target``; returns whether there was one."""
    content = target.read(PENDING)
    if content is None:
        return False
    changes = parse_stored(content, f"{target.shown}/{PENDING}", PendingChange)
    staged = target.below(STAGED).files()
    for name in sorted(set(changes["move"]), key=lambda name: name == MANIFEST):
        if name in staged:
            target.move(f"{STAGED}/{name}", name)
    target.remove(changes["remove"])
    _remove_incoming(target)
    return True


def _remove_incoming(target: Tree) -> None:
    """Delete the staging folder, ``pending.json`` last."""
    incoming = target.below(INCOMING)
    incoming.remove([name for name in incoming.files() if f"{INCOMING}/{name}" != PENDING])
    incoming.remove_all()


def copy_verified(source: Tree, target: Tree, name: str, as_name: str, expected: str) -> bool:
    """Copy one file unless it is there already; returns whether it was copied.

    Args:
        source: Tree that has the file.
        target: Tree that gets it.
        name: Its name in ``source``.
        as_name: Its name in ``target``.
        expected: Its SHA-256.

    Raises:
        StorageError: The copy has another SHA-256; it is removed.
    """
    if _digest_or_none(target, as_name) == expected:
        return False
    found = target.copy_from(source, name, as_name)
    if found != expected:
        target.remove([as_name])
        at_fault = source.shown if source.digest(name) != expected else target.shown
        raise StorageError(
            f"{name}: the copy has SHA-256 {found[:12]}…, but {expected[:12]}… was expected; {at_fault} has changed it "
            "or is damaged. Nothing was replaced or deleted."
        )
    return True


def _digest_or_none(tree: Tree, name: str) -> str | None:
    return tree.digest(name) if tree.has(name) else None


def _own_files(tree: Tree) -> dict[str, int]:
    return {name: size for name, size in tree.files().items() if not name.startswith(f"{INCOMING}/") and name != SUMS}


def _digests(source: Tree, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of files that no manifest lists."""
    return dict(zip(names, side_by_side(source.digest, names), strict=True))


def _listed(tree: Tree, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder's manifest; all of them are there, in their sizes.

    Raises:
        StorageError: The folder has no manifest, or another file than it lists.
    """
    require_inner_names(sizes, tree.shown)
    content = tree.read(MANIFEST)
    if content is None:
        raise StorageError(f"{tree.shown} has no {MANIFEST}: it is not finished, so it is not copied.")
    entries = parse_stored(content, f"{tree.shown}/{MANIFEST}", FolderManifest)["files"]
    missing = next((name for name in entries if name not in sizes), None)
    if missing is not None:
        raise StorageError(f"{tree.shown}: {missing} is missing, but {MANIFEST} lists it. Nothing was copied.")
    return {name: str(entry["sha256"]) for name, entry in entries.items()}
