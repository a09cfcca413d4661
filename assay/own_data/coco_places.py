"""Where a COCO data set's JSON files and images are.

Belongs here: finding them. Does not belong here: reading the files (except for one look at the images' names).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import DataError, unknown
from assay.own_data.layout import SUBSET_NAMES, subset_in_name
from assay.own_data.places import existing_path, is_hidden
from assay.spec.annotated_images import CocoSource

_ANNOTATION_FOLDER = "annotations"
_BOXES = "instances"
"""How files of boxes begin in COCO's own archives, which hold captions and key points as well."""
_LOOKED_AT = 50


@dataclass(frozen=True)
class CocoPlaces:
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


def find_places(source: CocoSource) -> CocoPlaces:
    """Return where the JSON files and images are.

    Raises:
        DataError: A path does not exist, no JSON file is there, or nobody can say which subsets they are of.
    """
    path = existing_path(source.path, want_folder=None)
    base = path if path.is_dir() else _above_annotations(path.parent)
    files = ((None, path),) if path.is_file() else _given_files(base, source) or _found_files(base, source)
    images = existing_path(source.images, True, "images", base) if source.images else base
    return CocoPlaces(base, tuple(files), images)


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
    subsets = [name for name in _folders(base) if name.lower() in SUBSET_NAMES]
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


def image_folder(places: CocoPlaces, file: Path, subset: str | None, names: Sequence[str]) -> Path:
    """Return the folder that a JSON file's image names are relative to: where most of the first images are."""
    folders = list(dict.fromkeys(_candidates(places, file, subset)))
    looked_at = names[:_LOOKED_AT]
    return max(folders, key=lambda folder: sum((folder / name).is_file() for name in looked_at))


def _candidates(places: CocoPlaces, file: Path, subset: str | None) -> Iterator[Path]:
    parents = [places.images, places.images / "images"]
    if places.images == places.base:
        parents.append(file.parent)
    for parent in parents:
        yield parent
        for name in _folders(parent):
            if subset_in_name(name) == subset is not None:
                yield parent / name
                yield parent / name / "images"


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name))
