"""Section ``crops``: how labelled objects are cut out of their images."""

from pydantic import Field

from assay.spec.base import Location, Section, Switch
from assay.spec.splits import SubFolder


class CropsSection(Section):
    """One picture per labelled box; of images without boxes, which have a class of their own, the whole image."""

    margin: float = Field(default=0.12, ge=0.0, le=4.0)
    """Room on each side of a box, as a share of the box's longer side."""
    square: bool = True
    """Cut a square around the box, so that scaling keeps shapes; false cuts the box's own shape."""
    max_size: int = Field(default=256, ge=4, le=16384)
    """Longest side of a stored crop in pixels; larger ones are reduced by averaging areas."""
    name_delimiter: str = Field(default="_", pattern=r"^[A-Za-z0-9_.=+~-]{1,8}$")
    """Text between the image's name and the object's number in a crop's name."""
    recursive: bool = True
    """Take images in folders below the class folders as well; false leaves them out."""
    sub_dir: SubFolder = ""
    """Folder below each subset's folder in which the crops are saved."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even when a complete result exists; the old one stays until the new one is complete."""
