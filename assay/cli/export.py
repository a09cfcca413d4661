"""The command ``export``."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root
from assay.errors import DataError
from assay.ids import validate_id
from assay.spec.experiment import ExperimentSpec


class ExportFormat(Enum):
    """What other tools read."""

    coco = "coco"
    yolo = "yolo"


def export(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment, of detection or segmentation")],
    format: Annotated[
        ExportFormat, typer.Option("--format", help="coco: JSON; yolo: a text file per image, boxes only")
    ],
    to: Annotated[Path, typer.Option("--to", help="new or empty folder")],
    like: Annotated[
        Path | None,
        typer.Option("--like", help="your COCO file, data.yaml or classes.txt, whose IDs and class numbers are taken"),
    ] = None,
) -> None:
    """Write predicted boxes or masks in the format of another tool."""
    spec = spec_files().load(validate_id(experiment_id))
    from assay.export.results import require_empty  # Polars: only here

    require_empty(to)
    if spec.learning == "segmentation":
        found, written = _masks(experiment_id, spec, format, to, like)
    else:
        found, written = _boxes(experiment_id, spec, format, to, like)
    typer.echo(f"{found}: {', '.join(str(path) for path in written[:2])}{', …' * (len(written) > 2)}")


def _boxes(
    experiment_id: str, spec: ExperimentSpec, format: ExportFormat, to: Path, like: Path | None
) -> tuple[str, list[Path]]:
    from assay.export import read_detections
    from assay.export.coco import export_coco
    from assay.export.yolo import export_yolo

    detections = read_detections(storage_root(), experiment_id, spec)
    write = {ExportFormat.coco: export_coco, ExportFormat.yolo: export_yolo}[format]
    return f"{len(detections.found)} boxes of {len(detections.images)} images", write(detections, to, like)


def _masks(
    experiment_id: str, spec: ExperimentSpec, format: ExportFormat, to: Path, like: Path | None
) -> tuple[str, list[Path]]:
    if format is not ExportFormat.coco:
        raise DataError(
            f"--format {format.value} has no masks, and experiment {experiment_id!r} predicts nothing else; "
            "use --format coco."
        )
    from assay.export.coco_masks import export_coco_masks
    from assay.export.masks import read_masks

    masks = read_masks(storage_root(), experiment_id, spec)
    return f"masks of {len(masks.images)} images", export_coco_masks(masks, to, like)
