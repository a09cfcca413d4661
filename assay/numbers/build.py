"""Building the result folder of a number generation: paint, encode, write, index.

Belongs here: the loop and the files. Does not belong here: what a picture looks like (``picture``), what the files
say about it (``labels``).
"""

import hashlib
from pathlib import Path
from typing import Any

from assay.items import MASK_CLASSES_FILE
from assay.looks import look_of
from assay.numbers.labels import item_name, item_row, label_text, mask_classes, object_rows
from assay.numbers.picture import NumberPainter
from assay.numbers.samples import SAMPLES, draw_sample
from assay.numbers.summary import Summary, Written
from assay.parallel import map_in_order, usable_cores
from assay.png import encode_png
from assay.progress import Progress, silent
from assay.spec.numbers import NumbersSource
from assay.tables import write_parquet


def build_numbers(
    spec: NumbersSource, seed: int, folder: Path, progress: Progress = silent, workers: int | None = None
) -> dict[str, Any]:
    """Fill ``folder`` with generated pictures and return statistics about them.

    Writes images/, masks/ and labels/ (where the spec wants them), items.parquet, objects.parquet,
    mask_classes.parquet (where there are masks) and pictures/samples.png. The bytes depend on the spec and the seed
    alone; memory does not grow with the count.

    Args:
        spec: What to generate.
        seed: Not negative.
        folder: Existing empty folder.
        progress: Called after each picture.
        workers: Threads; None takes one per usable core.

    Raises:
        DataError: Background photos that can't be used, all of them, before anything is generated.
    """
    writer = PictureWriter(spec, seed, folder)
    summary = Summary.empty()
    for done, written in enumerate(map_in_order(writer.write, range(spec.sample_count), workers or usable_cores()), 1):
        summary.add(written)
        progress(done, spec.sample_count, f"{summary.objects_count} numbers drawn")
    summary.save(folder)
    if spec.masks:
        write_parquet(mask_classes(spec.max_number), folder / MASK_CLASSES_FILE)
    return summary.report()


class PictureWriter:
    """Paints pictures and writes their files; safe to use from several threads.

    Files are not forced to the disk one by one: the result store does that for the whole folder.
    """

    def __init__(self, spec: NumbersSource, seed: int, folder: Path) -> None:
        self._painter = NumberPainter(spec, seed)
        self._spec = spec
        self._folder = folder
        wanted = {"images": True, "masks": spec.masks, "labels": spec.detection_labels}
        for name in (name for name, is_wanted in wanted.items() if is_wanted):
            (folder / name).mkdir()

    def write(self, index: int) -> Written:
        """Write the files of picture ``index``."""
        item, picture = item_name(index), self._painter.paint(index)
        image = encode_png(picture.image, self._spec.compress_level)
        (self._folder / "images" / f"{item}.png").write_bytes(image)
        if self._spec.masks:
            mask = encode_png(picture.mask, self._spec.compress_level)
            (self._folder / "masks" / f"{item}.png").write_bytes(mask)
        if self._spec.detection_labels:
            (self._folder / "labels" / f"{item}.json").write_text(label_text(item, picture), encoding="utf-8")
        return Written(
            item=item_row(item, picture, hashlib.sha256(image).hexdigest(), look_of(picture.image), self._spec.masks),
            objects=object_rows(item, picture),
            without_room=picture.without_room,
            sample=draw_sample(picture) if index < SAMPLES else None,
        )
