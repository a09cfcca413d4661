"""Source ``yolo``: from the user's YOLO folder to a listing of annotated images.

Belongs here: bringing images, label files and subsets together. Does not belong here: where they are
(``yolo_places``), what a label file says (``yolo_labels``), what both COCO and YOLO need (``annotated_index``).
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.annotations import AnnotatedImage, Annotation, Listing
from assay.datasets.geometry import SLACK_SHARE, Edges, Polygons
from assay.datasets.index import build_annotated
from assay.datasets.inspection import SUBSET_NAMES, existing_path, placed, walk_files
from assay.errors import DataError, SpecError
from assay.spec.generated_images import YoloSource
from assay.spec.splits import TRAIN
from assay.spec.yaml_text import read_mapping
from assay.utils.concurrency import Progress, silent

_NO_LABELS = ("classes.txt",)


def build_yolo(spec: YoloSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and objects and return statistics about them; the images stay where they are.

    Writes what ``assay.datasets.index.build_annotated`` documents.

    Raises:
        DataError: Every file and line that can't be used, by place and reason, before anything is written.
    """
    return build_annotated(spec, list_yolo(find_places(spec), spec), folder, progress)


@dataclass
class YoloPlaces:
    """What there is to read.

    Attributes:
        base: Folder of the data.
        names: Classes in the order of their numbers.
        images: Subset (None where there is none) of each folder or list of images.
        config: The file that says all that, data.yaml or classes.txt.
        problems: What can't be right.
    """

    base: Path
    names: list[str]
    config: Path
    images: list[tuple[str | None, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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


_BOX_VALUES = 4

_LEAST_POLYGON_VALUES = 6

_IN_PIXELS = 2.0


def read_labels(path: Path, name: str, classes: Sequence[str], bad: list[str]) -> tuple[list[Annotation], int]:
    """Return the objects of a label file, and how many lines were there twice.

    Args:
        path: The file.
        name: Its name in messages.
        classes: Names by number.
        bad: Takes a sentence ``<name>:<line>: <reason>`` for every line that can't be right.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        bad.append(f"{name}: can't be read as text ({error})")
        return [], 0
    lines = [(number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    first: dict[str, int] = {}
    for number, line in lines:
        first.setdefault(line, number)
    found = []
    for line, number in first.items():
        try:
            found.append(_annotation(line, f"{name}:{number}", classes))
        except ValueError as error:
            bad.append(f"{name}:{number}: {error}")
    return found, len(lines) - len(first)


def _annotation(line: str, where: str, classes: Sequence[str]) -> Annotation:
    numbers = [_number(word) for word in line.split(" ")]
    label = _label(numbers[0], classes)
    values = numbers[1:]
    if len(values) == _BOX_VALUES:
        cx, cy, width, height = values
        edges = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        outline = None
    elif len(values) >= _LEAST_POLYGON_VALUES and len(values) % 2 == 0:
        outline = Polygons((np.array(values, np.float64).reshape(-1, 2),))
        edges = outline.edges
    else:
        raise ValueError(
            f"has {len(numbers)} values; expected 5 (class, centre x, centre y, width, height), "
            "or a class and three or more points"
        )
    _require_shares(values, edges)
    return Annotation(where, label, edges, outline)


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word!r} is no finite number")
    return number


def _label(number: float, classes: Sequence[str]) -> str:
    if not number.is_integer() or not 0 <= number < len(classes):
        raise ValueError(f"class {number:g} does not exist; expected a whole number from 0 to {len(classes) - 1}")
    return classes[int(number)]


def _require_shares(values: Sequence[float], edges: Edges) -> None:
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        raise ValueError(f"its box ({right - left:g} by {bottom - top:g}) has no area")
    if max(values) > _IN_PIXELS:
        raise ValueError(f"holds {max(values):g}; expected shares of the image's sides from 0 to 1, not pixels")
    if min(edges) < -SLACK_SHARE or max(edges) > 1 + SLACK_SHARE:
        raise ValueError(f"its box reaches from {min(left, top):.3g} to {max(right, bottom):.3g}; expected 0 to 1")


YAML_ENDINGS = (".yaml", ".yml")

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_CLASS_FILE = "classes.txt"


def find_places(source: YoloSource) -> YoloPlaces:
    """Return where things are; problems that need the user are in ``problems``.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    path = existing_path(source.path, want_folder=None)
    config = path if path.is_file() else _config_in(path)
    if config is None:
        raise DataError(
            f"source.path {source.path!r} holds neither data.yaml nor classes.txt, so nobody knows the names of the "
            "classes. Add classes.txt with one name per line."
        )
    if config.suffix.lower() in YAML_ENDINGS:
        return _from_yaml(config)
    if config.name != _CLASS_FILE:
        raise DataError(f"source.path {source.path!r} is a file; expected a folder, data.yaml or classes.txt.")
    return _from_class_file(config, path if path.is_dir() else path.parent)


def _config_in(folder: Path) -> Path | None:
    inner = [f"{part}{_CLASS_FILE}" for part in ("", "labels/", "images/")]
    return next((folder / name for name in (*_YAML_NAMES, *inner) if (folder / name).is_file()), None)


def _from_class_file(config: Path, folder: Path) -> YoloPlaces:
    text = config.read_text(encoding="utf-8-sig", errors="replace")
    places = YoloPlaces(folder, [line.strip() for line in text.splitlines() if line.strip()], config)
    places.images = [(None, folder / "images" if (folder / "images").is_dir() else folder)]
    _check_names(places)
    return places


def _from_yaml(config: Path) -> YoloPlaces:
    try:
        content = read_mapping(config.read_text(encoding="utf-8-sig", errors="replace"), config.name)
    except SpecError as error:
        raise DataError(f"{config} can't be used: {error}") from error
    base = placed(str(content["path"]), config.parent) if content.get("path") else config.parent
    places = YoloPlaces(base if base.is_dir() else config.parent, _names(content, config), config)
    for key, subset in SUBSET_NAMES.items():
        entries = content.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            _add_images(places, key, subset, str(entry))
    if "nc" in content and content["nc"] != len(places.names):
        places.problems.append(f"{config.name}: nc is {content['nc']!r}, but names holds {len(places.names)} classes")
    if not places.images and not places.problems:
        places.problems.append(f"{config.name}: has neither train nor val nor test; expected folders of images")
    _check_names(places)
    return places


def _names(content: dict[str, Any], config: Path) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        numbers = {str(key): str(name) for key, name in names.items()}
        if set(numbers) != {str(number) for number in range(len(numbers))}:
            raise DataError(f"{config}: names has the keys {', '.join(numbers)}; expected 0, 1, 2 and so on.")
        return [numbers[str(number)] for number in range(len(numbers))]
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    raise DataError(f"{config}: names is {names!r}; expected a list of class names, or their names by number.")


def _check_names(places: YoloPlaces) -> None:
    twice = sorted({name for name in places.names if places.names.count(name) > 1})
    places.problems += [f"{places.config.name}: class {name!r} is named twice" for name in twice]
    if not places.names:
        places.problems.append(f"{places.config.name}: names no class")


def _add_images(places: YoloPlaces, key: str, subset: str, text: str) -> None:
    """Take a folder or list of images; archives often write ``../train`` for what lies beside data.yaml."""
    choices = [placed(text, places.base), placed(text, places.config.parent)]
    if text.startswith("../"):
        choices.append(placed(text.removeprefix("../"), places.config.parent))
    found = next((path for path in choices if path.exists()), None)
    if found is None:
        places.problems.append(f"{places.config.name}: {key}: {text!r} does not exist (looked for {choices[0]})")
    else:
        places.images.append((subset, found))


def list_images(place: Path, source: YoloSource) -> list[Path]:
    """Return the images of a folder, or those that a text file lists, relative to itself."""
    if place.is_dir():
        return [place / name for name in walk_files(place) if source.is_image(name)]
    lines = place.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [placed(line.strip(), place.parent) for line in lines if line.strip()]


def label_file(image: Path) -> Path:
    """Return where an image's label file is, whether or not it exists."""
    folders = list(image.parts[:-1])
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
    return Path(*folders, image.stem + ".txt")


def has_folder_of_labels(image: Path) -> bool:
    """Return whether label files are in a folder of their own rather than beside the images."""
    return "images" in image.parts[:-1]
