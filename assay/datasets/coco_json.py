"""One COCO file: its images and categories, checked.

Belongs here: the file's structure, images, categories. Does not belong here: annotations (``coco_annotations``).

The format is that of https://cocodataset.org/#format-data.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.errors import DataError

Entry = dict[str, Any]
Id = int | str


@dataclass
class CocoFile:
    """What is usable of one file, and what is wrong with it.

    Attributes:
        name: Its name in messages.
        images: Entries of images by ID.
        categories: Names by ID, in the order of the IDs.
        annotations: The entries as they are; None where the file has none, so that nothing is known.
        problems: What must be mended.
        duplicates: How many entries were there twice, word for word.
    """

    name: str
    images: dict[Id, Entry] = field(default_factory=dict)
    categories: dict[Id, str] = field(default_factory=dict)
    annotations: list[Any] | None = None
    problems: list[str] = field(default_factory=list)
    duplicates: int = 0


def read_coco_file(path: Path, name: str) -> CocoFile:
    """Read images and categories of a file.

    Raises:
        DataError: The file is no JSON, or no COCO file.
    """
    content = _content(path, name)
    file = CocoFile(name, annotations=content.get("annotations"))
    for where, entry in _entries(content, "images", file):
        _add_image(file, where, entry)
    names: dict[Id, str] = {}
    for where, entry in _entries(content, "categories", file):
        _add_category(file, names, where, entry)
    file.categories = dict(sorted(names.items(), key=lambda pair: (str(type(pair[0])), pair[0])))
    return file


def _content(path: Path, name: str) -> Entry:
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{name}:{error.lineno}: is no JSON, or cut off ({error.msg}). Save it again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is no JSON: {error.reason} at byte {error.start}. Save it as UTF-8.") from error
    if isinstance(content, list):
        raise DataError(f"{name}: holds a list, as files of predictions do; expected images, annotations, categories.")
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"{name}: is no COCO file: it has no {' and no '.join(missing)}.")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key, []), list):
            raise DataError(f"{name}: {key} is no list, as COCO files have it.")
    return dict(content)


def _entries(content: Entry, key: str, file: CocoFile) -> Iterator[tuple[str, Entry]]:
    """Yield place and entry, leaving out and noting what is no entry at all."""
    for number, entry in enumerate(content[key]):
        where = f"{file.name}: {key}[{number}]"
        if not isinstance(entry, dict) or not is_id(entry.get("id")):
            file.problems.append(f"{where}: has no id (a whole number or text)")
        else:
            yield f"{where} (id {entry['id']})", entry


def is_id(value: object) -> bool:
    """Return whether a value can be an ID: a whole number, 0 included, or text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _add_image(file: CocoFile, where: str, entry: Entry) -> None:
    known = file.images.get(entry["id"])
    if known == entry:
        file.duplicates += 1
    elif known is not None:
        file.problems.append(f"{where}: the image {known.get('file_name')!r} has the same id; give each its own")
    elif not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        file.problems.append(f"{where}: has no file_name")
    elif not all(_is_side(entry.get(key)) for key in ("width", "height")):
        size = f"width {entry.get('width')!r} and height {entry.get('height')!r}"
        file.problems.append(f"{where}: has {size}; expected whole numbers from 1 on, or leave both out")
    else:
        file.images[entry["id"]] = entry


def _is_side(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _add_category(file: CocoFile, names: dict[Id, str], where: str, entry: Entry) -> None:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        file.problems.append(f"{where}: has no name")
    elif entry["id"] in names and names[entry["id"]] == name:
        file.duplicates += 1
    elif entry["id"] in names:
        file.problems.append(f"{where}: {name!r} has the id of {names[entry['id']]!r}; give each its own")
    elif name in names.values():
        file.problems.append(f"{where}: another category is called {name!r} as well; rename or merge them")
    else:
        names[entry["id"]] = name
