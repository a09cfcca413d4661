"""Model files: safetensors with the model's card inside; written atomically, read without running any code.

Belongs here: the file. Does not belong here: which weights are saved.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from assay.errors import StorageError
from assay.learning.registry import build_network
from assay.learning.state import Weights
from assay.storage.files import atomic_path
from assay.training.model_card import ModelCard

METADATA_KEY = "assay"
"""The only key: the order of several would be random, and so would be the file's bytes."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        card: What is known about it.
        network: With its weights, in evaluation mode.
    """

    card: ModelCard
    network: nn.Module


def save_model(path: Path, weights: Weights, card: ModelCard) -> None:
    """Write a model file; equal weights and cards give equal bytes, and a failure leaves no file."""
    with atomic_path(path) as temporary:
        save_file(weights, temporary, {METADATA_KEY: card.as_text()})


def read_card(path: Path) -> ModelCard:
    """Read what is known about a model, not its weights.

    Raises:
        StorageError: The file is missing, damaged or no model of Assay.
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
        raise StorageError(f"{path}: the description of the model is not valid: {error}") from error


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


def network_of(card: ModelCard) -> nn.Module:
    """Return an untrained network as a card describes it."""
    if card.section.model is None:
        raise StorageError("The description of the model names no network.")
    return build_network(card.section.model, card.inputs.item_shape, card.target.output_count)
