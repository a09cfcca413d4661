"""Sources of the user's own data: a folder of images in class folders, or a table; what sources of images share.

Belongs here: where the data are and how they are read. Does not belong here: reading, checking, dividing them.
"""

from pathlib import PurePath
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from assay.spec.base import Section

TABLE_EXTENSIONS = (".csv", ".parquet")

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
