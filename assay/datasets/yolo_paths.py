"""What there is to read of source ``yolo``: data.yaml, classes.txt or Darknet's files, folders and lists of images.

Darknet's obj.data names the lists of images and the file obj.names, which has one class per line. Belongs here: paths,
names of classes, ``kpt_shape``. Does not belong here: images (``yolo``), labels (``yolo_labels``).
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from assay.datasets.file_names import FileFinder, pascal_voc_hint, spellings
from assay.datasets.inspection import SUBSET_NAMES, absolute_path, existing_path, folders_in, is_hidden, subset_of
from assay.errors import DataError, FileError, SpecError
from assay.spec.generated_images import YoloSource
from assay.spec.yaml_text import read_mapping
from assay.utils.reading import read_bytes
from assay.utils.text import pluralize


@dataclass(frozen=True)
class YoloPaths:
    """What there is to read.

    Attributes:
        base: Folder of the data.
        names: Classes in the order of their numbers.
        config: The file that names the classes or says where they are: data.yaml, classes.txt, obj.names, obj.data.
        images: Subset (None where there is none) of each folder or list of images.
        problems: What can't be right.
        key_points: ``kpt_shape`` of data.yaml: number of key points, and of numbers of each.
        more_files: Other files that say what the classes are called.
        notes: What a person should know of the files.
    """

    base: Path
    names: tuple[str, ...]
    config: Path
    images: tuple[tuple[str | None, Path], ...]
    problems: tuple[str, ...] = ()
    key_points: tuple[int, int] | None = None
    more_files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Sentences about names of classes that may not be meant."""
        lines = list(self.notes)
        numbered = [re.match(rf"{number}[\s:.)=-]", name) for number, name in enumerate(self.names)]
        if all(numbered):
            lines.append(
                f"the names of classes begin with their numbers, such as {self.names[0]!r}; leave the numbers out"
            )
        elif len(self.names) == 1 and re.search(r"[,;|]", self.names[0]):
            lines.append(f"there is one class, called {self.names[0]!r}; expected one name per line")
        return lines


YAML_ENDINGS = (".yaml", ".yml")

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_CLASS_FILE = "classes.txt"

_DARKNET = ".data"

_NAME_ENDINGS = (".names", ".labels")
"""How files with one class per line are called besides classes.txt: obj.names, and Roboflow's _darknet.labels."""

_FOLDERS_OF_NAMES = ("labels", "images", "data")
"""Folders, in any case, in which the file with the classes may lie."""


def find_yolo_paths(source: YoloSource) -> YoloPaths:
    """Return where images, label files and names of classes are.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    path = existing_path(source.path, want_folder=None)
    config = _config_in(path) if path.is_dir() else path
    if config is None:
        raise DataError(
            f"source.path {source.path!r} holds neither data.yaml nor classes.txt nor obj.names, which name the "
            f"classes. Add classes.txt with one name per line.{pascal_voc_hint(path)}"
        )
    if config.suffix.lower() in YAML_ENDINGS:
        return _from_yaml(config)
    if config.suffix.lower() == _DARKNET:
        return _from_darknet(config)
    if not _is_class_file(config.name):
        raise DataError(
            f"source.path {source.path!r} is a file; expected a folder, data.yaml, classes.txt, obj.data or obj.names."
        )
    return _from_class_file(config, path if path.is_dir() else path.parent)


def _is_class_file(name: str) -> bool:
    return name.lower() == _CLASS_FILE or PurePosixPath(name).suffix.lower() in _NAME_ENDINGS


def _config_in(folder: Path) -> Path | None:
    """Return the file that names the classes: in the folder, in one of the folders of labels, or in those of subsets.

    Raises:
        DataError: The folder can't be read, or several files name different classes.
    """
    files = _files_in(folder)
    known = next((files[name] for name in _YAML_NAMES if name in files), None)
    if known is not None:
        return known
    inner = folders_in(folder)
    for place in _folders_of_names(folder):
        in_place = _files_in(place)
        darknet = [file for file in in_place.values() if file.suffix.lower() == _DARKNET and _is_darknet(file)]
        if darknet and _CLASS_FILE not in in_place:
            return _only_one(folder, darknet)
        if found := [file for name, file in in_place.items() if _is_class_file(name)]:
            return _only_one(folder, found)
    others = [file for file in files.values() if file.suffix.lower() in YAML_ENDINGS and _names_classes(file)]
    if len(others) > 1:
        names = ", ".join(file.name for file in others)
        raise DataError(f"{folder} holds no data.yaml, but {names}; give one of them as source.path.")
    if others:
        return others[0]
    subsets = [_files_in(folder / name) for name in inner if subset_of(name)]
    found = [file for each in subsets for name, file in each.items() if _is_class_file(name)]
    return _only_one(folder, found) if found else None


def _folders_of_names(folder: Path) -> list[Path]:
    return [folder, *(folder / name for name in folders_in(folder) if name.lower() in _FOLDERS_OF_NAMES)]


def _files_in(folder: Path) -> dict[str, Path]:
    """Return the regular files in a folder that are not hidden, by lower-case name; classes.txt comes first."""
    try:
        paths = [folder / name for name in sorted(os.listdir(folder)) if not is_hidden(name)]  # noqa: PTH208
        files = {path.name.lower(): path for path in paths if path.is_file()}
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}. Make it readable, or move it away.") from error
    return dict(sorted(files.items(), key=lambda pair: pair[0] != _CLASS_FILE))


def _only_one(folder: Path, found: Sequence[Path]) -> Path:
    """Return the first of the files with classes, all of which must say the same."""
    if len({_lines(file) for file in found}) > 1:
        shown = ", ".join(os.path.relpath(file, folder) for file in found[:_MOST_SHOWN])
        raise DataError(
            f"{folder}: {shown} name different classes, or in another order; give one of them as source.path, or "
            "remove the others."
        )
    return found[0]


_MOST_SHOWN = 5


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in text_with_gaps(file).splitlines() if line.strip())


def _is_darknet(file: Path) -> bool:
    try:
        return bool({"names", "train"} & set(_assignments(file)))
    except DataError:
        return False


def _assignments(file: Path) -> dict[str, str]:
    """Return the keys and values of Darknet's ``key = value`` lines."""
    pairs = [line.partition("=") for line in _lines(file) if not line.startswith(("#", ";"))]
    return {key.strip().lower(): value.strip().strip("\"'") for key, equals, value in pairs if equals}


