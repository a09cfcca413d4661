"""The user's own data: image folders and tables, checked as a whole before anything is computed."""

from assay.datasets.coco import build_coco
from assay.datasets.fingerprints import remembered_digest, source_digest, watched_paths
from assay.datasets.image_folder import build_image_folder
from assay.datasets.mask_folder import build_masks
from assay.datasets.table import build_table
from assay.datasets.yolo import build_yolo

__all__ = [
    "build_coco",
    "build_image_folder",
    "build_masks",
    "build_table",
    "build_yolo",
    "remembered_digest",
    "source_digest",
    "watched_paths",
]
