"""Source ``yolo``: where the user's images and label files are, what the classes are called, what each line says.

Belongs here: data.yaml, classes.txt, folders and label files. Does not belong here: what all annotated images have in
common (``annotations``, ``index``).

The rules are those of Ultralytics' loader: a label file has its image's name and lies in the folder ``labels`` where
the image is in ``images``, or beside the image. It holds a line per object, ``class cx cy width height`` or
``class x1 y1 x2 y2 x3 y3 …``; all positions are shares of the upright image's width and height.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.annotations import AnnotatedDataset, AnnotatedImage, Annotation
from assay.datasets.geometry import SLACK_SHARE, Edges, Polygons
from assay.datasets.inspection import SUBSET_NAMES, absolute_path, existing_path, walk_files
from assay.errors import DataError, SpecError
from assay.spec.generated_images import YoloSource
from assay.spec.splits import TRAIN
from assay.spec.yaml_text import read_mapping

_NOT_LABELS = ("classes.txt",)


def read_yolo(spec: YoloSource) -> AnnotatedDataset:
    """Return the images with their objects, and everything that is wrong with them.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    paths = find_yolo_paths(spec)
    subsets = _subsets_of_images(paths, spec)
    existing = [image for image in subsets if image.is_file()]
    missing = [f"{_shown(image, paths)}: does not exist" for image in subsets if not image.is_file()]
    given, subset_problems = _given_subsets(existing, subsets, paths)
    labels = {image: read_labels(label_file(image), paths) for image in sorted(existing)}
    root = _root(existing, paths)
    images = [
        AnnotatedImage(
            file=image.relative_to(root).as_posix(),
            where=_shown(image, paths),
            given_subset=given[image],
            in_shares=True,
            annotations=own.annotations,
        )
        for image, own in labels.items()
    ]
    return AnnotatedDataset(
        root=root,
        images=tuple(images),
        classes=paths.names,
        problems=(
            *(*paths.problems, *missing),
            *(*_labels_without_image(existing, paths), *_shared_labels(existing, paths), *subset_problems),
        ),
        bad_annotations=tuple(problem for own in labels.values() for problem in own.problems),
        statistics={
            "duplicates_left_out": sum(own.duplicates for own in labels.values()),
            "images_without_label_file": sum(not own.exists for own in labels.values()),
        },
    )


@dataclass(frozen=True)
class YoloPaths:
    """What there is to read.

    Attributes:
        base: Folder of the data.
        names: Classes in the order of their numbers.
        config: The file that names the classes, data.yaml or classes.txt.
        images: Subset (None where there is none) of each folder or list of images.
        problems: What can't be right.
    """

    base: Path
    names: tuple[str, ...]
    config: Path
    images: tuple[tuple[str | None, Path], ...]
    problems: tuple[str, ...] = ()


def _root(images: list[Path], paths: YoloPaths) -> Path:
    inside = all(image.is_relative_to(paths.base) for image in images)
    return paths.base if inside else Path(os.path.commonpath([image.parent for image in images]))


def _shown(path: Path, paths: YoloPaths) -> str:
    return os.path.relpath(path, paths.base) if path.is_relative_to(paths.base) else str(path)


def _subsets_of_images(paths: YoloPaths, spec: YoloSource) -> dict[Path, list[str | None]]:
    found: dict[Path, list[str | None]] = defaultdict(list)
    for subset, path in paths.images:
        for image in list_images(path, spec):
            if subset not in found[image]:
                found[image].append(subset)
    return found


def _given_subsets(
    images: list[Path], subsets: dict[Path, list[str | None]], paths: YoloPaths
) -> tuple[dict[Path, str | None], list[str]]:
    """Return the subset of each image, as data.yaml or the folders' names say, and what is wrong with that.

    Where every image is in every subset, as in YOLO's small examples, nothing is divided yet.
    """
    if all(subsets[image] == [None] for image in images):
        return _subsets_by_folder(images, paths)
    if all(len(subsets[image]) > 1 and subsets[image] == subsets[images[0]] for image in images):
        return dict.fromkeys(images), []
    several = [
        f"{_shown(image, paths)}: is in {' and in '.join(map(str, subsets[image]))}; keep it in one"
        for image in images
        if len(subsets[image]) > 1
    ]
    return {image: subsets[image][0] for image in images}, several


def _subsets_by_folder(images: list[Path], paths: YoloPaths) -> tuple[dict[Path, str | None], list[str]]:
    """Return the subset that each image's folder is called, if all are so called and train is among them."""
    found = {image: _subset_of_folder(image, paths) for image in images}
    if TRAIN not in found.values():
        return dict.fromkeys(images), []
    elsewhere = [
        f"{_shown(image, paths)}: lies in no folder called train, val or test, but others do"
        for image, subset in found.items()
        if subset is None
    ]
    return found, elsewhere


def _subset_of_folder(image: Path, paths: YoloPaths) -> str | None:
    folders = [part for part in image.relative_to(paths.base).parts[:-1] if part != "images"]
    return SUBSET_NAMES.get(folders[0].lower()) if folders else None


def _shared_labels(images: Iterable[Path], paths: YoloPaths) -> list[str]:
    """Return one line per image that has the same label file as another image."""
    first: dict[Path, Path] = {}
    return [
        f"{_shown(image, paths)}: has the same label file as {_shown(first[label_file(image)], paths)}; rename one"
        for image in images
        if first.setdefault(label_file(image), image) != image
    ]


