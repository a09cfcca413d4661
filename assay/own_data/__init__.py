"""The user's own data: image folders and tables, checked as a whole before anything is computed."""

from assay.own_data.digests import remembered_digest, source_digest
from assay.own_data.image_folder import build_image_folder
from assay.own_data.table import build_table

__all__ = ["build_image_folder", "build_table", "remembered_digest", "source_digest"]
