"""Section ``generated_images``: where the experiment's data come from."""

import math
import re
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from assay.spec.base import ImageSize, Location, Section, Switch, or_plugin

DEFAULT_ROTATION_DEGREES = 45.0

_INK_WIDTH_PER_DIGIT = 0.72

_INK_HEIGHT = 0.78
"""Ink of the widest and highest digit of all fonts, in font sizes."""


class Augmentation(Section):
    """Which changes a background photo goes through; each is applied at random, to some of the images."""

    flip: bool = True
    """Mirror left to right and top to bottom."""
    affine: bool = True
    """Turn, shear and zoom."""
    elastic: bool = True
    """Bend smoothly."""
    brightness: bool = True
    """Make lighter or darker."""
    contrast: bool = True
    """Stretch or compress the grey levels."""
    hue: bool = True
    """Turn the hue, change saturation and tint."""
    blur: bool = True
    """Blur with a Gaussian."""
    sharpen: bool = True
    """Sharpen or emboss."""


class NumbersSource(Section):
    """Generated pictures; picture i depends on the seed and i alone, so a larger count only adds pictures."""

    kind: Literal["numbers"] = "numbers"
    """Chooses this source."""
    sample_count: int = Field(default=400, ge=1, le=1_000_000)
    """Number of pictures."""
    max_number: int = Field(default=10, ge=1, le=255)
    """Exclusive: numbers 0 to max_number - 1 are drawn, so 10 gives all digits; above 10, 12 is one object "12"."""
    max_amount: int = Field(default=8, ge=1, le=254)
    """Numbers per picture at most; every amount from 1 to this is equally likely."""
    img_size: ImageSize = ImageSize(width=256, height=256)
    """Size of every picture, in pixels."""
    font_size_min: int = Field(default=24, ge=8, le=4096)
    """Smallest font size in pixels, inclusive."""
    font_size_max: int = Field(default=48, ge=8, le=4096)
    """Largest font size in pixels, inclusive."""
    rotate: bool = True
    """Turn every number by a random angle."""
    rotation_degrees: float = Field(default=DEFAULT_ROTATION_DEGREES, ge=0, le=180)
    """Largest angle to either side. Not 180 by default: upside down, a 6 is a 9, and no model can tell them apart."""
    detection_labels: bool = True
    """Write labels/<name>.json with the box of every number; the table objects.parquet is written either way."""
    masks: bool = True
    """Write masks/<name>.png: each pixel is the number drawn there, or 255 for background."""
    background_folder: str | None = Field(default=None, min_length=1)
    """Folder of photos to draw on; every file in it must be readable. Null takes the photos of scikit-image."""
    min_contrast: float = Field(default=40.0, ge=0, le=127)
    """Least distance between the luminance of a number and that of its background, in levels of 0 to 255."""
    overlap: bool = False
    """Let numbers cover each other; boxes and masks then show the part that remains visible."""
    compress_level: int = Field(default=1, ge=0, le=9)
    """PNG compression: 0 none, 1 fastest, 9 smallest; 6 makes files a quarter smaller in nine times the time."""
    augmentation: Augmentation = Augmentation()
    """Changes to the background photos."""

    @property
    def largest_angle(self) -> float:
        """Largest angle to either side in degrees; 0 when nothing is rotated."""
        return self.rotation_degrees if self.rotate else 0.0

    @property
    def room_px(self) -> int:
        """Side of a square that every number fits into, at any angle that may be drawn."""
        width = _INK_WIDTH_PER_DIGIT * len(str(self.max_number - 1))
        side = math.hypot(width, _INK_HEIGHT) if self.largest_angle else max(width, _INK_HEIGHT)
        return math.ceil(self.font_size_max * side) + 2

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.font_size_min > self.font_size_max:
            raise ValueError(
                f"font_size_min ({self.font_size_min}) is larger than font_size_max ({self.font_size_max}); "
                "swap them or raise font_size_max"
            )
        width, height = self.img_size.width, self.img_size.height
        if self.room_px > min(width, height):
            raise ValueError(
                f"font_size_max ({self.font_size_max}) makes numbers of up to {self.room_px} px, "
                f"but img_size is {width}x{height}; lower font_size_max or raise img_size"
            )
        if not self.overlap and self.max_amount * self.room_px**2 > width * height:
            raise ValueError(
                f"max_amount ({self.max_amount}) numbers of up to {self.room_px} px do not fit side by side into "
                f"img_size {width}x{height}; lower max_amount or font_size_max, or set overlap: true"
            )
        return self

    @model_validator(mode="after")
    def _rotation_is_meant(self) -> Self:
        if self.rotate and self.rotation_degrees == 0:
            raise ValueError("rotate is true, but rotation_degrees is 0; set rotate: false or give an angle")
        if not self.rotate and self.rotation_degrees != DEFAULT_ROTATION_DEGREES:
            raise ValueError(
                f"rotation_degrees ({self.rotation_degrees:g}) has no effect while rotate is false; "
                "set rotate: true or leave rotation_degrees out"
            )
        return self


SubsetFolders = Literal["detect", "always", "never"]


