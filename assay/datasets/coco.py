"""Source ``coco``: where the user's COCO files and images are, and what all of them say together.

Belongs here: finding files, subsets and folders of images. Does not belong here: what is in a file (``coco_json``),
what all annotated images have in common (``annotations``, ``index``).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.datasets.annotations import AnnotatedDataset, AnnotatedImage, counts_otherwise
from assay.datasets.coco_json import CocoAnnotations, CocoFile, Entry, Id, as_coco_id, read_annotations, read_coco_file
from assay.datasets.file_names import PASCAL_VOC, FileFinder, pascal_voc_hint, spellings
from assay.datasets.inspection import (
    SUBSET_NAMES,
    existing_path,
    folders_in,
    is_hidden,
    subset_in_name,
    subset_of,
    walk_files,
)
from assay.errors import DataError, shorten, unknown
from assay.spec.generated_images import CocoSource
from assay.utils.text import pluralize


@dataclass(frozen=True)
class CocoPaths:
    """What there is to read.

    Attributes:
        base: Folder that the source's other paths are relative to.
        files: Subset and path of each JSON file; the subset is None where there is none.
        images: Folder in which images are looked for.
    """

    base: Path
    files: tuple[tuple[str | None, Path], ...]
    images: Path

    def name_of(self, file: Path) -> str:
        """Return a JSON file's name in messages."""
        return str(file.relative_to(self.base)) if file.is_relative_to(self.base) else str(file)


def read_coco(spec: CocoSource) -> AnnotatedDataset:
    """Return the images of all JSON files with their objects, and everything that is wrong with them.

    Raises:
        DataError: A path does not exist, or a file is not a COCO file.
    """
    paths, finder = find_coco_paths(spec), FileFinder()
    files = [_located(paths, subset, path, finder) for subset, path in paths.files]
    root = Path(os.path.commonpath([folder for each in files for folder in each.folders]))
    images: list[AnnotatedImage] = []
    read: list[CocoAnnotations] = []
    for each in files:
        annotations = read_annotations(each.file, spec.masks)
        images += each.annotated(annotations, root)
        read.append(annotations)
    images.sort(key=lambda image: image.file)
    listed_elsewhere = sum(map(spec.is_image, walk_files(paths.images))) - len(images)
    repeated_ids = [line for annotations in read for line in annotations.repeated_ids]
    leaves_out = spec.bad_annotations == "leave_out"
    return AnnotatedDataset(
        root=root,
        images=tuple(images),
        classes=tuple(dict.fromkeys(name for each in files for name in each.file.categories.values())),
        problems=(
            *(line for each in files for line in (*each.file.problems, *_counted_otherwise(each.file))),
            *_listed_twice(images),
        ),
        bad_annotations=(
            *(
                line
                for each, annotations in zip(files, read, strict=True)
                for line in (*annotations.problems, *each.missing)
            ),
            *(() if leaves_out else repeated_ids),
        ),
        statistics={
            "duplicates_left_out": sum(each.file.duplicates for each in files) + sum(each.duplicates for each in read),
            "images_not_listed": max(0, listed_elsewhere),
        },
        warnings=(
            *_each_once(note for each in files for note in each.file.notes),
            *_warnings(read, len(repeated_ids)),
            *_each_once(note for each in files for note in _partly_annotated(each.file)),
            *_not_listed(listed_elsewhere, len(images)),
        ),
    )


def _counted_otherwise(file: CocoFile) -> list[str]:
    ids = (as_coco_id(entry.get("category_id")) for entry in file.annotations or [] if isinstance(entry, dict))
    used, known = ({each for each in found if isinstance(each, int)} for found in (ids, file.categories))
    found = counts_otherwise(used, known) if len(known) == len(file.categories) else ""
    return [f"{file.name}: {found}"] if found else []


_PARTLY = ("neg_category_ids", "not_exhaustive_category_ids")
"""Keys of LVIS's images, which were searched for some of the categories only."""


def _partly_annotated(file: CocoFile) -> list[str]:
    count = sum(any(key in entry for key in _PARTLY) for entry in file.images.values())
    if not count:
        return []
    return [
        f"{file.name}: {pluralize(count, 'image lists', 'images list')} categories that were not searched for in "
        "them, as LVIS does, which is not read: what is not annotated counts as not there"
    ]


def _each_once(notes: Iterable[str]) -> list[str]:
    """Return the notes, ``file: what``; one that several files give is one line with the first of them."""
    files: dict[str, list[str]] = {}
    for note in notes:
        file, _, what = note.partition(": ")
        files.setdefault(what, []).append(file)
    more = {what: f" and {len(names) - 1} more" if len(names) > 1 else "" for what, names in files.items()}
    return [f"{names[0]}{more[what]}: {what}" for what, names in files.items()]


