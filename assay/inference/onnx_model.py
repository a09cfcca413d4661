"""A trained model as one ONNX file: pre-processing, network and post-processing in one graph, described in metadata.

Belongs here: exporting the network, joining the parts, the metadata. Does not belong here: the parts' nodes
(``onnx_graph``, ``onnx_heads``), writing files and parity (``export``).
"""

import warnings
from typing import Any

import onnx
import onnx.compose
import torch
from onnx import TensorProto, helper

from assay.datasets.filling import marked_columns
from assay.datasets.scaling import NormalizationInfo, ScalarInfo
from assay.errors import DataError
from assay.inference.model import Model
from assay.inference.network_program import network_program
from assay.inference.onnx_graph import (
    U8,
    Nodes,
    block_means,
    column_type,
    fitted_square,
    gaps_of,
    grey_rows,
    level_inputs,
    resized_at_most,
    scaled_column,
    standardized_items,
    whole_image_batch,
)
from assay.inference.onnx_heads import box_outputs, item_outputs, mask_output
from assay.inference.stored import is_table_model
from assay.spec.predictions import AugmentedFunction, PlainFunction
from assay.training.model_card import require_item_target
from assay.training.tasks.detection.task import box_target, pyramid_of
from assay.training.tasks.segmentation.task import mask_target
from assay.utils.text import canonical_json, pluralize

OPSET = 20
"""Version of ONNX's operators; onnxruntime reads it from 1.17 on."""

BATCH, OUTPUTS = "network_batch", "network_outputs"

OUTPUT_TYPES: dict[str, tuple[int, tuple[str | int, ...]]] = {
    "class_index": (TensorProto.INT64, ("n",)),
    "probabilities": (TensorProto.FLOAT, ("n", "classes")),
    "has_label": (TensorProto.BOOL, ("n", "classes")),
    "prediction": (TensorProto.DOUBLE, ("n",)),
    "mask": (U8, ("height", "width")),
    "boxes": (TensorProto.FLOAT, ("found", 4)),
    "scores": (TensorProto.FLOAT, ("found",)),
}


def onnx_model(model: Model, description: dict[str, Any]) -> onnx.ModelProto:
    """Return a model as an ONNX graph; ``description`` becomes its metadata, as JSON.

    Inputs are ``images``, uint8 (n, height, width, 3), upright RGB (n is 1 for whole images); or one input (n,) per
    column of a table, in its own unit. Outputs are those of ``docs/using-models.md``.

    Raises:
        DataError: The model does something that ONNX has no words for.
    """
    _require_plain(model)
    nodes = Nodes()
    inputs, batches, shapes = _columns(nodes, model) if is_table_model(model.stored) else _pictures(nodes, model)
    prefixes = ["", *(f"picture{number}_" for number in range(1, len(batches)))]
    given = [
        helper.make_node("Identity", [batch], [prefix + BATCH]) for prefix, batch in zip(prefixes, batches, strict=True)
    ]
    before, nodes.nodes = nodes.nodes, []
    outputs = _outputs(nodes, model, [prefix + OUTPUTS for prefix in prefixes], shapes)
    network = _network(model)
    applied = [node for prefix in prefixes for node in _renamed(network.graph, prefix)]
    ordered = [*before, *given, *applied, *nodes.nodes]
    named = [helper.make_node("Identity", [value], [name]) for name, value in outputs.items()]
    results = [helper.make_tensor_value_info(name, *OUTPUT_TYPES[name]) for name in outputs]
    if "boxes" in outputs:
        results[-1] = helper.make_tensor_value_info("class_index", TensorProto.INT64, ("found",))
    constants = [*nodes.constants, *network.graph.initializer]
    graph = helper.make_graph([*ordered, *named], "assay", inputs, results, constants)
    made = helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)
    helper.set_model_props(made, {"assay": canonical_json(description)})
    onnx.checker.check_model(made)
    return made


