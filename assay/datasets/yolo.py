"""Source ``yolo``: the user's images with the objects in their label files, and label files without an image.

Belongs here: which images there are, which labels and subset each has, and what their files together show to be wrong.
Does not belong here: paths and names of classes (``yolo_paths``), what lines say (``yolo_labels``), what all annotated
images have in common (``annotations``, ``index``).
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from assay.datasets.annotations import AnnotatedDataset, AnnotatedImage, Annotation, counts_otherwise
from assay.datasets.file_names import LABELME, PASCAL_VOC, FileFinder, composed, kind_of_path
from assay.datasets.geometry import Polygons
from assay.datasets.inspection import subset_of, walk_files
from assay.datasets.yolo_labels import (
    IMAGE_FOLDER,
    LABEL_CORNERS,
    TRACKED,
    TRACKED_CORNERS,
    LabelFile,
    LabelFormat,
    are_corners,
    are_tracks,
    key_points_in,
    label_file,
    read_labels,
)
from assay.datasets.yolo_paths import YoloPaths, find_yolo_paths, listed_choices, text_with_gaps
from assay.errors import DataError, FileError
from assay.spec.generated_images import YoloSource
from assay.spec.splits import TRAIN
from assay.utils.reading import read_bytes
from assay.utils.text import pluralize

_NOT_LABELS = ("classes.txt",)


def read_yolo(spec: YoloSource) -> AnnotatedDataset:
    """Return the images with their objects, and everything that is wrong with them.

    Raises:
        DataError: The folder does not exist, or nothing in it names the classes.
    """
    paths, finder = find_yolo_paths(spec), FileFinder()
    subsets = _subsets_of_images(paths, spec, finder)
    existing = [image for image in subsets if os.path.isfile(image)]  # noqa: PTH113 - never raises
    missing = [f"{_shown(image, paths)}: {_absent(image, finder)}" for image in subsets if not os.path.isfile(image)]  # noqa: PTH113
    given, subset_problems = _given_subsets(existing, subsets, paths)
    files = {image: label_file(image, finder) for image in sorted(existing)}
    labels = _without_doubtful(_labels(files, paths), spec)
    unused = _unused_labels(files, labels, paths, spec, finder)
    root = _root(existing, paths)
    images = [
        AnnotatedImage(
            file=image.relative_to(root).as_posix(),
            where=_shown(image, paths),
            given_subset=given[image],
            is_complete=not own.problems and image not in unused.doubtful,
            in_shares=True,
            annotations=own.annotations,
        )
        for image, own in labels.items()
    ]
    without = [image for image, own in labels.items() if not own.exists]
    return AnnotatedDataset(
        root=root,
        images=tuple(images),
        classes=paths.names,
        problems=(
            *paths.problems,
            *missing,
            *_counted_otherwise(labels, paths),
            *_other_formats(without, paths),
            *unused.problems,
            *_shared_labels(files, paths),
            *subset_problems,
        ),
        bad_annotations=tuple(problem for own in labels.values() for problem in own.problems),
        statistics={
            "duplicates_left_out": sum(own.duplicates for own in labels.values()),
            "images_without_label_file": len(without),
        },
        warnings=(*paths.warnings, *_without_labels(without, files, paths), *unused.warnings),
    )


def _absent(image: Path, finder: FileFinder) -> str:
    found = finder.find(image)
    return f"does not exist{finder.hint(image)}" if found is None else f"is {kind_of_path(found)}"


def _labels(files: Mapping[Path, Path], paths: YoloPaths) -> dict[Path, LabelFile]:
    form = LabelFormat(paths.names, paths.key_points)
    return {
        image: read_labels(file, _shown(file, paths), form) if os.path.lexists(file) else LabelFile(exists=False)
        for image, file in files.items()
    }


def _without_doubtful(labels: dict[Path, LabelFile], spec: YoloSource) -> dict[Path, LabelFile]:
    """Return the labels without the lines that all others show to mean something else, and unwanted outlines."""
    key_points = key_points_in([each for own in labels.values() for each in own.annotations])
    corners = are_corners(list(labels.values()))
    tracks = are_tracks([each for own in labels.values() for each in own.annotations])
    found = {}
    for image, own in labels.items():
        right: list[Annotation] = []
        problems = list(own.problems)
        for each in own.annotations:
            if key_points and each.outline is not None:
                shape = f"[{key_points[0]}, {key_points[1]}]"
                problems.append(
                    f"{each.where}: looks like a box and key points; then data.yaml needs kpt_shape: {shape}"
                )
            elif tracks and isinstance(each.outline, Polygons) and len(each.outline.parts[0]) == TRACKED_CORNERS:
                problems.append(f"{each.where}: {TRACKED}")
            elif corners and each.outline is None:
                problems.append(f"{each.where}: fits, but other boxes do only as corners; {LABEL_CORNERS}")
            else:
                right.append(each if spec.masks else replace(each, outline=None))
        found[image] = replace(own, annotations=tuple(right), problems=tuple(problems))
    return found


def _counted_otherwise(labels: Mapping[Path, LabelFile], paths: YoloPaths) -> list[str]:
    used = frozenset[int]().union(*(own.numbers for own in labels.values()))
    found = counts_otherwise(used, range(len(paths.names)))
    return [f"{_shown(paths.config, paths)}: {found}"] if found else []


def _other_formats(without: Sequence[Path], paths: YoloPaths) -> Iterator[str]:
    """Yield that images without a label file have boxes in another form beside them, which nobody would have seen."""
    forms = ((".xml", "an .xml file", PASCAL_VOC, b""), (".json", "a .json file", LABELME, b'"shapes"'))
    for ending, file, sentence, mark in forms:
        found = [image for image in without if image.with_suffix(ending).is_file()]
        if found and _holds(found[0].with_suffix(ending), mark):
            shown = _shown(found[0].with_suffix(ending), paths)
            images = pluralize(len(found), "image has", "images have")
            yield f"{shown}: {images} {file} but no label file: {sentence}"


def _holds(file: Path, mark: bytes) -> bool:
    try:
        return mark in read_bytes(file)
    except (FileError, OSError):
        return False


_MOST_WITHOUT = 0.5
"""Share of images without a label file above which a sentence says so."""


def _without_labels(without: Sequence[Path], files: Mapping[Path, Path], paths: YoloPaths) -> list[str]:
    if len(without) <= _MOST_WITHOUT * len(files):
        return []
    image = without[0]
    return [
        f"{len(without)} of {pluralize(len(files), 'image has', 'images have')} no label file, which "
        "counts as known to be empty; "
        f"that of {_shown(image, paths)} would be {_shown(files[image], paths)}"
    ]


def _root(images: list[Path], paths: YoloPaths) -> Path:
    inside = all(image.is_relative_to(paths.base) for image in images)
    return paths.base if inside else Path(os.path.commonpath([image.parent for image in images]))


def _shown(path: Path, paths: YoloPaths) -> str:
    return os.path.relpath(path, paths.base) if path.is_relative_to(paths.base) else str(path)


def _subsets_of_images(paths: YoloPaths, spec: YoloSource, finder: FileFinder) -> dict[Path, list[str | None]]:
    found: dict[Path, list[str | None]] = defaultdict(list)
    for subset, path in paths.images:
        for image in list_images(path, spec, finder):
            if subset not in found[image]:
                found[image].append(subset)
    return found


def list_images(path: Path, source: YoloSource, finder: FileFinder) -> list[Path]:
    """Return the images of a folder, or those that a text file lists, relative to itself.

    Raises:
        DataError: It is neither a folder nor a regular file.
    """
    if path.is_dir():
        return [path / name for name in walk_files(path) if source.is_image(name)]
    lines = [line.strip() for line in text_with_gaps(path).splitlines()]
    return [_listed_image(line, path.parent, finder) for line in lines if line]


def _listed_image(line: str, folder: Path, finder: FileFinder) -> Path:
    choices = listed_choices(line, folder)
    return next((found for choice in choices if (found := finder.find_file(choice))), choices[0])


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
    if not image.is_relative_to(paths.base):
        return None
    folders = [part for part in image.relative_to(paths.base).parts[:-1] if part.lower() != IMAGE_FOLDER]
    return subset_of(folders[0]) if folders else None


def _shared_labels(files: Mapping[Path, Path], paths: YoloPaths) -> list[str]:
    """Return one line per image that has the same label file as another image."""
    first: dict[Path, Path] = {}
    return [
        f"{_shown(image, paths)}: has the same label file as {_shown(first[label], paths)}; rename one"
        for image, label in files.items()
        if first.setdefault(label, image) != image
    ]


@dataclass(frozen=True)
class _UnusedLabels:
    """Label files that are not read.

    Attributes:
        problems: A line per file that must belong to an image but does not.
        warnings: Sentences on the others.
        doubtful: Images without a label file of which another file has the name.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    doubtful: frozenset[Path]


