"""Model files: safetensors with the model card inside; written atomically, read without executing any code.

Belongs here: writing and reading the file, building the network that a card describes, starting weights. Does not
belong here: which weights are saved.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from assay.errors import AssayError, DataError, StorageError, unknown
from assay.spec.extensions import guarded
from assay.spec.loading import explain
from assay.spec.models import BUILT_IN_MODELS, ModelKind, ModelSection
from assay.spec.plugins import MODELS, import_function, load_plugin, plugins
from assay.spec.weights import ADVICE, StartingWeights
from assay.storage.files import atomic_path
from assay.training.checkpoint import Weights
from assay.training.model_card import ModelCard
from assay.training.models.pretrained import Backbone
from assay.utils.text import pluralize

CHOSEN, LAST = "models/model.safetensors", "models/last.safetensors"
"""Files in the result of ``trained_model``: weights of the chosen epoch, and of the last."""

METADATA_KEY = "assay"
"""The only metadata key: the order of several keys, and so the bytes of the file, would be random."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        card: Its description.
        network: With its weights, in evaluation mode.
    """

    card: ModelCard
    network: nn.Module


def save_model(path: Path, weights: Weights, card: ModelCard) -> None:
    """Write a model file; equal weights and cards give equal bytes, and a failure leaves no file."""
    with atomic_path(path) as temporary:
        save_file(weights, temporary, {METADATA_KEY: card.as_text()})


def read_card(path: Path) -> ModelCard:
    """Read the card of a model, without its weights.

    Raises:
        StorageError: The file is missing, damaged or not a model of Assay.
    """
    if not path.is_file():
        raise StorageError(f"{path} does not exist. Materialize trained_model again.")
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError) as error:
        raise StorageError(
            f"{path} is not a readable model file ({error}). Materialize trained_model again."
        ) from error
    if text is None:
        raise StorageError(f"{path} holds weights, but no description of the model: it was not written by Assay.")
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(explain(error, ModelCard))
        raise StorageError(f"{path}: the description of the model is not valid: {problems}") from error


def load_model(path: Path) -> LoadedModel:
    """Rebuild a model from its file alone.

    Raises:
        StorageError: The file is missing, damaged, or does not fit the network it names.
    """
    card = read_card(path)
    network = network_of(card)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise StorageError(f"{path}: the weights do not fit the model {card.section.model}: {error}") from error
    return LoadedModel(card, network.eval())


def in_float32(model: LoadedModel) -> LoadedModel:
    """Return the same model, which computes in float32 also where its training computed in bfloat16."""
    params = model.card.section.train_params.model_copy(update={"precision": "fp32"})
    section = model.card.section.model_copy(update={"train_params": params})
    return LoadedModel(model.card.model_copy(update={"section": section}), model.network)


def network_of(card: ModelCard) -> nn.Module:
    """Return an untrained network as a card describes it."""
    if card.section.model is None:
        raise StorageError("The description of the model names no network.")
    described = () if card.backbone is None else (card.backbone,)
    return build_network(card.section.model, card.inputs.item_shape, card.target.output_count, *described)


def get_model_kind(kind: str) -> ModelKind:
    """Return the model kind of a name; a package that adds one is imported only then.

    Raises:
        AssayError: No such kind, or its package can't be imported.
    """
    if kind in BUILT_IN_MODELS:
        return BUILT_IN_MODELS[kind]
    if kind not in plugins(MODELS):
        raise AssayError(unknown("model.kind", kind, [*BUILT_IN_MODELS, *plugins(MODELS)]))
    registered: ModelKind = load_plugin(MODELS, kind, ModelKind)
    return registered


def build_network(
    section: ModelSection, input_shape: tuple[int, ...], output_count: int, *described: Backbone
) -> nn.Module:
    """Return an untrained network with random weights from torch's current generator.

    Args:
        section: Kind and hyperparameters; not changed.
        input_shape: Shape of one item, without the batch.
        output_count: Number of outputs per item, pixel or cell.
        described: The network of others, if the kind has one.

    Raises:
        AssayError: The kind is unknown or its code can't be imported.
    """
    target, is_built_in = get_model_kind(section.kind).build, section.kind in BUILT_IN_MODELS
    build = import_function(target, "The network") if is_built_in else guarded(MODELS, section.kind, target)
    network: nn.Module = build(section, input_shape, output_count, *described)
    if not isinstance(network, nn.Module):
        raise AssayError(f"model.kind {section.kind!r} built a {type(network).__name__}; expected a torch.nn.Module.")
    # Weights of convolutions in the layout of the images; another layout rounds differently.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def start_from(network: nn.Module, spec: StartingWeights) -> None:
    """Load starting weights into the network; excluded tensors keep their random values.

    Raises:
        DataError: The file can't be read, or does not fit; names every tensor that is missing, unexpected or of
            another shape.
    """
    saved = {name: value for name, value in read_weights(spec.file).items() if not is_excluded(name, spec)}
    expected = {name: value for name, value in network.state_dict().items() if not is_excluded(name, spec)}
    problems = differences(saved, expected, spec)
    if problems:
        raise DataError(
            f"starting_weights: {spec.file} does not fit the network in "
            f"{pluralize(len(problems), 'place')}. Leave these out by "
            "starting_weights.exclude, or allow them by allow_missing or allow_unexpected.",
            problems,
        )
    with torch.no_grad():
        for name in expected.keys() & saved.keys():
            expected[name].copy_(saved[name])


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file by name.

    Raises:
        DataError: It does not exist, or is not a safetensors file.
    """
    if not path.is_file():
        raise DataError(
            f"starting_weights.path: {path} does not exist. Assay never downloads weights; put the file there."
        )
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"starting_weights.path: {path} is no safetensors file ({error}). If it holds weights, {ADVICE}."
        ) from error
    return tensors


def is_excluded(name: str, spec: StartingWeights) -> bool:
    """Return whether a tensor is excluded by the spec."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in spec.exclude)


def differences(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor], spec: StartingWeights) -> list[str]:
    """Return a line for each difference between a file and what the network needs."""
    missing = [] if spec.allow_missing else [name for name in expected if name not in saved]
    unexpected = [] if spec.allow_unexpected else sorted(saved.keys() - expected.keys())
    return [
        *(f"{name}: the file lacks it; the network needs {shape(expected[name])}" for name in missing),
        *(f"{name}: only the file has it, {shape(saved[name])}" for name in unexpected),
        *(
            f"{name}: {shape(saved[name])} in the file, {shape(value)} in the network"
            for name, value in expected.items()
            if name in saved and saved[name].shape != value.shape
        ),
    ]


def shape(value: Tensor) -> str:
    """Return a shape such as ``24x3x3x3``; ``1 number`` for a scalar."""
    return "x".join(map(str, value.shape)) or "1 number"
