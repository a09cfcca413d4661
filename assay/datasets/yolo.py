"""Source ``yolo``: from the user's YOLO folder to a listing of annotated images.

Belongs here: bringing images, label files and subsets together. Does not belong here: where they are
(``yolo_places``), what a label file says (``yolo_labels``), what both COCO and YOLO need (``annotated_index``).
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assay.datasets.annotations import AnnotatedImage, Listing
from assay.datasets.index import build_annotated
from assay.own_data.layout import SUBSET_NAMES
from assay.own_data.places import walk_files
from assay.own_data.yolo_labels import read_labels
from assay.own_data.yolo_places import YoloPlaces, find_places, has_folder_of_labels, label_file, list_images
from assay.progress import Progress, silent
from assay.spec.annotated_images import YoloSource
from assay.spec.splits import TRAIN

_NO_LABELS = ("classes.txt",)


def build_yolo(spec: YoloSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and objects and return statistics about them; the images stay where they are.

    Writes what ``assay.datasets.index.build_annotated`` documents.

    Raises:
        DataError: Every file and line that can't be used, by place and reason, before anything is written.
    """
    return build_annotated(spec, list_yolo(find_places(spec), spec), folder, progress)


def list_yolo(places: YoloPlaces, spec: YoloSource) -> Listing:
    """Return the images with their objects, and everything that can't be right."""
    subsets = _subsets_of_images(places, spec)
    existing = [image for image in subsets if image.is_file()]
    listing = Listing(_root(existing, places), [], places.names, list(places.problems))
    listing.problems += [f"{_shown(image, places)}: does not exist" for image in subsets if not image.is_file()]
    listing.problems += _labels_without_image(existing, places) + _shared_labels(existing, places)
    given = _given_subsets(existing, subsets, places, listing)
    twice = without = 0
    for image in sorted(existing):
        label = label_file(image)
        annotated = AnnotatedImage(
            image.relative_to(listing.root).as_posix(), _shown(image, places), given[image], in_shares=True
        )
        if label.is_file():
            annotated.annotations, repeated = read_labels(label, _shown(label, places), places.names, listing.bad)
            twice += repeated
        without += not label.is_file()
        listing.images.append(annotated)
    listing.counts = {"duplicates_left_out": twice, "images_without_label_file": without}
    return listing


def _root(images: list[Path], places: YoloPlaces) -> Path:
    inside = all(image.is_relative_to(places.base) for image in images)
    return places.base if inside else Path(os.path.commonpath([image.parent for image in images]))


def _shown(path: Path, places: YoloPlaces) -> str:
    return os.path.relpath(path, places.base) if path.is_relative_to(places.base) else str(path)


def _subsets_of_images(places: YoloPlaces, spec: YoloSource) -> dict[Path, list[str | None]]:
    found: dict[Path, list[str | None]] = defaultdict(list)
    for subset, place in places.images:
        for image in list_images(place, spec):
            if subset not in found[image]:
                found[image].append(subset)
    return found


def _given_subsets(
    images: list[Path], subsets: dict[Path, list[str | None]], places: YoloPlaces, listing: Listing
) -> dict[Path, str | None]:
    """Return the subset of each image: as data.yaml says, or as its folders are called.

    Where every image is in every subset, as in YOLO's small examples, there is no division worth the name.
    """
    if all(subsets[image] == [None] for image in images):
        return _subsets_by_folder(images, places, listing)
    if all(len(subsets[image]) > 1 and subsets[image] == subsets[images[0]] for image in images):
        return dict.fromkeys(images)
    several = [image for image in images if len(subsets[image]) > 1]
    listing.problems += [
        f"{_shown(image, places)}: is in {' and in '.join(map(str, subsets[image]))}; keep it in one"
        for image in several
    ]
    return {image: subsets[image][0] for image in images}


def _subsets_by_folder(images: list[Path], places: YoloPlaces, listing: Listing) -> dict[Path, str | None]:
    """Return the subset that each image's folder is called, if all are so called and train is among them."""
    found = {image: _subset_of_folder(image, places) for image in images}
    if TRAIN not in found.values():
        return dict.fromkeys(images)
    listing.problems += [
        f"{_shown(image, places)}: lies in no folder called train, val or test, but others do"
        for image, subset in found.items()
        if subset is None
    ]
    return found


def _subset_of_folder(image: Path, places: YoloPlaces) -> str | None:
    folders = [part for part in image.relative_to(places.base).parts[:-1] if part != "images"]
    return SUBSET_NAMES.get(folders[0].lower()) if folders else None


def _shared_labels(images: Iterable[Path], places: YoloPlaces) -> list[str]:
    """Return one line per image whose label file is that of another image as well."""
    first: dict[Path, Path] = {}
    return [
        f"{_shown(image, places)}: has the same label file as {_shown(first[label_file(image)], places)}; rename one"
        for image in images
        if first.setdefault(label_file(image), image) != image
    ]


def _labels_without_image(images: Iterable[Path], places: YoloPlaces) -> list[str]:
    """Return one line per label file, in a folder of label files, that no image has."""
    expected = {label_file(image) for image in images}
    folders = {label_file(image).parent for image in images if has_folder_of_labels(image)}
    tops = {folder for folder in folders if not any(parent in folders for parent in folder.parents)}
    lone = [
        folder / name
        for folder in sorted(tops)
        if folder.is_dir()
        for name in walk_files(folder)
        if name.endswith(".txt") and name not in _NO_LABELS and folder / name not in expected
    ]
    return [f"{_shown(label, places)}: there is no image of that name" for label in lone]