def _require_plain(model: Model) -> None:
    function = model.stored.predictions.prediction_function
    if isinstance(function, AugmentedFunction):
        raise DataError(
            f"{model.stored.name} averages {pluralize(function.copies, 'random copy', 'random copies')} of each item "
            "(predictions.prediction_function: augmented), which ONNX can't say. Predict plainly, or export with "
            "--format safetensors or torch."
        )
    if not isinstance(function, PlainFunction):
        raise DataError(
            f"{model.stored.name} predicts by {function.kind!r} of an installed package "
            "(predictions.prediction_function), which ONNX can't say. Predict plainly, or export with "
            "--format safetensors or torch."
        )
    _require_one_kind_of_nothing(model)


def _require_one_kind_of_nothing(model: Model) -> None:
    """Refuse a column of texts whose missing values an input can't tell from an empty text."""
    scaling = model.stored.scaling or NormalizationInfo(fitted_rows=0)
    lacking = {each.name for each in scaling.norm_infos if getattr(each, "missing_code", None) is not None}
    lacking |= {each.name for each in scaling.filled if each.mark}
    both = [each.name for each in scaling.norm_infos if each.name in lacking and "" in getattr(each, "values", ())]
    if both:
        raise DataError(
            f"{model.stored.name}: column {both[0]!r} had both empty texts and missing values in train, which ONNX "
            "can't tell apart. Make one of both in the table, or export with --format safetensors or torch."
        )


def _pictures(nodes: Nodes, model: Model) -> tuple[list[onnx.ValueInfoProto], list[str], tuple[str, str]]:
    """Return input, batches that the network gets, and the shapes of the reduced and the original pictures."""
    stored, inputs = model.stored, model.stored.card.inputs
    count = 1 if inputs.view == "images" else "n"
    info = helper.make_tensor_value_info("images", U8, (count, "height", "width", 3))
    images = nodes.op("Transpose", "images", perm=[0, 3, 1, 2])  # (N, 3, H, W)
    longest = inputs.image_size if inputs.view == "images" else stored.crops.max_size
    reduced = resized_at_most(nodes, images, longest)
    shapes = nodes.op("Shape", reduced), nodes.op("Shape", images)
    if inputs.view == "images":
        further = [nodes.cast(block_means(nodes, reduced, nodes.const(each)), U8) for each in inputs.reductions[1:]]
        return [info], [whole_image_batch(nodes, each, inputs.standardize) for each in (reduced, *further)], shapes
    if inputs.view == "crops":
        fitted = nodes.cast(fitted_square(nodes, reduced, inputs.image_size), TensorProto.FLOAT)
        batch = nodes.op("Div", fitted, nodes.cast(nodes.real(255.0), TensorProto.FLOAT))
        return [info], [standardized_items(nodes, batch, (1, 2, 3), "crops") if inputs.standardize else batch], shapes
    size = stored.tabular.target_image_size
    rows = grey_rows(nodes, reduced, (size.width, size.height), stored.tabular.border)
    return [info], [_pixel_batch(nodes, model, rows)], shapes


def _pixel_batch(nodes: Nodes, model: Model, rows: str) -> str:
    """Return rows of grey levels, scaled as the training's were, in the order of the model's columns."""
    from assay.stages.tabular import pixel_columns

    inputs, size = model.stored.card.inputs, model.stored.tabular.target_image_size
    places = {name: place for place, name in enumerate(pixel_columns(size.height, size.width))}
    infos = {info.name: info for info in model.stored.scaling.norm_infos} if model.stored.scaling else {}
    scaled = [infos.get(name) for name in inputs.columns]
    values = nodes.op("Gather", rows, nodes.const([places[name] for name in inputs.columns]), axis=1)
    values = nodes.cast(values, TensorProto.DOUBLE)
    if all(info is None or (isinstance(info, ScalarInfo) and info.limits is None) for info in scaled):
        offsets = nodes.real([getattr(info, "offset", 0.0) for info in scaled])
        divisors = nodes.real([getattr(info, "divisor", 1.0) for info in scaled])
        values = nodes.op("Div", nodes.op("Sub", values, offsets), divisors)
    else:
        axis = nodes.const([1])
        raw = [nodes.op("Gather", values, nodes.const(place), axis=1) for place in range(len(scaled))]
        columns = [scaled_column(nodes, one, info) for one, info in zip(raw, scaled, strict=True)]
        values = nodes.op("Concat", *(nodes.op("Unsqueeze", column, axis) for column in columns), axis=1)
    batch = nodes.cast(values, TensorProto.FLOAT)
    return standardized_items(nodes, batch, (1,), inputs.view) if inputs.standardize else batch


