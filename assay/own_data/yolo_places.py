"""Where a YOLO data set's images and label files are, and what its classes are called.

Belongs here: data.yaml, classes.txt and the folders. Does not belong here: what label files say.

The rules are those of Ultralytics' loader: a label file has its image's name, in the folder ``labels`` where the image
is in ``images``, or beside the image.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.errors import DataError, SpecError
from assay.own_data.layout import SUBSET_NAMES
from assay.own_data.places import existing_path, placed, walk_files
from assay.spec.annotated_images import YoloSource
from assay.spec.yaml_text import read_mapping

YAML_ENDINGS = (".yaml", ".yml")
_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_CLASS_FILE = "classes.txt"


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
