"""Section ``generated_images``: the source of the experiment's data.

A source is generated numbers, the user's own images (a folder per class, COCO, YOLO or mask files) or a table.

Belongs here: keys of sources, rules on their values. Does not belong here: drawing, reading or checking data
(``assay.datasets``).
"""

import math
import re
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from assay.spec.base import ADDED, ImageSize, Location, Section, Switch, UserPath
from assay.spec.extensions import OrPlugin
from assay.spec.normalized import MissingValues
from assay.spec.plugins import SOURCES

DEFAULT_ROTATION_DEGREES = 45.0

_INK_WIDTH_PER_DIGIT = 0.72

_INK_HEIGHT = 0.78
"""Ink of the widest and highest digit of all fonts, in font sizes."""


class PhotoAugmentation(Section):
    """Random changes of background photos; each is applied to some of the images."""

    flip: bool = True
    """Flip horizontally and vertically."""
    affine: bool = True
    """Rotate, shear and zoom."""
    elastic: bool = True
    """Distort elastically."""
    brightness: bool = True
    """Change the brightness."""
    contrast: bool = True
    """Change the contrast."""
    hue: bool = True
    """Change hue, saturation and tint."""
    blur: bool = True
    """Apply a Gaussian blur."""
    sharpen: bool = True
    """Sharpen or emboss."""


class NumbersSource(Section):
    """Generated images of numbers; image i depends only on the seed and i, so a larger count only adds images."""

    kind: Literal["numbers"] = "numbers"
    """Chooses this source."""
    sample_count: int = Field(default=400, ge=1, le=1_000_000)
    """Number of images."""
    max_number: int = Field(default=10, ge=1, le=255)
    """Upper limit, exclusive: numbers 0 to max_number - 1 are drawn, so 10 gives all digits; 12 is one object "12"."""
    max_amount: int = Field(default=8, ge=1, le=254)
    """Largest count of numbers per image; every count from 1 to this is equally likely."""
    img_size: ImageSize = ImageSize(width=256, height=256)
    """Size of every image, in pixels."""
    font_size_min: int = Field(default=24, ge=8, le=4096)
    """Smallest font size in pixels, inclusive."""
    font_size_max: int = Field(default=48, ge=8, le=4096)
    """Largest font size in pixels, inclusive."""
    rotate: bool = True
    """Rotate every number by a random angle."""
    rotation_degrees: float = Field(default=DEFAULT_ROTATION_DEGREES, ge=0, le=180)
    """Largest rotation angle in either direction. It is not 180 by default, because a 6 upside down is a 9."""
    detection_labels: bool = True
    """Write labels/<name>.json with the box of every number; the table objects.parquet is always written."""
    masks: bool = True
    """Write masks/<name>.png, in which each pixel is the number drawn there, or 255 for background."""
    background_folder: UserPath | None = None
    """Folder of background photos; every file in it must be readable. Null: the photos of scikit-image."""
    min_contrast: float = Field(default=40.0, ge=0, le=127)
    """Least difference between the luminance of a number and that of its background, on a scale of 0 to 255."""
    overlap: bool = False
    """Allow numbers to cover each other; boxes and masks then contain the visible part."""
    compress_level: int = Field(default=1, ge=0, le=9)
    """PNG compression level: 0 none, 1 fastest, 9 smallest; 6 makes files a quarter smaller in nine times the time."""
    augmentation: PhotoAugmentation = PhotoAugmentation()
    """Random changes of the background photos."""

    @property
    def largest_angle(self) -> float:
        """Largest rotation angle in either direction, in degrees; 0 if nothing is rotated."""
        return self.rotation_degrees if self.rotate else 0.0

    @property
    def room_px(self) -> int:
        """Side in pixels of a square that every number fits into, at any angle."""
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
"""Whether top folders are subsets."""