def _columns(nodes: Nodes, model: Model) -> tuple[list[onnx.ValueInfoProto], list[str], tuple[str, str]]:
    stored, inputs = model.stored, model.stored.card.inputs
    infos = {info.name: info for info in stored.scaling.norm_infos} if stored.scaling else {}
    filled = {info.name: info for info in stored.scaling.filled} if stored.scaling else {}
    marks = marked_columns(filled.values())
    kinds = {name: column_type(infos.get(name), filled.get(name)) for name in stored.plain_columns}
    given = [helper.make_tensor_value_info(name, kind, ("n",)) for name, kind in kinds.items()]

    def value(name: str) -> str:
        if name in marks:
            gaps = gaps_of(nodes, marks[name], kinds[marks[name]])
            return nodes.cast(gaps, TensorProto.DOUBLE)
        return scaled_column(nodes, name, infos.get(name), filled.get(name))

    axis = nodes.const([1])
    expanded = {} if inputs.codes else inputs.levels
    numbers = [nodes.op("Unsqueeze", value(name), axis) for name in inputs.columns if name not in expanded]
    levels = [level_inputs(nodes, value(name), len(expanded[name])) for name in inputs.columns if name in expanded]
    columns = [*numbers, *levels]
    batch = nodes.cast(nodes.op("Concat", *columns, axis=1), TensorProto.FLOAT)
    return given, [standardized_items(nodes, batch, (1,), inputs.view) if inputs.standardize else batch], ("", "")


def _outputs(nodes: Nodes, model: Model, outputs: list[str], shapes: tuple[str, str]) -> dict[str, str]:
    card, task = model.stored.card, model.task
    if task == "segmentation":
        return mask_output(nodes, outputs[0], mask_target(card.target), *shapes)
    if task == "detection":
        handler, count = model.stored.predictions.prediction_handler, len(box_target(card.target).classes)
        return box_outputs(nodes, outputs, count, handler, pyramid_of(card), shapes)
    return item_outputs(nodes, outputs[0], require_item_target(card.target))


def _renamed(network: onnx.GraphProto, prefix: str) -> list[onnx.NodeProto]:
    """Return the nodes of the network for another batch, with the same weights."""
    if not prefix:
        return list(network.node)
    return list(
        onnx.compose.add_prefix_graph(network, prefix, rename_initializers=False, rename_value_infos=False).node
    )


def _network(model: Model) -> onnx.ModelProto:
    """Return the network alone, for batches of any size.

    Raises:
        DataError: It can't be exported, as may be with one of an installed package.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of libraries that it does not need
            program = torch.onnx.export(
                network_program(model),
                dynamo=True,
                input_names=[BATCH],
                output_names=[OUTPUTS],
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        section = model.stored.card.section.model
        raise DataError(
            f"{model.stored.name}: the network of kind {section.kind if section else 'unknown'!r} can't be said in "
            f"ONNX: {str(error).strip().splitlines()[0][:300]}. Export with --format safetensors or torch."
        ) from error
    if program is None:
        raise DataError(f"{model.stored.name}: torch exported nothing.")
    return program.model_proto
