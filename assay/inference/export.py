"""A trained model written for other programs: ONNX, safetensors or torch, each with a description and checked.

Belongs here: the files, and what each format's file gives for the test items. Does not belong here: the ONNX graph
(``onnx_model``), the comparison (``parity``).
"""

import shutil
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import torch

from assay.datasets.dates import with_parts
from assay.datasets.filling import fill_gaps
from assay.datasets.inspection import MOST_IMAGE_BYTES
from assay.errors import DataError
from assay.images.decoding import decode
from assay.inference.model import Model
from assay.inference.parity import Items, Parity, Predicted, compare_predictions, own_items, predicted_by
from assay.inference.stored import is_table_model, predicted_in
from assay.inference.tables import item_names
from assay.storage.files import put_in_place, temporary_sibling, write_bytes, write_json
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.model_file import load_model
from assay.utils.reading import read_bytes

DESCRIPTION = "model.json"

FILES = {"onnx": "model.onnx", "safetensors": "model.safetensors", "torch": "model.pt2"}
"""File of each format."""

Check = Callable[[Model, Path, Items], Predicted]


def export_model(model: Model, format: str, folder: Path) -> Parity:
    """Write a model and its description into a new folder, if it gives what the trained one gives.

    Args:
        model: The model.
        format: One of ``FILES``.
        folder: New or empty.

    Raises:
        DataError: The model can't be said in this format, a package is missing, the test items are not here, or the
            exported model differs; nothing is left behind.
    """
    require_packages(format)
    items = own_items(model.stored)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(folder)
    temporary.mkdir()
    try:
        parity = _write_and_compare(model, format, items, temporary)
        if not parity.passed:
            advice = f"Nothing was written; export with another --format than {format}."
            raise DataError(f"{model.stored.name}: {parity.sentence} {advice}")
        write_json(temporary / DESCRIPTION, {**about(model), "file": FILES[format], "parity": parity.as_dict()})
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return parity


def check_export(model: Model, format: str = "onnx") -> Parity:
    """Return what an exported model gives beside the trained one on its test items; nothing is kept.

    Raises:
        DataError: As of ``export_model``, except that a model that differs is no error.
    """
    require_packages(format)
    items = own_items(model.stored)
    with TemporaryDirectory(prefix="assay-export-") as folder:
        return _write_and_compare(model, format, items, Path(folder))


def _write_and_compare(model: Model, format: str, items: Items, folder: Path) -> Parity:
    plain = model.with_network(model.loaded.network)
    write, predict = _FORMATS[format]
    write(plain, folder / FILES[format])
    return compare_predictions(plain, predicted_by(plain, items), predict(plain, folder / FILES[format], items))


def require_packages(format: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        DataError: Says how to install them.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if format == "onnx" and find_spec(name) is None]
    if missing:
        raise DataError(f"--format onnx needs {', '.join(missing)}. Next: pip install 'assay[onnx]'")


def about(model: Model) -> dict[str, Any]:
    """Return the description of an exported model, with what happens before and after the network in words."""
    stored, inputs = model.stored, model.stored.card.inputs
    described = describe_export(model)
    described["before_the_network"] = {
        "view": inputs.view,
        "image_size": inputs.image_size,
        **({"reductions": list(inputs.reductions)} if len(inputs.reductions) > 1 else {}),
        "standardize": inputs.standardize,
        "columns": list(inputs.columns),
        "crops": {"max_size": stored.crops.max_size},
        "tabular": stored.tabular.content(),
        "scaling": stored.scaling.model_dump(mode="json") if stored.scaling else None,
    }
    described["after_the_network"] = {
        "target": stored.card.target.model_dump(mode="json"),
        "prediction_handler": stored.predictions.prediction_handler.model_dump(mode="json"),
    }
    described["network"] = stored.card.section.model.model_dump(mode="json") if stored.card.section.model else {}
    return described


def describe_export(model: Model) -> dict[str, Any]:
    """Return what a program must know to use an exported model, as JSON takes it."""
    stored, card = model.stored, model.stored.card
    described: dict[str, Any] = {
        "format": "assay-export-1",
        "experiment_id": stored.experiment_id,
        "task": card.task,
        "classes": list(getattr(card.target, "classes", ())),
        "target": card.target.column,
        "trained_on": dict(card.trained_on),
        "epoch": card.epoch,
        "seed": card.seed,
        "precision": "fp32",
        "trained_in": str(card.section.train_params.precision),
        "predicted_in": predicted_in(stored),
    }
    if is_table_model(stored):
        scaling = stored.scaling.model_dump(mode="json") if stored.scaling else {"norm_infos": []}
        infos = {info["name"]: info for info in scaling["norm_infos"]}
        filled = {info["name"]: {"missing": info} for info in scaling.get("filled", [])}
        parts = (
            (name, {"column": info.name, "part": part}) for info in stored.dates for part, name in info.parts.items()
        )
        dates = {name: {"date": part} for name, part in parts}
        described["columns"] = {
            name: {**infos.get(name, {"kind": "as it is"}), **filled.get(name, {}), **dates.get(name, {})}
            for name in stored.plain_columns
        }
    else:
        described["pictures"] = (
            "upright (EXIF orientation applied), RGB with 8 bits per channel; 16-bit grey divided by 257; transparency "
            "laid on white"
        )
    return described