def _names_classes(file: Path) -> bool:
    try:
        return "names" in _yaml(file)
    except DataError:
        return False


def text_with_gaps(file: Path) -> str:
    """Return the text of a file of names, lists or configuration; what is no UTF-8 becomes U+FFFD.

    Raises:
        DataError: It is no regular file, or too large.
    """
    try:
        return read_bytes(file).decode("utf-8-sig", errors="replace")
    except FileNotFoundError as error:
        raise DataError(f"{file}: is a link that leads nowhere.") from error
    except FileError as error:
        raise DataError(f"{file}: {error.reason}.") from error


def _yaml(config: Path, numbers_as_texts: bool = False) -> dict[str, Any]:
    try:
        return read_mapping(text_with_gaps(config), config.name, numbers_as_texts=numbers_as_texts)
    except SpecError as error:
        raise DataError(f"{config} can't be used: {error}") from error


def _from_class_file(config: Path, folder: Path) -> YoloPaths:
    names = _lines(config)
    images = next((folder / name for name in ("images", "Images") if (folder / name).is_dir()), folder)
    return YoloPaths(folder, names, config, ((None, images),), tuple(_name_problems(names, config)))


def _from_darknet(config: Path) -> YoloPaths:
    """Return what obj.data says; where it names one list alone, as exports of annotation tools do, nothing is divided.

    Raises:
        DataError: The file with the names of the classes does not exist.
    """
    content, finder, folder = _assignments(config), FileFinder(), config.parent
    names_file = finder.find_file(folder / "obj.names")
    if "names" in content:
        choices = listed_choices(content["names"], folder, least_parts=1)
        names_file = next((found for choice in choices if (found := finder.find_file(choice))), None)
        if names_file is None:
            shown = f"names: {content['names']!r} does not exist (looked for {choices[0]}){finder.hint(choices[0])}"
            raise DataError(f"{config}: {shown}.")
    if names_file is None:
        raise DataError(f"{config}: has no names; expected names = obj.names, a file with one class per line.")
    images: list[tuple[str | None, Path]] = []
    problems = []
    for key in [key for key in SUBSET_NAMES if content.get(key)]:
        choices = listed_choices(content[key], folder, least_parts=1)
        path = next((found for choice in choices if (found := finder.find(choice))), None)
        if path is None:
            problems.append(f"{config.name}: {key}: {content[key]!r} does not exist (looked for {choices[0]})")
        else:
            images.append((SUBSET_NAMES[key], path))
    if len(images) == 1 and not problems:
        images = [(None, path) for _, path in images]
    if not images and not problems:
        problems.append(f"{config.name}: has neither train nor valid; expected lists or folders of images")
    names = _lines(names_file)
    if content.get("classes", str(len(names))) != str(len(names)):
        problems.append(f"{config.name}: classes is {content['classes']}, but {names_file.name} holds {len(names)}")
    problems += _name_problems(names, names_file)
    return YoloPaths(folder, names, config, tuple(images), tuple(problems), more_files=(names_file,))


def listed_choices(text: str, folder: Path, least_parts: int = 2) -> list[Path]:
    """Return what a path in a list of images may mean: relative to the list's folder, or as on another machine.

    Darknet's paths are relative to where it was started, such as data/obj/1.jpg in data/train.txt.

    Args:
        text: As the list has it.
        folder: Folder of the list.
        least_parts: How many of the last parts of the path must be the same; with 1 the file's name is enough.
    """
    spelled = list(spellings(text))
    choices = [absolute_path(spelling, folder) for spelling in spelled]
    for spelling in spelled:
        parts = PurePosixPath(spelling).parts
        choices += [folder.parent.joinpath(*parts)] if ".." not in parts and not spelling.startswith("/") else []
        choices += [folder.joinpath(*parts[first:]) for first in range(1, len(parts) - least_parts + 1)]
    return list(dict.fromkeys(choices))


