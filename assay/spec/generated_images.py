"""Section ``generated_images``: where the experiment's data come from."""

from typing import Annotated

from pydantic import Field, SerializeAsAny

from assay.spec.annotated_images import CocoSource, MaskFolderSource, YoloSource
from assay.spec.base import Location, Section, Switch
from assay.spec.kinds import or_plugin
from assay.spec.numbers import NumbersSource
from assay.spec.own_data import ImageFolderSource, TableSource

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


OwnData = ImageFolderSource | CocoSource | YoloSource | MaskFolderSource | TableSource
"""Sources that read the user's files, whose content is hashed and watched."""

BuiltInSource = Annotated[NumbersSource | OwnData, Field(discriminator="kind")]
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
