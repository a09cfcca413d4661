"""Which files of the user's a source reads: those that are hashed, and the places that are watched.

Belongs here: the list of files. Does not belong here: hashing (``digests``), judging, what the files hold.
"""

import os
from collections.abc import Callable
from pathlib import Path

from assay.errors import DataError
from assay.own_data import coco_places, mask_places, yolo_places
from assay.own_data.places import existing_path, placed, walk_files
from assay.spec.annotated_images import CocoSource, MaskFolderSource, YoloSource
from assay.spec.generated_images import OwnData
from assay.spec.own_data import TableSource

Files = dict[str, Path]
"""Path of each file by a name that does not depend on where the data are."""


def source_files(source: OwnData) -> Files:
    """Return the files whose content determines the result.

    Raises:
        DataError: A folder or file does not exist.
    """
    if isinstance(source, TableSource):
        path = existing_path(source.path, want_folder=False)
        return {path.name: path}
    if isinstance(source, CocoSource):
        return _coco_files(source)
    if isinstance(source, YoloSource):
        return _yolo_files(source)
    root = existing_path(source.path, want_folder=True)
    if isinstance(source, MaskFolderSource):
        return _mask_files(source)
    return _walk(root, source.is_image)


def watched_paths(source: OwnData) -> tuple[Path, ...]:
    """Return the folders and files to look at for changes, whether or not they exist."""
    path = placed(source.path)
    try:
        places = {path, *_places(source)}
    except DataError:
        return (path,)  # the stage says it better, where the user looks for it
    return tuple(sorted(one for one in places if not any(other in places for other in one.parents)))


def _places(source: OwnData) -> list[Path]:
    if isinstance(source, CocoSource):
        coco = coco_places.find_places(source)
        return [coco.images, *(file for _, file in coco.files)]
    if isinstance(source, YoloSource):
        yolo = yolo_places.find_places(source)
        folders = [place for _, place in yolo.images]
        return [yolo.config, *folders, *(yolo_places.label_file(folder / "any").parent for folder in folders)]
    if isinstance(source, MaskFolderSource):
        return [folder for pair in mask_places.folder_pairs(source) for folder in (pair.images, pair.masks)]
    return []


def _walk(root: Path, is_wanted: Callable[[str], bool], prefix: str = "") -> Files:
    return {prefix + name: root / name for name in sorted(walk_files(root)) if is_wanted(name)}


def _coco_files(source: CocoSource) -> Files:
    places = coco_places.find_places(source)
    annotations = {f"{subset}:{os.path.relpath(file, places.base)}": file for subset, file in places.files}
    return annotations | _walk(places.images, source.is_image, "images:")


def _mask_files(source: MaskFolderSource) -> Files:
    files: Files = {}
    for pair in mask_places.folder_pairs(source):
        files |= _walk(pair.images, source.is_image, f"images:{pair.subset}:")
        files |= _walk(pair.masks, mask_places.is_mask, f"masks:{pair.subset}:")
    return files


def _yolo_files(source: YoloSource) -> Files:
    places = yolo_places.find_places(source)
    lists = [place for _, place in places.images if place.is_file()]
    images = [image for _, place in places.images for image in yolo_places.list_images(place, source)]
    labels = [label for label in map(yolo_places.label_file, images) if label.is_file()]
    used = [places.config, *lists, *(image for image in images if image.is_file()), *labels]
    return {os.path.relpath(file, places.base): file for file in used}
