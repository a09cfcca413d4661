"""Section ``generated_images``: where the experiment's data come from."""

from typing import Annotated

from pydantic import Field

from assay.spec.base import Location, Section, Switch
from assay.spec.numbers import NumbersSource
from assay.spec.own_data import ImageFolderSource, TableSource

Source = Annotated[NumbersSource | ImageFolderSource | TableSource, Field(discriminator="kind")]


class GeneratedImagesSection(Section):
    """Generated number images, or the user's own folder of images or table."""

    source: Source = NumbersSource()
    """What the data are; ``kind`` is numbers, image_folder or table."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the generator; null takes the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even when a complete result exists; the old one stays until the new one is complete."""
