"""From a model section to a network: built-in kinds and those of installed packages."""

from importlib import import_module

import torch
from torch import nn

from assay.errors import AssayError, unknown
from assay.spec.models import BUILT_IN_MODELS, MODEL_PLUGINS, ModelKind, ModelSection
from assay.spec.plugins import load_plugin, plugins


def get_model_kind(kind: str) -> ModelKind:
    """Return what is registered under a name; only then is the package that adds it imported.

    Raises:
        AssayError: No such kind, or its package can't be imported.
    """
    if kind in BUILT_IN_MODELS:
        return BUILT_IN_MODELS[kind]
    if kind not in plugins(MODEL_PLUGINS):
        raise AssayError(unknown("model.kind", kind, [*BUILT_IN_MODELS, *plugins(MODEL_PLUGINS)]))
    registered: ModelKind = load_plugin(MODEL_PLUGINS, kind, ModelKind)
    return registered


def build_network(section: ModelSection, input_shape: tuple[int, ...], output_count: int) -> nn.Module:
    """Return an untrained network with random weights from torch's current generator.

    Args:
        section: Its kind and numbers; never changed.
        input_shape: Shape of one item, without the batch.
        output_count: Numbers that it gives for one item.

    Raises:
        AssayError: The kind is unknown or its code can't be imported.
    """
    target = get_model_kind(section.kind).build
    module, _, function = target.partition(":")
    try:
        build = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise AssayError(f"model.kind {section.kind!r}: {target} can't be imported: {error}.") from error
    network: nn.Module = build(section, input_shape, output_count)
    # Weights of convolutions in the layout of the images; another layout rounds differently.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