def _from_yaml(config: Path) -> YoloPaths:
    content = _yaml(config)
    base = _base(content, config)
    names = _names(_yaml(config, numbers_as_texts=True), config)
    images, problems = _image_paths(content, base, config)
    if "nc" in content and content["nc"] != len(names):
        problems.append(
            f"{config.name}: nc is {content['nc']!r}, but names holds {pluralize(len(names), 'class', 'classes')}"
        )
    if not images and not problems:
        problems.append(f"{config.name}: has neither train nor val nor test; expected folders of images")
    key_points = _key_points(content, config)
    problems += _name_problems(names, config)
    notes = _other_names(names, config, dict.fromkeys((base, config.parent)))
    return YoloPaths(base, names, config, tuple(images), tuple(problems), key_points, notes=notes)


def _other_names(names: Sequence[str], config: Path, folders: Iterable[Path]) -> tuple[str, ...]:
    """Return a sentence where classes.txt of labelImg, in a folder or below, says otherwise than data.yaml."""
    places = [place for folder in folders for place in _folders_of_names(folder)]
    files = [found for place in places if (found := _files_in(place).get(_CLASS_FILE)) is not None]
    other = next((file for file in files if _lines(file) and _lines(file) != tuple(names)), None)
    if other is None:
        return ()
    shown = ", ".join(map(repr, _lines(other)[:_MOST_SHOWN]))
    return (
        f"{os.path.relpath(other, config.parent)} names other classes than {config.name}, or in another order "
        f"({shown}, …): which one was there when the labels were made? {config.name} counts; remove the other",
    )


def _base(content: dict[str, Any], config: Path) -> Path:
    """Return the folder that paths in data.yaml are relative to; ``path`` often is that of another machine."""
    choices = [absolute_path(text, config.parent) for text in spellings(str(content.get("path") or "."))]
    return next((path for path in choices if os.path.isdir(path)), config.parent)  # noqa: PTH112 - never raises


def _key_points(content: dict[str, Any], config: Path) -> tuple[int, int] | None:
    """Return number and dimensions of the key points behind each box.

    Raises:
        DataError: ``kpt_shape`` says something else.
    """
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    is_shape = isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)
    if not is_shape or shape[0] < 1 or shape[1] not in (2, 3):
        raise DataError(
            f"{config}: kpt_shape is {shape!r}; expected the number of key points and 2 or 3, such as [17, 3]."
        )
    return shape[0], shape[1]


def _names(content: dict[str, Any], config: Path) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        numbers = {str(key): name for key, name in names.items()}
        if set(numbers) != {str(number) for number in range(len(numbers))}:
            raise DataError(f"{config}: names has the keys {', '.join(numbers)}; expected 0, 1, 2 and so on.")
        names = [numbers[str(number)] for number in range(len(numbers))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{config}: names is {names!r}; expected a list of class names, or their names by number.")
    odd = next((name for name in names if name is None or isinstance(name, (bool, list, dict))), "")
    if odd != "":
        raise DataError(f"{config}: names holds {odd!r}; expected texts. Put the name in quotation marks.")
    return tuple(map(str, names))


def _name_problems(names: Sequence[str], config: Path) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"{config.name}: class {name!r} is named twice" for name in twice]
    problems += [
        f"{config.name}: class {name!r} is no text in UTF-8; save it as such" for name in names if "\ufffd" in name
    ]
    return problems if names else [f"{config.name}: names no class"]


def _image_paths(content: dict[str, Any], base: Path, config: Path) -> tuple[list[tuple[str | None, Path]], list[str]]:
    """Return the subset and path of each folder or list of images that exists, and a line per one that doesn't."""
    images: list[tuple[str | None, Path]] = []
    problems, finder = [], FileFinder()
    for key, subset in SUBSET_NAMES.items():
        entries = content.get(key) or []
        for text in map(str, entries if isinstance(entries, list) else [entries]):
            choices = _choices(text, base, config.parent)
            path = next((found for choice in choices if (found := finder.find(choice))), None)
            if path is None:
                hint = finder.hint(choices[0])
                problems.append(f"{config.name}: {key}: {text!r} does not exist (looked for {choices[0]}){hint}")
            else:
                images.append((subset, path))
    return images, problems


def _choices(text: str, base: Path, beside: Path) -> list[Path]:
    """Return what a path in data.yaml may mean; archives often write ``../train`` for what lies beside data.yaml."""
    choices = []
    for spelling in spellings(text):
        choices += [absolute_path(spelling, base), absolute_path(spelling, beside)]
        if spelling.startswith("../"):
            choices.append(absolute_path(spelling.removeprefix("../"), beside))
    return choices
