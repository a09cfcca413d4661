"""What the default settings reach on held-out data, beside something simple on the same items.

Three seeds each, and one where a training takes a minute. Every seed draws its own data, division and weights, and runs
the real stages. Training time is that of the stage ``trained_model`` alone, reading included.
"""

import tempfile
from pathlib import Path

from assay.datasets.synthetic.build import write_handwritten_digits
from benchmarks.quality.backgrounds import write_unseen_photos
from benchmarks.quality.cases import cases, shortened
from benchmarks.quality.measure import measure
from benchmarks.quality.shapes import write_shapes
from benchmarks.rows import Row

QUICK_IMAGES, SHAPES = 60, 200


def run(quick: bool = False) -> list[Row]:
    """Train every case with its seeds; ``quick``: one seed on few images, to see that it runs."""
    few = QUICK_IMAGES if quick else None
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        digits, photos, shapes = root / "handwritten", root / "photos", root / "shapes"
        write_handwritten_digits(digits)
        write_unseen_photos(photos)
        write_shapes(shapes, few or SHAPES)
        return [
            row
            for case in cases(digits, shapes, few)
            for row in measure(shortened(case) if quick else case, photos, root)
        ]
