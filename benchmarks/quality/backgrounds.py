"""Photos that the generator does not know, from installed packages: backgrounds that no training image had."""

import shutil
from pathlib import Path
from typing import Any

from assay.datasets.synthetic.backgrounds import package_folder, photo_files

PHOTOS = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}


def write_all_photos(folder: Path, unseen: Path) -> None:
    """Copy these photos and those that the generator knows into a new folder."""
    folder.mkdir()
    for path in (*photo_files(None), *photo_files(str(unseen))):
        shutil.copy(path, folder)


def write_unseen_photos(folder: Path) -> None:
    """Copy the photos into a new folder."""
    folder.mkdir()
    for package, names in PHOTOS.items():
        for name in names:
            shutil.copy(package_folder(package, name), folder)


def on_photos(keys: dict[str, Any], photos: Path) -> dict[str, Any]:
    """Return a spec's keys with other backgrounds."""
    source = {**keys["generated_images"]["source"], "background_folder": str(photos)}
    return {**keys, "generated_images": {"source": source}}


def on_unseen(keys: dict[str, Any], photos: Path, count: int) -> dict[str, Any]:
    """Return a spec's keys with other backgrounds and fewer images, nearly all of them for the test."""
    source = {**on_photos(keys, photos)["generated_images"]["source"], "sample_count": count}
    shares = {"train": 0.02, "validation": 0.02, "test": 0.96}
    sets = [{"set_name": name, "probability": share} for name, share in shares.items()]
    return {**keys, "generated_images": {"source": source}, "splits": {"set_infos": sets}}
