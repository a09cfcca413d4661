"""What is known about a generation besides its pictures: two tables, counts for the report, samples for the UI.

Belongs here: gathering while pictures are written. Does not belong here: making pictures.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from assay.datasets.schema import IMAGE_ITEM_COLUMNS
from assay.numbers.labels import OBJECT_COLUMNS, RowCollector
from assay.numbers.samples import COLUMNS
from assay.pictures.grid import sample_grid, save_small_png
from assay.tables import write_parquet


@dataclass(frozen=True)
class Written:
    """What is kept of a picture once its files are written; ``sample`` only of the first few."""

    item: dict[str, Any]
    objects: list[dict[str, Any]]
    without_room: int
    sample: Image.Image | None


@dataclass
class Summary:
    """The tables, counts and samples that grow while pictures are written."""

    items: RowCollector
    objects: RowCollector
    labels: Counter[str]
    backgrounds: Counter[str]
    amounts: Counter[int]
    samples: list[tuple[str, Image.Image]]
    without_room: int = 0

    @classmethod
    def empty(cls) -> Self:
        """Return a summary of nothing."""
        return cls(RowCollector(IMAGE_ITEM_COLUMNS), RowCollector(OBJECT_COLUMNS), Counter(), Counter(), Counter(), [])

    @property
    def objects_count(self) -> int:
        """Numbers drawn so far."""
        return self.labels.total()

    def add(self, written: Written) -> None:
        """Take in one picture."""
        self.items.add([written.item])
        self.objects.add(written.objects)
        self.labels.update(row["label"] for row in written.objects)
        self.backgrounds[written.item["background"]] += 1
        self.amounts[len(written.objects)] += 1
        self.without_room += written.without_room
        if written.sample is not None:
            self.samples.append((written.item["item"], written.sample))

    def save(self, folder: Path) -> None:
        """Write both tables and the sample picture."""
        write_parquet(self.items.frame(), folder / "items.parquet")
        write_parquet(self.objects.frame(), folder / "objects.parquet")
        names, images = zip(*self.samples, strict=True)
        save_small_png(sample_grid(images, names, COLUMNS), folder / "pictures" / "samples.png")

    def report(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        return {
            "root": ".",
            "images": self.amounts.total(),
            "objects": self.objects_count,
            "objects_without_room": self.without_room,
            "objects_per_image": {str(amount): self.amounts[amount] for amount in sorted(self.amounts)},
            "labels": {label: self.labels[label] for label in sorted(self.labels, key=int)},
            "backgrounds": {name: self.backgrounds[name] for name in sorted(self.backgrounds)},
        }
