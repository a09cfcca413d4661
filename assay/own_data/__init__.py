"""The user's own data: image folders and tables, checked as a whole before anything is computed."""

from assay.own_data.coco import build_coco
from assay.own_data.digests import remembered_digest, source_digest
from assay.own_data.image_folder import build_image_folder
from assay.own_data.mask_folder import build_masks
from assay.own_data.source_files import watched_paths
from assay.own_data.table import build_table
from assay.own_data.yolo import build_yolo

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
