"""What there is to read of source ``yolo``: data.yaml or classes.txt, folders and lists of images.

Belongs here: paths, names of classes, ``kpt_shape``. Does not belong here: images (``yolo``), labels (``yolo_labels``).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.datasets.file_names import FileFinder, spellings
from assay.datasets.inspection import SUBSET_NAMES, absolute_path, existing_path, is_hidden
from assay.errors import DataError, FileError, SpecError
from assay.spec.generated_images import YoloSource
from assay.spec.yaml_text import read_mapping
from assay.utils.reading import read_bytes


@dataclass(frozen=True)
class YoloPaths:
    """What there is to read.

    Attributes:
        base: Folder of the data.
        names: Classes in the order of their numbers.
        config: The file that names the classes, data.yaml or classes.txt.
        images: Subset (None where there is none) of each folder or list of images.
        problems: What can't be right.
        key_points: ``kpt_shape`` of data.yaml: number of key points, and of numbers of each.
    """

    base: Path
    names: tuple[str, ...]
    config: Path
    images: tuple[tuple[str | None, Path], ...]
    problems: tuple[str, ...] = ()
    key_points: tuple[int, int] | None = None


YAML_ENDINGS = (".yaml", ".yml")

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")

_CLASS_FILE = "classes.txt"


def find_yolo_paths(source: YoloSource) -> YoloPaths:
    """Return where images, label files and names of classes are.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    path = existing_path(source.path, want_folder=None)
    config = _config_in(path) if path.is_dir() else path
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
    """Return the file that names the classes.

    Raises:
        DataError: Several YAML files name classes, none of them is called data.yaml.
    """
    inner = [f"{part}{_CLASS_FILE}" for part in ("", "labels/", "images/", "Labels/", "Images/")]
    known = next((folder / name for name in (*_YAML_NAMES, *inner) if (folder / name).is_file()), None)
    if known is not None:
        return known
    others = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in YAML_ENDINGS]
    others = [file for file in others if not is_hidden(file.name) and _names_classes(file)]
    if len(others) > 1:
        names = ", ".join(file.name for file in others)
        raise DataError(f"{folder} holds no data.yaml, but {names}; give one of them as source.path.")
    return others[0] if others else None


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


def _yaml(config: Path) -> dict[str, Any]:
    try:
        return read_mapping(text_with_gaps(config), config.name)
    except SpecError as error:
        raise DataError(f"{config} can't be used: {error}") from error


def _from_class_file(config: Path, folder: Path) -> YoloPaths:
    names = tuple(line.strip() for line in text_with_gaps(config).splitlines() if line.strip())
    images = next((folder / name for name in ("images", "Images") if (folder / name).is_dir()), folder)
    return YoloPaths(folder, names, config, ((None, images),), tuple(_name_problems(names, config)))


def _from_yaml(config: Path) -> YoloPaths:
    content = _yaml(config)
    base = _base(content, config)
    names = _names(content, config)
    images, problems = _image_paths(content, base, config)
    if "nc" in content and content["nc"] != len(names):
        problems.append(f"{config.name}: nc is {content['nc']!r}, but names holds {len(names)} classes")
    if not images and not problems:
        problems.append(f"{config.name}: has neither train nor val nor test; expected folders of images")
    key_points = _key_points(content, config)
    return YoloPaths(base, names, config, tuple(images), (*problems, *_name_problems(names, config)), key_points)


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