def _write_onnx(model: Model, path: Path) -> None:
    from assay.inference.onnx_model import onnx_model  # ONNX's packages: only here

    write_bytes(path, onnx_model(model, describe_export(model)).SerializeToString())


def _write_safetensors(model: Model, path: Path) -> None:
    shutil.copyfile(model.stored.weights, path)


def _write_torch(model: Model, path: Path) -> None:
    from assay.inference.network_program import network_program

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # weights laid out as images are no "complete tensors"; they are saved all the same
        torch.export.save(network_program(model), path)


def _predicted_by_safetensors(model: Model, path: Path, items: Items) -> Predicted:
    return predicted_by(model.with_network(load_model(path).network), items)


def _predicted_by_torch(model: Model, path: Path, items: Items) -> Predicted:
    program = torch.export.load(path).module()
    return predicted_by(model.with_network(_ProgramNetwork(program)), items)


class _ProgramNetwork(torch.nn.Module):
    """A loaded program, which has no evaluation mode of its own, as a network."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the program's outputs."""
        outputs: torch.Tensor = self.program(batch)
        return outputs


def _predicted_by_onnx(model: Model, path: Path, items: Items) -> Predicted:
    """Return what onnxruntime gives, in the form of our own predictions."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if isinstance(items, pl.DataFrame):
        items = with_parts(model.stored.dates, items)
        given = {each.name: _as_given(model, items[each.name], each.type) for each in session.get_inputs()}
        outputs = dict(zip(names, session.run(None, given), strict=True))
        item = item_names(items)
        return _item_table(model, item, outputs), {}, item.to_frame()
    tables, masks, sizes = [], {}, []
    for path_of_item in items:
        image = decode(read_bytes(path_of_item, MOST_IMAGE_BYTES)).convert("RGB")
        outputs = dict(zip(names, session.run(None, {"images": np.asarray(image)[None]}), strict=True))
        item, size = pl.Series("item", [str(path_of_item)]), (str(path_of_item), image.width, image.height)
        sizes.append(size)
        if "mask" in outputs:
            masks[str(path_of_item)] = outputs["mask"]
        elif "boxes" in outputs:
            tables.append(_box_table(model, str(path_of_item), outputs))
        else:
            tables.append(_item_table(model, item, outputs))
    all_items = pl.DataFrame(sizes, {"item": pl.String, "width_px": pl.Int32, "height_px": pl.Int32}, orient="row")
    return pl.concat(tables) if tables else pl.DataFrame(), masks, all_items


def _as_given(model: Model, column: pl.Series, kind: str) -> Any:
    """Return a column as a program would give it: NaN or an empty text where a value is missing.

    Truth values and whole numbers without gaps in train have no such value; what fills their gaps is in model.json.
    """
    if kind == "tensor(string)":
        return column.cast(pl.String).fill_null("").to_numpy().astype(object)
    if kind == "tensor(double)":
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    filling = [info for info in model.stored.scaling.filled if info.name == column.name] if model.stored.scaling else []
    filled = fill_gaps(filling, column.to_frame())[column.name]
    return filled.to_numpy().astype(np.bool_ if kind == "tensor(bool)" else np.int64)


def _item_table(model: Model, item: pl.Series, outputs: dict[str, Any]) -> pl.DataFrame:
    target = model.stored.card.target
    if isinstance(target, ClassTarget):
        first = pl.Series("predicted_class", [target.classes[place] for place in outputs["class_index"]], pl.String)
    elif isinstance(target, LabelsTarget):
        first = pl.Series("predicted_labels", target.decode(torch.from_numpy(outputs["has_label"])), pl.List(pl.String))
    else:
        return pl.DataFrame([item, pl.Series("prediction", outputs["prediction"])])
    columns = [
        pl.Series(f"prob_{name}", outputs["probabilities"][:, place]) for place, name in enumerate(target.classes)
    ]
    return pl.DataFrame([item, first, *columns])


def _box_table(model: Model, item: str, outputs: dict[str, Any]) -> pl.DataFrame:
    boxes, classes = outputs["boxes"], model.card.classes
    return pl.DataFrame(
        {
            "item": pl.Series([item] * len(boxes), dtype=pl.String),
            "predicted_class": pl.Series([classes[place] for place in outputs["class_index"]], dtype=pl.String),
            "confidence": outputs["scores"],
            "x_px": boxes[:, 0],
            "y_px": boxes[:, 1],
            "width_px": boxes[:, 2] - boxes[:, 0],
            "height_px": boxes[:, 3] - boxes[:, 1],
        }
    )


_FORMATS: dict[str, tuple[Callable[[Model, Path], None], Check]] = {
    "onnx": (_write_onnx, _predicted_by_onnx),
    "safetensors": (_write_safetensors, _predicted_by_safetensors),
    "torch": (_write_torch, _predicted_by_torch),
}
"""What writes a format's file, and what predicts with it."""