class ImageSource(Section):
    """What all sources of the user's images share."""

    extensions: tuple[str, ...] = Field(
        default=(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"), min_length=1
    )
    """Ends of the names of images, in any case; other files are left out and counted in the report."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=89_478_485)
    """Largest width times height of an image in pixels, checked before decoding; the limit is Pillow's own."""

    @field_validator("extensions")
    @classmethod
    def _with_dot(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        for extension in extensions:
            if not extension.startswith(".") or len(extension) < 2:
                raise ValueError(f"got {extension!r}; expected a dot and letters, such as .png")
        return tuple(dict.fromkeys(extension.lower() for extension in extensions))

    def is_image(self, name: str) -> bool:
        """Return whether a file is an image by the end of its name."""
        return PurePath(name).suffix.lower() in self.extensions


class ImageFolderSource(ImageSource):
    """Images in one folder per class, ``cat/1.png``, or in subsets of such folders, ``train/cat/1.png``."""

    kind: Literal["image_folder"] = "image_folder"
    """Chooses this source."""
    path: str = Field(min_length=1)
    """The folder; relative to the working directory, ``~`` is the home folder."""
    subset_folders: SubsetFolders = "detect"
    """Whether top folders named train, validation (val, valid) and test are subsets. ``detect``: when all are so
    named and train is among them; ``never``: they are classes."""


Relative = Annotated[str, Field(min_length=1)]
"""Path relative to ``path``, or an absolute one; ``~`` is the home folder."""

BadAnnotations = Literal["refuse", "leave_out"]


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


COLOR = re.compile(r"#[0-9a-fA-F]{6}")

LARGEST_VALUE = 65535

MaskValue = Annotated[int, Field(ge=0, le=LARGEST_VALUE)] | Annotated[str, Field(pattern=rf"^{COLOR.pattern}$")]
"""Value of a pixel: index into the palette or grey level, or a colour such as "#ff8000"."""


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


TABLE_EXTENSIONS = (".csv", ".parquet")


class TableSource(Section):
    """A CSV or Parquet file with one row per item and a column to predict."""

    kind: Literal["table"] = "table"
    """Chooses this source."""
    path: str = Field(min_length=1)
    """The file, .csv or .parquet; relative to the working directory, ``~`` is the home folder."""
    target_column: str = Field(min_length=1)
    """Name of the column to predict."""
    subset_column: str | None = None
    """Name of a column that says train, validation (val, valid) or test for each row; not a feature."""
    group_column: str | None = None
    """Name of a column whose equal values stay in one subset, such as a patient's number; not a feature."""
    ignore_columns: tuple[str, ...] = ()
    """Names of columns to leave out."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Character between the values of a CSV file."""
    null_values: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts in a CSV file that stand for a missing value."""

    @property
    def is_csv(self) -> bool:
        """Whether the file is CSV rather than Parquet."""
        return PurePath(self.path).suffix.lower() == ".csv"

    @model_validator(mode="after")
    def _file_type(self) -> Self:
        if PurePath(self.path).suffix.lower() not in TABLE_EXTENSIONS:
            raise ValueError(f"path: got {self.path!r}; expected a name that ends in .csv or .parquet")
        for key in ("delimiter", "null_values"):
            if not self.is_csv and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is for CSV files, but path is {self.path!r}; leave {key} out")
        return self

    @model_validator(mode="after")
    def _one_role_per_column(self) -> Self:
        roles: dict[str, str] = {}
        single = {key: getattr(self, key) for key in ("target_column", "subset_column", "group_column")}
        for key, name in [*single.items(), *(("ignore_columns", name) for name in self.ignore_columns)]:
            if name is not None and name in roles:
                raise ValueError(f"{roles[name]} and {key} both name column {name!r}; a column has one role")
            if name is not None:
                roles[name] = key
        return self


OwnData = ImageFolderSource | CocoSource | YoloSource | MaskFolderSource | TableSource
"""Sources that read the user's files, whose content is hashed and watched."""

BuiltInSource = Annotated[NumbersSource | OwnData, Field(discriminator="kind")]

SOURCE_PLUGINS = "assay.sources"
"""Entry point group whose names are further kinds; each object is a ``SourceKind``."""

BUILT_IN_SOURCES = ("numbers", "image_folder", "coco", "yolo", "masks", "table")


class SourceKind:
    """What an installed package registers: a section with its own ``kind``, and what builds it.

    Attributes:
        section: The keys of the source.
        build: Import path ``package.module:function`` of what fills a folder with the layout that
            ``assay.own_data.build_image_folder`` documents. Called as ``function(source, seed, folder, progress)``, it
            returns the report.
        digest: Import path of ``function(source, cache_file)``, which returns the content hash of the data that the
            source reads; ``""`` where the section says everything.
    """

    def __init__(self, section: type[Section], build: str, digest: str = "") -> None:
        self.section = section
        self.build = build
        self.digest = digest


Source = Annotated[SerializeAsAny[BuiltInSource], or_plugin(SOURCE_PLUGINS, BUILT_IN_SOURCES, SourceKind)]


class GeneratedImagesSection(Section):
    """Generated number images, or the user's own images or table."""

    source: Source = NumbersSource()
    """What the data are; ``kind`` is numbers, image_folder, coco, yolo, masks or table."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the generator; null takes the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even when a complete result exists; the old one stays until the new one is complete."""
