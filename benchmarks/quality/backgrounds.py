"""Photos that the generator does not know, from installed packages: backgrounds that no training image had."""

import shutil
from pathlib import Path
from typing import Any

from assay.numbers.photos import package_folder

PHOTOS = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}


def write_unseen_photos(folder: Path) -> None:
    """Copy the photos into a new folder."""
    folder.mkdir()
    for package, names in PHOTOS.items():
        for name in names:
            shutil.copy(package_folder(package, name), folder)


def on_unseen(keys: dict[str, Any], photos: Path, count: int) -> dict[str, Any]:
    """Return a spec's keys with other backgrounds and fewer images, nearly all of them for the test."""
    source = {**keys["generated_images"]["source"], "background_folder": str(photos), "sample_count": count}
    shares = {"train": 0.02, "validation": 0.02, "test": 0.96}
    sets = [{"set_name": name, "probability": share} for name, share in shares.items()]
    return {**keys, "generated_images": {"source": source}, "splits": {"set_infos": sets}}
