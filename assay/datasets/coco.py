"""Source ``coco``: from the user's COCO files to a listing of annotated images.

Belongs here: bringing files, subsets and images together. Does not belong here: what is in a file (``coco_json``,
``coco_annotations``), what both COCO and YOLO need (``annotated_index``).
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from assay.datasets.annotations import AnnotatedImage, Listing
from assay.datasets.coco_json import CocoFile, Entry, read_coco_file
from assay.datasets.index import build_annotated
from assay.own_data.coco_annotations import read_annotations
from assay.own_data.coco_places import CocoPlaces, find_places, image_folder
from assay.own_data.places import walk_files
from assay.progress import Progress, silent
from assay.spec.annotated_images import CocoSource


def build_coco(spec: CocoSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and objects and return statistics about them; the images stay where they are.

    Writes what ``assay.datasets.index.build_annotated`` documents.

    Raises:
        DataError: Every file and entry that can't be used, by place and reason, before anything is written.
    """
    places = find_places(spec)
    listing = list_coco(places)
    walked = sum(map(spec.is_image, walk_files(places.images)))
    listing.counts["images_not_listed"] = max(0, walked - len(listing.images))
    return build_annotated(spec, listing, folder, progress)


def list_coco(places: CocoPlaces) -> Listing:
    """Return the images of all JSON files with their objects, and everything that can't be right."""
    read = [(subset, path, read_coco_file(path, places.name_of(path))) for subset, path in places.files]
    folders = [
        image_folder(places, path, subset, [_clean(entry["file_name"]) for entry in file.images.values()])
        for subset, path, file in read
    ]
    root = Path(os.path.commonpath(folders))
    listing = Listing(root, [], list(dict.fromkeys(name for _, _, file in read for name in file.categories.values())))
    for (subset, _, file), folder in zip(read, folders, strict=True):
        listing.images += _images(file, subset, folder, listing)
        listing.problems += file.problems
    listing.images.sort(key=lambda image: image.file)
    listing.problems += _listed_twice(listing.images)
    listing.counts = {"duplicates_left_out": sum(file.duplicates for _, _, file in read)}
    return listing


def _images(file: CocoFile, subset: str | None, folder: Path, listing: Listing) -> Iterable[AnnotatedImage]:
    annotations = read_annotations(file, listing.bad)
    for image_id, entry in file.images.items():
        where = f"{file.name}: image {entry['file_name']!r} (id {image_id})"
        name = _clean(entry["file_name"])
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            listing.problems.append(f"{where}: its file_name leads out of the folder of images")
        elif not (folder / name).is_file():
            listing.bad.append(f"{where}: is not in {folder}; set source.images if it is elsewhere")
        else:
            placed = (folder / name).relative_to(listing.root).as_posix()
            is_known = file.annotations is not None
            found = annotations.get(image_id, [])
            yield AnnotatedImage(placed, where, subset, _stated_size(entry), is_known, annotations=found)


def _clean(name: str) -> str:
    """Return a file name with the separators of POSIX; files made on Windows have others."""
    return str(PurePosixPath(name.replace("\\", "/")))


def _stated_size(entry: Entry) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return None if width is None or height is None else (width, height)


def _listed_twice(images: list[AnnotatedImage]) -> list[str]:
    """Return one line per image that is there before, in one file or in two subsets."""
    first: dict[str, AnnotatedImage] = {}
    problems = []
    for image in images:
        known = first.setdefault(image.file, image)
        if known is not image:
            problems.append(f"{image.where}: the same file is {known.where}; keep one of them")
    return problems
