"""Source ``coco``: where the user's COCO files and images are, and what all of them say together.

Belongs here: finding files, subsets and folders of images. Does not belong here: what is in a file (``coco_json``),
what all annotated images have in common (``annotations``, ``index``).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.datasets.annotations import AnnotatedDataset, AnnotatedImage
from assay.datasets.coco_json import CocoAnnotations, CocoFile, Entry, read_annotations, read_coco_file
from assay.datasets.inspection import SUBSET_NAMES, existing_path, folders_in, subset_in_name, walk_files
from assay.errors import DataError, unknown
from assay.spec.generated_images import CocoSource


def read_coco(spec: CocoSource) -> AnnotatedDataset:
    """Return the images of all JSON files with their objects, and everything that is wrong with them.

    Raises:
        DataError: A path does not exist, or a file is not a COCO file.
    """
    paths = find_coco_paths(spec)
    files = [(subset, path, read_coco_file(path, paths.name_of(path))) for subset, path in paths.files]
    folders = [
        image_folder(paths, path, subset, [_posix(entry["file_name"]) for entry in file.images.values()])
        for subset, path, file in files
    ]
    root = Path(os.path.commonpath(folders))
    images: list[AnnotatedImage] = []
    problems: list[str] = []
    bad_annotations: list[str] = []
    duplicates = 0
    for (subset, _, file), folder in zip(files, folders, strict=True):
        annotations = read_annotations(file)
        found, outside, missing = _annotated_images(file, annotations, subset, folder, root)
        images += found
        problems += [*outside, *file.problems]
        bad_annotations += [*annotations.problems, *missing]
        duplicates += file.duplicates + annotations.duplicates
    images.sort(key=lambda image: image.file)
    listed_elsewhere = sum(map(spec.is_image, walk_files(paths.images))) - len(images)
    return AnnotatedDataset(
        root=root,
        images=tuple(images),
        classes=tuple(dict.fromkeys(name for _, _, file in files for name in file.categories.values())),
        problems=(*problems, *_listed_twice(images)),
        bad_annotations=tuple(bad_annotations),
        statistics={"duplicates_left_out": duplicates, "images_not_listed": max(0, listed_elsewhere)},
    )


def _annotated_images(
    file: CocoFile, annotations: CocoAnnotations, subset: str | None, folder: Path, root: Path
) -> tuple[list[AnnotatedImage], list[str], list[str]]:
    """Return the images of a file that exist, a line per name outside of the folder, and a line per missing image."""
    images, outside, missing = [], [], []
    for image_id, entry in file.images.items():
        where = f"{file.name}: image {entry['file_name']!r} (id {image_id})"
        name = _posix(entry["file_name"])
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            outside.append(f"{where}: its file_name leads out of the folder of images")
        elif not (folder / name).is_file():
            missing.append(f"{where}: is not in {folder}; set source.images if it is elsewhere")
        else:
            images.append(
                AnnotatedImage(
                    file=(folder / name).relative_to(root).as_posix(),
                    where=where,
                    given_subset=subset,
                    stated_size=_stated_size(entry),
                    labelled=file.annotations is not None,
                    annotations=tuple(annotations.by_image.get(image_id, ())),
                )
            )
    return images, outside, missing


def _posix(name: str) -> str:
    """Return a file name with the separators of POSIX; files made on Windows have others."""
    return str(PurePosixPath(name.replace("\\", "/")))


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


def find_coco_paths(source: CocoSource) -> CocoPaths:
    """Return where the JSON files and images are.

    Raises:
        DataError: A path does not exist, there is no JSON file, or it is unclear which subset a file describes.
    """
    path = existing_path(source.path, want_folder=None)
    base = path if path.is_dir() else _above_annotations(path.parent)
    files = ((None, path),) if path.is_file() else _given_files(base, source) or _found_files(base, source)
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
    subsets = [name for name in folders_in(base) if name.lower() in SUBSET_NAMES]
    found = [file for name in ["", _ANNOTATION_FOLDER, *subsets] for file in sorted((base / name).glob("*.json"))]
    chosen = [file for file in found if file.name.startswith(_BOXES)] or found
    if not chosen:
        raise DataError(
            f"source.path {source.path!r} holds no JSON file, nor do its folders annotations, train, val and test; "
            "name the file there, or in source.annotations."
        )
    if len(chosen) == 1:
        return ((None, chosen[0]),)
    return _one_file_per_subset([(_subset_of(file, base), file) for file in chosen], source)


def _subset_of(file: Path, base: Path) -> str | None:
    return subset_in_name(file.name) or SUBSET_NAMES.get(file.parent.name.lower() if file.parent != base else "")


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


def image_folder(paths: CocoPaths, file: Path, subset: str | None, names: Sequence[str]) -> Path:
    """Return the folder that a JSON file's image names are relative to: where most of the first images are."""
    folders = list(dict.fromkeys(_candidates(paths, file, subset)))
    first = names[:_MOST_NAMES]
    return max(folders, key=lambda folder: sum((folder / name).is_file() for name in first))


def _candidates(paths: CocoPaths, file: Path, subset: str | None) -> Iterator[Path]:
    parents = [paths.images, paths.images / "images"]
    if paths.images == paths.base:
        parents.append(file.parent)
    for parent in parents:
        yield parent
        for name in folders_in(parent) if parent.is_dir() else ():
            if subset_in_name(name) == subset is not None:
                yield parent / name
                yield parent / name / "images"
