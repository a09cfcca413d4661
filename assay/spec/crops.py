"""Section ``crops``: how labelled objects are cropped from their images."""

from pydantic import Field

from assay.spec.base import Location, Section, Switch
from assay.spec.splits import SubFolder


class CropsSection(Section):
    """One crop per labelled box; an image without boxes, which has a class of its own, is used as a whole."""

    margin: float = Field(default=0.12, ge=0.0, le=4.0)
    """Margin on each side of a box, as a fraction of the box's longer side."""
    square: bool = True
    """Crop a square around the box, so that scaling keeps the aspect ratio; false crops the box itself."""
    max_size: int = Field(default=256, ge=4, le=16384)
    """Longest side of a stored crop in pixels; larger ones are reduced by area averaging."""
    name_delimiter: str = Field(default="_", pattern=r"^[A-Za-z0-9_.=+~-]{1,8}$")
    """Separator between the image's name and the object's number in a crop's file name."""
    recursive: bool = True
    """Include images in subfolders of the class folders; false leaves them out."""
    sub_dir: SubFolder = ""
    """Folder for the crops, below each subset's folder."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""
