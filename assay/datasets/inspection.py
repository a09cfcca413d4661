"""Looking into every image file once, before anything is computed.

Belongs here: which files can be used, their sizes, hashes and looks. Does not belong here: what their folders mean.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.looks import look_of
from assay.own_data.layout import ImageFile
from assay.own_data.pixels import DECODE_ERRORS, decode_turned
from assay.parallel import map_in_order, usable_cores
from assay.progress import Progress


@dataclass(frozen=True)
class Inspected:
    """What is in one file; ``problem`` says why it can't be used, and is empty when it can.

    Width and height are those of the upright image; ``orientation`` is the EXIF orientation that made it upright.
    """

    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    pixels: str = ""
    thumbnail: bytes = b""
    orientation: int = 1
    problem: str = ""


def inspect_images(root: Path, files: Sequence[str], max_pixels: int, progress: Progress) -> list[Inspected]:
    """Decode every image in threads and return what is in it, in the order of ``files``, which are below ``root``."""
    found: list[Inspected] = []
    for one in map_in_order(lambda file: _inspect(root / file, max_pixels), files, usable_cores()):
        found.append(one)
        progress(len(found), len(files), "images checked")
    return found


def _inspect(path: Path, max_pixels: int) -> Inspected:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Inspected(problem=f"can't be read: {error.strerror}")
    if not content:
        return Inspected(problem="is empty")
    try:
        image, orientation = decode_turned(content, max_pixels)
    except DECODE_ERRORS as error:
        return Inspected(problem=in_words(error))
    look = look_of(image)
    return Inspected(hashlib.sha256(content).hexdigest(), *image.size, look.pixels, look.thumbnail, orientation)


def in_words(error: BaseException) -> str:
    """Return Pillow's reason as a clause; it names the memory address of our buffer where the file name belongs."""
    reason = str(error)
    if "cannot identify image file" in reason:
        return "is no image that can be read, or its start is damaged"
    if "truncated" in reason or isinstance(error, EOFError):
        return f"is truncated ({reason})"
    if "decompression bomb" in reason:
        return f"is too large to decode safely ({reason})"
    return reason if reason.startswith(("has ", "is a JPEG")) else f"is damaged ({reason})"


def label_conflicts(images: Sequence[ImageFile], found: Sequence[Inspected]) -> list[str]:
    """Return one line per file that is byte for byte another one with another label."""
    first: dict[str, ImageFile] = {}
    problems = []
    for image, content in zip(images, found, strict=True):
        if content.problem:
            continue
        same = first.setdefault(content.sha256, image)
        if same.label != image.label:
            problems.append(f"{image.item}: is the same file as {same.item}, but of another class")
    return problems