def _warnings(read: Sequence[CocoAnnotations], repeated_ids: int) -> list[str]:
    lost = sum(annotations.lost for annotations in read)
    as_text = sum(annotations.as_text for annotations in read)
    lines = []
    scored, rotated = (sum(getattr(each, key) for each in read) for key in ("scored", "rotated"))
    if scored:
        lines.append(
            f"{pluralize(scored, 'annotation has', 'annotations have')} a score, as predictions do; they "
            "count as true objects"
        )
    if rotated:
        lines.append(
            f"{pluralize(rotated, 'annotation has', 'annotations have')} a rotation, which is not read: "
            "their boxes are those before it; export "
            "polygons, or boxes around the rotated ones"
        )
    if ignored := sum(each.ignored for each in read):
        lines.append(
            f"{pluralize(ignored, 'annotation has', 'annotations have')} ignore: 1, which is not read: they count as "
            "true objects; what shall neither be right nor wrong to predict has iscrowd: 1"
        )
    if as_text:
        lines.append(
            f"{pluralize(as_text, 'annotation writes', 'annotations write')} the id of an image or "
            "category as text where it is a number, or the other "
            "way round; they are read as the same"
        )
    if repeated_ids:
        lines.append(
            f"{pluralize(repeated_ids, 'annotation has', 'annotations have')} the ID of another one; they "
            "count, IDs of annotations don't matter"
        )
    if lost:
        lines.append(
            f"{pluralize(lost, 'annotation belongs', 'annotations belong')} to no image, so that images "
            "without annotations are not known to be empty"
        )
    return lines


_MOST_NOT_LISTED = 0.5
"""Share of images that no JSON file lists above which a sentence says so."""


def _not_listed(others: int, images: int) -> list[str]:
    """Return the warning that most images are not read, as where another JSON file was meant as well."""
    if others < _MOST_NOT_LISTED * (others + images):
        return []
    return [
        f"{others} of {pluralize(others + images, 'image is', 'images are')} in no JSON file that was read, and so not "
        "used; name further files in source.annotations"
    ]


@dataclass(frozen=True)
class _LocatedFile:
    """A JSON file, and where its images are.

    Attributes:
        subset: What it describes.
        file: Its content.
        folder: Folder in which its images are looked for.
        paths: Path of each image that exists.
        missing: A line per image that doesn't.
    """

    subset: str | None
    file: CocoFile
    folder: Path
    paths: dict[Id, Path]
    missing: tuple[str, ...]

    @property
    def folders(self) -> list[Path]:
        """The folder of images, and those of images elsewhere."""
        return [self.folder, *{path.parent for path in self.paths.values() if not path.is_relative_to(self.folder)}]

    def annotated(self, annotations: CocoAnnotations, root: Path) -> list[AnnotatedImage]:
        """Return the images that exist with their annotations."""
        return [
            AnnotatedImage(
                file=path.relative_to(root).as_posix(),
                where=_where(self.file, image_id),
                given_subset=self.subset,
                stated_size=_stated_size(self.file.images[image_id]),
                labelled=self.file.annotations is not None,
                is_complete=annotations.is_complete(image_id),
                annotations=tuple(annotations.by_image.get(image_id, ())),
            )
            for image_id, path in self.paths.items()
        ]


def _where(file: CocoFile, image_id: Id) -> str:
    return f"{file.name}: image {shorten(file.images[image_id]['file_name'], 200)} (id {image_id})"


def _located(paths: CocoPaths, subset: str | None, path: Path, finder: FileFinder) -> _LocatedFile:
    """Read a JSON file and find its images."""
    file = read_coco_file(path, paths.name_of(path))
    folder = image_folder(paths, path, subset, [entry["file_name"] for entry in file.images.values()], finder)
    found: dict[Id, Path] = {}
    missing = []
    for image_id, entry in file.images.items():
        choices = list(_inside(entry["file_name"], paths, (folder, path.parent)))
        image = next((image for choice in choices if (image := finder.find_file(choice))), None)
        if image is not None:
            found[image_id] = image
        elif not choices:
            missing.append(
                f"{_where(file, image_id)}: its file_name leads out of the folder of images, {paths.images}"
                f"{_elsewhere(entry['file_name'], folder, finder)}"
            )
        else:
            hint = finder.hint(choices[0]) or "; set source.images if it is elsewhere"
            missing.append(f"{_where(file, image_id)}: is not in {folder}{hint}")
    return _LocatedFile(subset, file, folder, found, tuple(missing))


def _elsewhere(name: str, folder: Path, finder: FileFinder) -> str:
    """Return the clause that a file of this name is in the folder, as where data were moved from another machine."""
    last = next(spellings(name)).rsplit("/", 1)[-1]
    return f"; there is {last!r} in {folder}, so write names without folders" if finder.find_file(folder / last) else ""


def _inside(name: str, paths: CocoPaths, anchors: Sequence[Path]) -> Iterator[Path]:
    """Yield the paths in the user's data that a file name may mean, the most likely first.

    Args:
        name: As in the file; absolute, or relative to the folder of images, or with ``..`` to the file itself.
        paths: Says where the data are.
        anchors: The folder of images and that of the file.
    """
    real = Path(os.path.realpath(paths.images))
    for spelling in spellings(name):
        for anchor in anchors if ".." in Path(spelling).parts else anchors[:1]:
            path = Path(os.path.normpath(anchor / spelling))
            if path.is_relative_to(paths.images):
                yield path
            elif path.is_relative_to(real):
                yield paths.images / path.relative_to(real)