def _unused_labels(
    files: Mapping[Path, Path], labels: Mapping[Path, LabelFile], paths: YoloPaths, spec: YoloSource, finder: FileFinder
) -> _UnusedLabels:
    """Return what is wrong with label files that are not read.

    One without an image is an error in the folders that label files are read from. Elsewhere it may be a copy, a
    prediction, or one of images that are not used. Where it has the name of an image without a label file, the image is
    not known to be empty, and where most images have such a file, labels are in the wrong place.
    """
    tops = _top_folders({file.parent for image, file in files.items() if file.parent != image.parent})
    named = {_stem(image): image for image in files if not labels[image].exists}
    problems, misplaced, others = [], {}, []
    for file in _unused_text_files(files, tops, paths, spec, finder):
        image = named.get(_stem(file))
        if any(file.is_relative_to(top) for top in tops):
            alike = f"; nearest without a label file: {_shown(image, paths)}" if image else ""
            problems.append(f"{_shown(file, paths)}: there is no image of that name{alike}")
        elif _holds_labels(file):
            others.append(_shown(file, paths))
            if image is not None:
                misplaced[image] = (
                    f"{_shown(file, paths)}: is not read, but has the name of {_shown(image, paths)}, which has no "
                    f"label file; move it to {_shown(files[image], paths)}"
                )
    if len(misplaced) > _MOST_WITHOUT * len(files):
        problems += misplaced.values()
    warnings = list(misplaced.values())[:1]
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        warnings.append(
            f"{pluralize(len(others), 'label file belongs', 'label files belong')} to none of the images: {shown}"
        )
    return _UnusedLabels(tuple(problems), tuple(warnings), frozenset(misplaced))


