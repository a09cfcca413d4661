"""The command ``export``."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root
from assay.ids import validate_id


class ExportFormat(Enum):
    """What other tools read."""

    coco = "coco"
    yolo = "yolo"


def export(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment, whose task is detection")],
    format: Annotated[ExportFormat, typer.Option("--format", help="coco: JSON; yolo: a text file per image")],
    to: Annotated[Path, typer.Option("--to", help="new or empty folder")],
    like: Annotated[
        Path | None,
        typer.Option("--like", help="your COCO file, data.yaml or classes.txt, whose IDs and class numbers are taken"),
    ] = None,
) -> None:
    """Write predicted boxes in the format of another tool."""
    spec = spec_files().load(validate_id(experiment_id))
    from assay.export import read_detections  # Polars: only here
    from assay.export.coco import export_coco
    from assay.export.detections import require_empty
    from assay.export.yolo import export_yolo

    require_empty(to)
    detections = read_detections(storage_root(), experiment_id, spec)
    write = {ExportFormat.coco: export_coco, ExportFormat.yolo: export_yolo}[format]
    written = write(detections, to, like)
    shown = ", ".join(str(path) for path in written[:2]) + (", …" if len(written) > 2 else "")
    typer.echo(f"{len(detections.found)} boxes of {len(detections.images)} images: {shown}")
