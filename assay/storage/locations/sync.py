"""How a folder of files appears at a place, or changes there: whole, or recognizably unfinished.

A new folder is written in place, its manifest last: without one it is not finished. A folder that is there already gets
its new files beside the old ones first, below ``.incoming/``. When all are there and were read back, a note says so;
from then on the change can only be completed, by whoever comes next: the files move into place, the manifest last, and
the note goes. An object store can't rename folders, so this is the one way for all kinds of places.

Belongs here: that order. Does not belong here: which experiments are copied (``copying``), locations.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assay.errors import StorageError
from assay.storage.files import MANIFEST, require_inner_names
from assay.storage.locations.filesystem import Tree, side_by_side
from assay.utils.text import canonical_json

INCOMING = ".incoming"
PENDING = f"{INCOMING}/pending.json"
"""Names the files that only have to be moved into place."""

STAGED = f"{INCOMING}/files"

SUMS = ".sha256.json"
"""What was read back here, by name: the next copy need not read it again."""


@dataclass(frozen=True)
class Written:
    """What a copy wrote.

    Attributes:
        files: Number of files that the folder has now.
        size_bytes: Their sizes in all.
        copied: Number of files that had to be copied; the others were there.
    """

    files: int
    size_bytes: int
    copied: int


def bring(
    source: Tree, target: Tree, thorough: bool = False, done: Callable[[int, int], None] = lambda _done, _total: None
) -> Written:
    """Make ``target`` the same as ``source``: every file copied and compared by SHA-256.

    What an earlier call that was cut off had copied is found and not copied again.

    Args:
        source: A finished folder.
        target: Need not exist.
        thorough: Whether to read back every file in the end, those that an earlier call copied among them.
        done: Called with the number of files ready, and of all.

    Raises:
        StorageError: The source is not what its manifest says, or the copy differs from it; the target is left without
            manifest, or as it was.
    """
    complete_pending(target)
    sizes, there = _own_files(source), _own_files(target)
    if MANIFEST not in sizes:
        raise StorageError(f"{source.shown} has no {MANIFEST}: it is not finished, so it is not copied.")
    require_inner_names(sizes, source.shown)
    wanted, known = _digests(source, sizes), json.loads((target.read(SUMS) if MANIFEST in there else None) or b"{}")
    listed = [name for name in sizes if (known.get(name), there.get(name)) == (wanted[name], sizes[name])]
    same = {name for name in listed if not thorough or target.digest(name) == wanted[name]}
    new = [name for name in sizes if name not in same]
    prefix = f"{STAGED}/" if MANIFEST in there else ""

    def bring_one(name: str) -> bool:
        return put(source, target, name, f"{prefix}{name}", wanted[name])

    copied, kept = 0, len(sizes) - len(new)
    for ready, was_copied in enumerate(side_by_side(bring_one, [name for name in new if name != MANIFEST]), start=1):
        copied += was_copied
        done(kept + ready, len(sizes))
    if thorough:
        _require_read_back(target, {f"{prefix}{name}": wanted[name] for name in new if name != MANIFEST})
    gone = [name for name in there if name not in sizes]
    if not new and not gone:
        return Written(len(sizes), sum(sizes.values()), copied)
    target.write(f"{prefix}{SUMS}", canonical_json(wanted).encode())
    if not prefix:
        target.remove([*gone, *target.leftovers()])
    copied += bring_one(MANIFEST) if MANIFEST in new else 0
    if prefix:
        target.write(PENDING, canonical_json({"move": [*new, SUMS], "remove": gone}).encode())
        complete_pending(target)
    done(len(sizes), len(sizes))
    return Written(len(sizes), sum(sizes.values()), copied)


def _require_read_back(target: Tree, wanted: Mapping[str, str]) -> None:
    """Raise when a file that was copied is not what it should be any more."""
    for name, found in zip(wanted, side_by_side(target.digest, wanted), strict=True):
        if found != wanted[name]:
            raise StorageError(f"{target.shown}: {name} reads back as something else. Nothing was replaced or deleted.")


def complete_pending(target: Tree) -> bool:
    """Move into place what only has to be moved; returns whether there was anything."""
    note = target.read(PENDING)
    if note is None:
        return False
    changes = json.loads(note)
    staged = target.below(STAGED).files()
    for name in sorted(set(changes["move"]), key=lambda name: name == MANIFEST):
        if name in staged:
            target.move(f"{STAGED}/{name}", name)
    target.remove(changes["remove"])
    _remove_incoming(target)
    return True


def _remove_incoming(target: Tree) -> None:
    """Delete what was staged, and the note last."""
    incoming = target.below(INCOMING)
    incoming.remove([name for name in incoming.files() if f"{INCOMING}/{name}" != PENDING])
    incoming.remove_all()


def put(source: Tree, target: Tree, name: str, as_name: str, wanted: str) -> bool:
    """Copy one file unless it is there already; returns whether it had to be copied.

    Raises:
        StorageError: What was copied is not what was wanted.
    """
    if _digest_or_none(target, as_name) == wanted:
        return False
    found = target.take(source, name, as_name)
    if found != wanted:
        target.remove([as_name])
        at_fault = source.shown if source.digest(name) != wanted else target.shown
        raise StorageError(
            f"{name}: the copy has SHA-256 {found[:12]}…, but {wanted[:12]}… was expected; {at_fault} has changed it "
            "or is damaged. Nothing was replaced or deleted."
        )
    return True


def _digest_or_none(tree: Tree, name: str) -> str | None:
    return tree.digest(name) if tree.has(name) else None


def _own_files(tree: Tree) -> dict[str, int]:
    return {name: size for name, size in tree.files().items() if not name.startswith(f"{INCOMING}/") and name != SUMS}


def _digests(source: Tree, names: Mapping[str, int]) -> dict[str, str]:
    """Return the SHA-256 of every file: what the manifest says, and of others what they have now."""
    listed = _listed(source)
    others = [name for name in names if name not in listed]
    return {**dict(zip(others, side_by_side(source.digest, others), strict=True)), **listed}


def _listed(tree: Tree) -> dict[str, str]:
    """Return the SHA-256 of every file that a folder's manifest lists."""
    entries = json.loads(tree.read(MANIFEST) or b"{}").get("files", {})
    return {name: str(entry["sha256"]) for name, entry in entries.items()}