def _unused_text_files(
    files: Mapping[Path, Path], tops: set[Path], paths: YoloPaths, spec: YoloSource, finder: FileFinder
) -> list[Path]:
    folders = _top_folders({paths.base, *tops, *(image.parent for image in files)})
    found = [file for folder in sorted(folders) for file in _files_below(folder)]
    used = {*files.values(), *(label_file(file, finder) for file in found if spec.is_image(file.name))}
    used |= {path for _, path in paths.images}
    return [
        file
        for file in found
        if file.suffix.lower() == ".txt" and file.name.lower() not in _NOT_LABELS and file not in used
    ]


_MOST_FILES = 500_000
"""So many files are looked at for labels without an image; data.yaml may lie in a folder that holds much else."""


def _files_below(folder: Path) -> Iterator[Path]:
    with suppress(OSError, DataError):  # what else is there need not be readable
        for name in islice(walk_files(folder), _MOST_FILES):
            yield folder / name


def _top_folders(folders: set[Path]) -> set[Path]:
    return {folder for folder in folders if not any(parent in folders for parent in folder.parents)}


def _stem(file: Path) -> str:
    return composed(file.stem).casefold()


_MOST_PEEKED_BYTES = 2**20


def _holds_labels(file: Path) -> bool:
    """Return whether a text file looks like label lines rather than notes."""
    try:
        lines = read_bytes(file, _MOST_PEEKED_BYTES).decode("utf-8-sig").split("\n")
        words = [line.split() for line in lines if line.strip()]
        return bool(words) and all(len(each) > _BOX_VALUES and all(map(_is_number, each)) for each in words)
    except (FileError, FileNotFoundError, UnicodeDecodeError):
        return False


_BOX_VALUES = 4


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
