"""What the default settings reach on held-out data, three seeds each, beside something simple on the same items.

Every seed draws its own data, division and weights, and runs the real stages. Training time is that of the stage
``trained_model`` alone, reading included.
"""

import tempfile
from pathlib import Path
from typing import Any

from assay.datasets.synthetic.handwritten import write_handwritten_digits
from benchmarks.quality.backgrounds import write_unseen_photos
from benchmarks.quality.cases import cases
from benchmarks.quality.measure import measure


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Train every case with three seeds; ``quick``: one seed on few images, to see that it runs."""
    seeds, few = ((0,), 60) if quick else ((0, 1, 2), None)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        digits, photos = root / "handwritten", root / "photos"
        write_handwritten_digits(digits)
        write_unseen_photos(photos)
        return [row for case in cases(digits, few) for row in measure(case, seeds, photos, root)]
