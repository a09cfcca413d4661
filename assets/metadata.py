"""What an asset shows in the UI: the numbers of its report, its pictures, its place on the disk.

Belongs here: turning a result into Dagster metadata. Does not belong here: making numbers or pictures.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assay.results import Result
from assay.tables import StoredTable

MAX_PICTURE_BYTES = 150_000
"""Larger pictures stay files: the event log is a database, not a photo album."""


def materialized(result: Result, value: Any = None) -> dg.MaterializeResult[Any]:
    """Return what an asset returns: its value, the metadata of its result and the fingerprint as data version."""
    return dg.MaterializeResult(
        value=result if value is None else value,
        metadata=metadata_of(result),
        data_version=dg.DataVersion(result.fingerprint),
    )


def stored_table(result: Result) -> StoredTable:
    """Return the table of a table stage, which is a file of its result already."""
    return StoredTable(result.folder / f"{result.stage}.parquet", result.fingerprint)


def metadata_of(result: Result) -> dict[str, Any]:
    """Return the report's numbers and texts, every picture, the fingerprint, size and folder."""
    return {
        **from_report(result.report),
        **{path.stem: picture(path) for path in result.pictures if path.stat().st_size <= MAX_PICTURE_BYTES},
        "fingerprint": result.fingerprint,
        "size_bytes": result.size_bytes,
        "folder": dg.MetadataValue.path(str(result.folder)),
    }


def from_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report as metadata: plain values as they are, everything nested as JSON."""
    plain = (str, int, float, bool)
    return {
        key: value if isinstance(value, plain) else dg.MetadataValue.json(value)
        for key, value in report.items()
        if value is not None
    }


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Return a PNG file as Markdown, the only way in which Dagster's UI shows an image."""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{encoded})")
