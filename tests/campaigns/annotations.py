"""Hostile and messy COCO files, YOLO labels and masks: read right, or refused in one sentence, never wrong in silence.

Each seed makes a small data set whose boxes are known, changes it as people and broken tools do, and reads it. What
is read must be true: an image whose truth is said to be known has exactly its boxes, any other only boxes of its own.
"""

import shutil
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import AssayError
from assay.images.decoding import read_mask
from tests.campaigns.annotation_changes import COCO, COUNT, FILES, MAKERS, MASKS, YOLO, Expected
from tests.campaigns.campaign import Tried, command
from tests.helpers.annotated_data import Index, truth

MOST_CHARACTERS = 20_000
"""Longest message of one error, of at most twenty problems."""


def attempt(seed: int) -> Tried:
    """Read one changed data set."""
    rng = np.random.default_rng(seed)
    kind = ["coco", "yolo", "masks"][seed % 3]
    changes = {"coco": COCO, "yolo": YOLO, "masks": MASKS}[kind]
    folder = Path(tempfile.mkdtemp())
    try:
        expected = truth(COUNT, seed)
        MAKERS[kind](folder / "data", seed, rng)
        change = changes[int(rng.integers(len(changes)))]
        change(folder / "data", rng, expected)
        if rng.random() < 0.3:
            FILES[int(rng.integers(len(FILES)))](folder / "data", rng, expected)
        keys = {"bad_annotations": "leave_out"} if kind != "masks" and rng.random() < 0.5 else {}
        name = f"{kind}: {change.__name__.strip('_').replace('_', ' ')}"
        return Tried(name, _problem(kind, folder, expected, keys))
    finally:
        shutil.rmtree(folder)


def _problem(kind: str, folder: Path, expected: Expected, keys: dict[str, Any]) -> str:
    try:
        index = Index(kind, folder / "data", folder / "result", **keys)
    except AssayError as error:
        too_long = len(str(error)) > MOST_CHARACTERS
        return f"a message of {len(str(error))} characters" if too_long else ""
    found = _mask_boxes(index, folder) if kind == "masks" else index.boxes
    if kind == "masks" and not index.report["labels"].keys() <= {"1", "200", "#010101", "#c8c8c8"}:
        return f"classes {list(index.report['labels'])}"
    by_name = {unicodedata.normalize("NFC", name): boxes for name, boxes in found.items()}
    known = {unicodedata.normalize("NFC", name) for name in index.known}
    for name, boxes in by_name.items():
        wrong = [box for box in boxes if box not in expected.get(name, [])]
        if wrong:
            return f"{name} has the box {wrong[0]}, which is none of {expected.get(name)}"
    lost = [name for name in known if name in expected and sorted(by_name.get(name, [])) != sorted(expected[name])]
    return f"{lost[0]} is known to hold {by_name.get(lost[0])}, but holds {expected[lost[0]]}" if lost else ""


def _mask_boxes(index: Index, folder: Path) -> Expected:
    boxes: Expected = {}
    root = folder / "data" / "masks"
    for item, mask in index.items.select("item", "mask").iter_rows():
        if mask is not None:
            rows, columns = np.nonzero(read_mask((root / mask).read_bytes()))
            if len(rows):
                box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
                boxes[item] = [tuple(map(int, box))]
    return boxes


if __name__ == "__main__":
    command(attempt, 300)