def _labels_without_image(images: Iterable[Path], paths: YoloPaths) -> list[str]:
    """Return one line per label file, in a folder of label files, without an image."""
    expected = {label_file(image) for image in images}
    folders = {label_file(image).parent for image in images if has_folder_of_labels(image)}
    tops = {folder for folder in folders if not any(parent in folders for parent in folder.parents)}
    lone = [
        folder / name
        for folder in sorted(tops)
        if folder.is_dir()
        for name in walk_files(folder)
        if name.endswith(".txt") and name not in _NOT_LABELS and folder / name not in expected
    ]
    return [f"{_shown(label, paths)}: there is no image of that name" for label in lone]


YAML_ENDINGS = (".yaml", ".yml")

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_CLASS_FILE = "classes.txt"


def find_yolo_paths(source: YoloSource) -> YoloPaths:
    """Return where images, label files and names of classes are.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    path = existing_path(source.path, want_folder=None)
    config = path if path.is_file() else _config_in(path)
    if config is None:
        raise DataError(
            f"source.path {source.path!r} holds neither data.yaml nor classes.txt, which name the classes. Add "
            "classes.txt with one name per line."
        )
    if config.suffix.lower() in YAML_ENDINGS:
        return _from_yaml(config)
    if config.name != _CLASS_FILE:
        raise DataError(f"source.path {source.path!r} is a file; expected a folder, data.yaml or classes.txt.")
    return _from_class_file(config, path if path.is_dir() else path.parent)


def _config_in(folder: Path) -> Path | None:
    inner = [f"{part}{_CLASS_FILE}" for part in ("", "labels/", "images/")]
    return next((folder / name for name in (*_YAML_NAMES, *inner) if (folder / name).is_file()), None)


def _from_class_file(config: Path, folder: Path) -> YoloPaths:
    text = config.read_text(encoding="utf-8-sig", errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    images = folder / "images" if (folder / "images").is_dir() else folder
    return YoloPaths(folder, names, config, ((None, images),), tuple(_name_problems(names, config)))


def _from_yaml(config: Path) -> YoloPaths:
    try:
        content = read_mapping(config.read_text(encoding="utf-8-sig", errors="replace"), config.name)
    except SpecError as error:
        raise DataError(f"{config} can't be used: {error}") from error
    base = absolute_path(str(content["path"]), config.parent) if content.get("path") else config.parent
    base = base if base.is_dir() else config.parent
    names = _names(content, config)
    images, problems = _image_paths(content, base, config)
    if "nc" in content and content["nc"] != len(names):
        problems.append(f"{config.name}: nc is {content['nc']!r}, but names holds {len(names)} classes")
    if not images and not problems:
        problems.append(f"{config.name}: has neither train nor val nor test; expected folders of images")
    return YoloPaths(base, names, config, tuple(images), (*problems, *_name_problems(names, config)))


def _names(content: dict[str, Any], config: Path) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        numbers = {str(key): str(name) for key, name in names.items()}
        if set(numbers) != {str(number) for number in range(len(numbers))}:
            raise DataError(f"{config}: names has the keys {', '.join(numbers)}; expected 0, 1, 2 and so on.")
        return tuple(numbers[str(number)] for number in range(len(numbers)))
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    raise DataError(f"{config}: names is {names!r}; expected a list of class names, or their names by number.")


def _name_problems(names: Sequence[str], config: Path) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"{config.name}: class {name!r} is named twice" for name in twice]
    return problems if names else [f"{config.name}: names no class"]


def _image_paths(content: dict[str, Any], base: Path, config: Path) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """Return the subset and path of each folder or list of images that exists, and a line per one that doesn't."""
    images: list[tuple[str | None, Path]] = []
    problems = []
    for key, subset in SUBSET_NAMES.items():
        entries = content.get(key) or []
        for text in map(str, entries if isinstance(entries, list) else [entries]):
            choices = _choices(text, base, config.parent)
            path = next((path for path in choices if path.exists()), None)
            if path is None:
                problems.append(f"{config.name}: {key}: {text!r} does not exist (looked for {choices[0]})")
            else:
                images.append((subset, path))
    return images, problems


def _choices(text: str, base: Path, beside: Path) -> list[Path]:
    """Return what a path in data.yaml may mean; archives often write ``../train`` for what lies beside data.yaml."""
    choices = [absolute_path(text, base), absolute_path(text, beside)]
    if text.startswith("../"):
        choices.append(absolute_path(text.removeprefix("../"), beside))
    return choices


def list_images(path: Path, source: YoloSource) -> list[Path]:
    """Return the images of a folder, or those that a text file lists, relative to itself."""
    if path.is_dir():
        return [path / name for name in walk_files(path) if source.is_image(name)]
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [absolute_path(line.strip(), path.parent) for line in lines if line.strip()]


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


_BOX_VALUES = 4

_LEAST_POLYGON_VALUES = 6

_IN_PIXELS = 2.0


@dataclass(frozen=True)
class LabelFile:
    """The content of one label file.

    Attributes:
        annotations: Its usable lines.
        problems: A line ``<name>:<line>: <reason>`` for every one that can't be right.
        duplicates: How many lines repeat another one.
        exists: Whether there is such a file; an image without one is known to be empty.
    """

    annotations: tuple[Annotation, ...] = ()
    problems: tuple[str, ...] = ()
    duplicates: int = 0
    exists: bool = True


def read_labels(path: Path, paths: YoloPaths) -> LabelFile:
    """Return the objects of a label file, and what is wrong with it."""
    name = _shown(path, paths)
    if not path.is_file():
        return LabelFile(exists=False)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        return LabelFile(problems=(f"{name}: can't be read as text ({error})",))
    lines = [(number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    first: dict[str, int] = {}
    for number, line in lines:
        first.setdefault(line, number)
    annotations, problems = [], []
    for line, number in first.items():
        try:
            annotations.append(_annotation(line, f"{name}:{number}", paths.names))
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
    return LabelFile(tuple(annotations), tuple(problems), len(lines) - len(first))


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
