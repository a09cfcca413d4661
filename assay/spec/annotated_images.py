"""Sources of the user's own images with boxes, outlines or masks: COCO files, YOLO folders, folders of masks.

Belongs here: where the data are and how they are read. Does not belong here: reading, checking, dividing them.
"""

import re
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from assay.spec.own_data import ImageSource, SubsetFolders

Relative = Annotated[str, Field(min_length=1)]
"""Path relative to ``path``, or an absolute one; ``~`` is the home folder."""

BadAnnotations = Literal["refuse", "leave_out"]

COLOR = re.compile(r"#[0-9a-fA-F]{6}")
LARGEST_VALUE = 65535

MaskValue = Annotated[int, Field(ge=0, le=LARGEST_VALUE)] | Annotated[str, Field(pattern=rf"^{COLOR.pattern}$")]
"""Value of a pixel: index into the palette or grey level, or a colour such as "#ff8000"."""


class CocoSource(ImageSource):
    """Images with boxes and outlines in COCO's JSON files, one for all images or one per subset."""

    kind: Literal["coco"] = "coco"
    """Chooses this source."""
    path: str = Field(min_length=1)
    """A JSON file, or a folder that holds JSON files, itself or in ``annotations``, ``train``, ``val`` or ``test``;
    relative to the working directory, ``~`` is the home folder."""
    annotations: dict[str, Relative] = {}
    """JSON file by subset (train, validation, test), relative to ``path``. Left out: the files in ``path``, whose
    names say the subset, such as instances_train2017.json."""
    images: Relative | None = None
    """Folder of the images, relative to ``path``, which may have a folder per subset. Null: looked for in ``path``,
    beside the JSON file and in ``images``."""
    masks: bool = True
    """Draw masks from outlines, from which segmentation learns."""
    bad_annotations: BadAnnotations = "refuse"
    """``refuse``: stop and list annotations that can't be right, such as boxes of no area; ``leave_out``: go on without
    them and list them in the report."""

    @model_validator(mode="after")
    def _files_by_subset(self) -> Self:
        if self.annotations and PurePath(self.path).suffix.lower() == ".json":
            raise ValueError("annotations names files in a folder, but path is a JSON file; give the folder as path")
        return self


class YoloSource(ImageSource):
    """Images with a text file each, as YOLO's tools read them."""

    kind: Literal["yolo"] = "yolo"
    """Chooses this source."""
    path: str = Field(min_length=1)
    """The folder, with data.yaml or classes.txt, or the YAML file itself; relative to the working directory, ``~`` is
    the home folder."""
    masks: bool = True
    """Draw masks from outlines (lines with a polygon), from which segmentation learns."""
    bad_annotations: BadAnnotations = "refuse"
    """``refuse``: stop and list lines that can't be right; ``leave_out``: go on without them and list them in the
    report."""


class MaskFolderSource(ImageSource):
    """Images and, in another folder and with the same names, a mask each whose values are classes."""

    kind: Literal["masks"] = "masks"
    """Chooses this source."""
    path: str = Field(min_length=1)
    """The folder; relative to the working directory, ``~`` is the home folder."""
    images: Relative = "images"
    """Folder of the images, relative to ``path``."""
    masks: Relative = "masks"
    """Folder of the masks, relative to ``path``."""
    classes: dict[str, MaskValue] = {}
    """Value of each class in the masks: a number, or a colour as "#rrggbb". Left out: every value found is a class of
    that name."""
    background: MaskValue | None = 0
    """Value of pixels that belong to no class; null if every pixel belongs to one."""
    ignore: MaskValue | None = 255
    """Value of pixels whose class is unknown, which are neither learned nor judged; null for none."""
    subset_folders: SubsetFolders = "detect"
    """Whether folders named train, validation (val, valid) and test are subsets. ``detect``: when all are so named and
    train is among them."""

    @field_validator("classes")
    @classmethod
    def _named(cls, classes: dict[str, MaskValue]) -> dict[str, MaskValue]:
        empty = [value for name, value in classes.items() if not name.strip()]
        if empty:
            raise ValueError(f"the class of value {empty[0]!r} has no name; expected text")
        return classes

    @model_validator(mode="after")
    def _one_meaning_per_value(self) -> Self:
        meanings: dict[tuple[type, int], str] = {}  # a colour is not the number that it is packed into
        named = {f"class {name!r}": value for name, value in self.classes.items()}
        for meaning, value in {**named, "background": self.background, "ignore": self.ignore}.items():
            if value is not None:
                key = (type(value), mask_number(value))
                if key in meanings:
                    raise ValueError(f"{meanings[key]} and {meaning} both have the value {value!r}")
                meanings[key] = meaning
        return self


def mask_number(value: int | str) -> int:
    """Return a mask's value as the number that ``assay.images.masks`` reads from its pixels."""
    return int(value.removeprefix("#"), 16) if isinstance(value, str) else value
