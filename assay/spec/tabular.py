"""Section ``tabular``: how crops, or the user's table, become rows."""

from typing import Self

from pydantic import Field, model_validator

from assay.spec.base import ImageSize, Location, Section, Switch
from assay.spec.splits import SubFolder

MAX_COLUMNS = 16_384


class TabularSection(Section):
    """One row per crop with its grey pixels as columns ``px_<row>_<column>``; or the user's own table."""

    target_image_size: ImageSize = ImageSize(width=10, height=10)
    """Size to which a crop is reduced by area averaging; each pixel becomes a column."""
    border: int | None = Field(default=0, ge=0, le=255)
    """Grey level, from 0 (black) to 255 (white), that pads a crop with another aspect ratio; null stretches it."""
    name_delimiter: str | None = Field(default=None, min_length=1, max_length=8)
    """Separator in the image's file name, whose last part is the label: with ``_``, scan_7.png has label 7. Null: the
    label of the crop."""
    use_dirs_as_subsets: bool = True
    """Assign every row to the subset whose folder contains its crop; false puts all rows into ``train``."""
    recursive: bool = True
    """Include crops of images in subfolders of the class folders; false leaves them out."""
    sub_dir: SubFolder = ""
    """Use only the crops below this folder of each subset, such as ``cat``; empty uses all."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""

    @model_validator(mode="after")
    def _few_enough_columns(self) -> Self:
        count = self.target_image_size.width * self.target_image_size.height
        if count > MAX_COLUMNS:
            raise ValueError(f"target_image_size makes {count} columns; expected at most {MAX_COLUMNS}")
        return self