def _stated_size(entry: Entry) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return None if width is None or height is None else (width, height)


def _listed_twice(images: list[AnnotatedImage]) -> list[str]:
    """Return one line per image that is listed again, in the same file or in another subset."""
    first: dict[str, AnnotatedImage] = {}
    problems = []
    for image in images:
        known = first.setdefault(image.file, image)
        if known is not image:
            problems.append(f"{image.where}: the same file is {known.where}; keep one of them")
    return problems


_ANNOTATION_FOLDER = "annotations"

_BOXES = "instances"
"""How the names of files with boxes begin in COCO's own archives, which hold captions and key points as well."""

_MOST_NAMES = 50
"""How many of a file's image names are looked for to find their folder."""


def find_coco_paths(source: CocoSource) -> CocoPaths:
    """Return where the JSON files and images are.

    Raises:
        DataError: A path does not exist, there is no JSON file, or it is unclear which subset a file describes.
    """
    path = existing_path(source.path, want_folder=None)
    if path.suffix.lower() == ".xml" and path.is_file():
        raise DataError(f"source.path {source.path!r} is no JSON file: {PASCAL_VOC}.")
    base = path if path.is_dir() else _above_annotations(path.parent)
    files = ((None, path),) if not path.is_dir() else _given_files(base, source) or _found_files(base, source)
    images = existing_path(source.images, True, "images", base) if source.images else base
    return CocoPaths(base, tuple(files), images)


def _above_annotations(folder: Path) -> Path:
    return folder.parent if folder.name == _ANNOTATION_FOLDER else folder


def _given_files(base: Path, source: CocoSource) -> tuple[tuple[str | None, Path], ...]:
    for name in source.annotations:
        if name not in SUBSET_NAMES:
            raise DataError(f"source.annotations: {unknown('Subset', name, SUBSET_NAMES)}")
    files = tuple(
        (SUBSET_NAMES[name], existing_path(text, False, f"annotations.{name}", base))
        for name, text in source.annotations.items()
    )
    return _one_file_per_subset(files, source)


def _found_files(base: Path, source: CocoSource) -> tuple[tuple[str | None, Path], ...]:
    subsets = [name for name in folders_in(base) if subset_of(name)]
    found = [file for name in ["", _ANNOTATION_FOLDER, *subsets] for file in _json_files(base / name)]
    chosen = [file for file in found if file.name.startswith(_BOXES)] or found
    if not chosen:
        raise DataError(
            f"source.path {source.path!r} holds no JSON file, nor do its folders annotations, train, val and test; "
            f"name the file there, or in source.annotations.{pascal_voc_hint(base)}"
        )
    if len(chosen) == 1:
        return ((None, chosen[0]),)
    return _one_file_per_subset([(_subset_of(file, base), file) for file in chosen], source)


def _json_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.json") if not is_hidden(file.name))


def _subset_of(file: Path, base: Path) -> str | None:
    return subset_in_name(file.name) or (subset_of(file.parent.name) if file.parent != base else None)


def _one_file_per_subset(
    files: Sequence[tuple[str | None, Path]], source: CocoSource
) -> tuple[tuple[str | None, Path], ...]:
    subsets = [subset for subset, _ in files]
    if None in subsets or len(set(subsets)) < len(subsets):
        shown = ", ".join(f"{file.name} ({subset or 'no subset'})" for subset, file in files)
        raise DataError(
            f"source.path {source.path!r}: {shown}: expected one file per subset. Name them: "
            "source.annotations: {train: FILE, validation: FILE, test: FILE}."
        )
    return tuple(files)


def image_folder(paths: CocoPaths, file: Path, subset: str | None, names: Sequence[str], finder: FileFinder) -> Path:
    """Return the folder that a JSON file's image names are relative to: where most of the first images are."""
    folders = [folder for folder in dict.fromkeys(_candidates(paths, file, subset)) if folder.is_dir()]
    first = names[:_MOST_NAMES]

    def found(folder: Path) -> tuple[int, int]:
        choices = [[Path(os.path.normpath(folder / each)) for each in spellings(name)] for name in first]
        exact = sum(any(finder.find(path) for path in paths) for paths in choices)
        return exact, sum(any(map(finder.is_alike, [*paths, folder / paths[0].name])) for paths in choices)

    return max(folders, key=found)


def _candidates(paths: CocoPaths, file: Path, subset: str | None) -> Iterator[Path]:
    parents = [paths.images, paths.images / "images", paths.images / "data"]
    if paths.images == paths.base:
        parents.append(file.parent)
    for parent in parents:
        yield parent
        for name in folders_in(parent) if parent.is_dir() else ():
            if subset is not None and subset in (subset_in_name(name), subset_of(name)):
                yield parent / name
                yield parent / name / "images"