class ImageSource(Section):
    """The keys that all sources of the user's images share."""

    ALSO_READ: ClassVar[frozenset[str]] = frozenset(
        (
            *(".jfif", ".jpe", ".apng", ".dib", ".avif", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
            *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".qoi"),
        )
    )
    """Extensions that the default of ``extensions`` stands for as well. They are not in it, since that would be another
    value, and with it another fingerprint of all results that exist."""

    extensions: tuple[str, ...] = Field(
        default=(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"), min_length=1
    )
    """File extensions of images, in any case; other files are skipped, counted, and named if they look like images.
    The default also stands for .jfif, .jpe, .apng, .dib, .avif, .jp2, .j2k, .ppm, .pgm, .pbm, .pnm, .tga, .pcx and
    .qoi."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=89_478_485)
    """Largest number of pixels in an image, checked before decoding; the upper limit is Pillow's."""

    @field_validator("extensions")
    @classmethod
    def _with_dot(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        for extension in extensions:
            if not extension.startswith(".") or len(extension) < 2:
                raise ValueError(f"got {extension!r}; expected a dot and letters, such as .png")
        return tuple(dict.fromkeys(extension.lower() for extension in extensions))

    def is_image(self, name: str) -> bool:
        """Return whether a file is an image, by its extension."""
        suffix, usual = PurePath(name).suffix.lower(), type(self).model_fields["extensions"].default
        return suffix in self.extensions or (self.extensions == usual and suffix in self.ALSO_READ)


class ImageFolderSource(ImageSource):
    """Images in one folder per class, ``cat/1.png``, or in subsets of such folders, ``train/cat/1.png``."""

    kind: Literal["image_folder"] = "image_folder"
    """Chooses this source."""
    path: UserPath
    """Path of the folder, relative to the working directory; ``~`` is the home folder."""
    subset_folders: SubsetFolders = "detect"
    """Whether the top folders are subsets. ``detect``: if all of them are named like subsets (train or Training; val,
    valid, dev or eval; test, Testing or holdout) and train is among them; ``always``: they are; ``never``: they are
    classes."""


Relative = UserPath
"""Path relative to ``path``, or an absolute one; ``~`` is the home folder."""

BadAnnotations = Literal["refuse", "leave_out"]
"""What happens to annotations that are not valid."""


class CocoSource(ImageSource):
    """Images with boxes and polygons in COCO JSON files, one for all images or one per subset."""

    kind: Literal["coco"] = "coco"
    """Chooses this source."""
    path: UserPath
    """A JSON file, or a folder with JSON files, in itself or in ``annotations``, ``train``, ``val`` or ``test``;
    relative to the working directory, ``~`` is the home folder."""
    annotations: dict[str, Relative] = {}
    """JSON file by subset (train, validation, test), relative to ``path``. Default: the files in ``path`` whose names
    contain the subset, such as instances_train2017.json."""
    images: Relative | None = None
    """Folder of the images, relative to ``path``; it may have a folder per subset. Null: images are searched in
    ``path``, beside the JSON file and in ``images``."""
    masks: bool = True
    """Draw masks from polygons, for segmentation."""
    bad_annotations: BadAnnotations = "refuse"
    """``refuse``: stop and list annotations that are not valid, such as boxes without area; ``leave_out``: skip them
    and list them in the report; the truth of images that lost one is unknown."""

    @model_validator(mode="after")
    def _files_by_subset(self) -> Self:
        if self.annotations and PurePath(self.path).suffix.lower() == ".json":
            raise ValueError("annotations names files in a folder, but path is a JSON file; give the folder as path")
        return self


class YoloSource(ImageSource):
    """Images with one label file each, in the format of YOLO."""

    kind: Literal["yolo"] = "yolo"
    """Chooses this source."""
    path: UserPath
    """The folder with data.yaml, classes.txt, or obj.data and obj.names as Darknet has them; or that file itself;
    relative to the working directory, ``~`` is the home folder."""
    masks: bool = True
    """Draw masks from polygons, for segmentation."""
    bad_annotations: BadAnnotations = "refuse"
    """``refuse``: stop and list lines that are not valid; ``leave_out``: skip them and list them in the
    report; the truth of images that lost one is unknown."""


COLOR = re.compile(r"#[0-9a-fA-F]{6}")

LARGEST_VALUE = 65535

MaskValue = Annotated[int, Field(ge=0, le=LARGEST_VALUE)] | Annotated[str, Field(pattern=rf"^{COLOR.pattern}$")]
"""Value of a pixel: index into the palette or grey level, or a colour such as "#ff8000"."""


class MaskFolderSource(ImageSource):
    """Images, and masks with the same names in another folder, whose pixel values are classes."""

    kind: Literal["masks"] = "masks"
    """Chooses this source."""
    path: UserPath
    """Path of the folder, relative to the working directory; ``~`` is the home folder."""
    images: Relative = "images"
    """Folder of the images, relative to ``path``."""
    masks: Relative = "masks"
    """Folder of the masks, relative to ``path``."""
    classes: dict[str, MaskValue] = {}
    """Pixel value of each class: a number, or a colour as "#rrggbb". Default: every value in the masks is a class with
    that name."""
    background: MaskValue | None = 0
    """Value of pixels that belong to no class; null if every pixel belongs to one."""
    ignore: MaskValue | None = 255
    """Value of pixels of unknown class, which are excluded from training and metrics; null for none."""
    subset_folders: SubsetFolders = "detect"
    """Whether folders named train, validation (val, valid) and test are subsets. ``detect``: if train is among them;
    images in other folders beside these are refused then."""

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
    """Return a mask's value as the number that ``assay.images.decoding`` reads from its pixels."""
    return int(value.removeprefix("#"), 16) if isinstance(value, str) else value


TABLE_EXTENSIONS = (".csv", ".parquet")


class ColumnUse(NamedTuple):
    """What the other sections do with a table's columns; it decides what is refused, never what is read."""

    learning: str | None = None
    """The learning task; None: unknown, so that all that may be wrong is refused."""
    target: str | None = None
    """The column that is predicted."""
    inputs: tuple[str, ...] | None = None
    """Names or globs of the columns that the model reads; None: all features."""
    categories: tuple[str, ...] = ()
    """Names or globs of the columns that are listed as binary or categorical."""
    missing: MissingValues = MissingValues()
    """What fills the gaps of features."""
    dates_in_parts: bool = False
    """Whether the parts of dates become features."""

    def means_texts(self, name: str) -> bool:
        """Return whether a column's values are names, whatever they look like."""
        return self.are_labels(name) or _matches(name, self.categories)

    def are_labels(self, name: str) -> bool:
        """Return whether a column holds several labels per row, of which an empty text has none."""
        return self.learning == "multi_label" and name == self.target

    def reads(self, name: str) -> bool:
        """Return whether a feature may become an input of the model."""
        return self.inputs is None or _matches(name, self.inputs)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


class TableSource(Section):
    """A CSV or Parquet file with one row per item and a column to predict."""

    kind: Literal["table"] = "table"
    """Chooses this source."""
    path: UserPath
    """Path of the .csv or .parquet file, relative to the working directory; ``~`` is the home folder."""
    target_column: str = Field(min_length=1)
    """Name of the column to predict."""
    subset_column: str | None = None
    """Name of a column with train, validation (val, valid) or test for each row; it is not a feature."""
    group_column: str | None = None
    """Name of a column with groups, such as patients; the rows of a group stay in one subset. It is not a feature."""
    ignore_columns: tuple[str, ...] = ()
    """Names of columns to ignore."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Separator of the values in a CSV file."""
    null_values: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts in a CSV file that mean a missing value."""
    decimal: Annotated[Literal[".", ","], ADDED] = "."
    """Sign before the decimals of numbers in a CSV file."""
    thousands: Annotated[Literal[",", ".", " ", "'", "_"] | None, ADDED] = None
    """Sign between the thousands of numbers in a CSV file: "." where 1.234 is one thousand. Null: none."""
    encoding: Annotated[str | None, ADDED] = None
    """Encoding of a CSV file, such as cp1252, which Excel writes on Windows. Null: UTF-8, or what the file's byte order
    mark says."""
    text_columns: Annotated[tuple[str, ...], ADDED] = ()
    """Names of columns that hold texts even where they look like numbers, such as postcodes or codes of categories."""
    _use: ColumnUse = PrivateAttr(default=ColumnUse())

    @property
    def use(self) -> ColumnUse:
        """What the other sections of the experiment do with the columns."""
        return self._use

    def used_as(self, use: ColumnUse) -> Self:
        """Return a copy that knows what the other sections do with the columns."""
        copy = self.model_copy()
        copy._use = use
        return copy

    @property
    def is_csv(self) -> bool:
        """Whether the file is CSV rather than Parquet."""
        return PurePath(self.path).suffix.lower() == ".csv"

    @model_validator(mode="after")
    def _file_type(self) -> Self:
        if PurePath(self.path).suffix.lower() not in TABLE_EXTENSIONS:
            raise ValueError(f"path: got {self.path!r}; expected a name that ends in .csv or .parquet")
        for key in ("delimiter", "null_values", "decimal", "thousands", "encoding"):
            if not self.is_csv and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is for CSV files, but path is {self.path!r}; leave {key} out")
        return self

    @model_validator(mode="after")
    def _numbers_are_readable(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; expected two signs")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError):
                raise ValueError(
                    f"encoding: got {self.encoding!r}; expected an encoding of text, such as utf-8, utf-16 or cp1252"
                ) from None
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
"""Sources that read the user's files; the content of these is hashed and watched."""

BuiltInSource = Annotated[NumbersSource | OwnData, Field(discriminator="kind")]

BUILT_IN_SOURCES = ("numbers", "image_folder", "coco", "yolo", "masks", "table")


class SourceKind:
    """A kind of source registered by an installed package: a section with its own ``kind``, and its builder.

    Attributes:
        section: Model of the source's keys.
        build: Import path ``package.module:function`` of the function that fills a folder with the files that
            ``assay.datasets.image_folder.build_image_folder`` writes, see ``assay.datasets.schema``. It is called as
            ``function(source, seed, folder, progress)`` and returns the report.
        digest: Import path of ``function(source, cache_file)``, which returns the content hash of the data that the
            source reads; ``""`` if the section determines everything.
    """

    def __init__(self, section: type[Section], build: str, digest: str = "") -> None:
        self.section = section
        self.build = build
        self.digest = digest


Source = Annotated[BuiltInSource, OrPlugin(SOURCES, SourceKind, Section, BUILT_IN_SOURCES)]


class GeneratedImagesSection(Section):
    """Generated images of numbers, or the user's own images or table."""

    source: Source = NumbersSource()
    """Source of the data; ``kind`` is numbers, image_folder, coco, yolo, masks or table."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the generator; null uses the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""
