"""Networks that others have trained on many pictures, as ``transformers`` builds them, and a head on their features.

Only files that run no code are read: the architecture as JSON, which must be one of ``transformers`` itself, and
weights as safetensors. ``transformers`` gets their content, not their place, so that it looks for nothing else, on this
machine or elsewhere. It is imported only where such a network is built.

Belongs here: reading the files, the network. Does not belong here: its features of many pictures
(``assay.training.features``).
"""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay.errors import AssayError, DataError, FileError
from assay.spec.base import Section
from assay.spec.models import BUILT_IN_MODELS, PretrainedModel
from assay.spec.plugins import import_function
from assay.spec.weights import CONFIG, PICKLES, PREPROCESSOR, TENSORS, folder_of_weights, is_hub_name
from assay.utils.reading import read_record, user_path
from assay.utils.text import pluralize

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalization of a network whose folder does not say how pictures are normalized."""

USUAL_SIZE = 224

CONVERSION = (
    "convert it once, where you trust it, with the package transformers: "
    "AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
)

FOREIGN_KEYS = frozenset(
    (
        *("_name_or_path", "name_or_path", "architectures", "id2label", "label2id", "problem_type"),
        *("auto_map", "quantization_config", "fusion_config", "transformers_weights", "transformers_version"),
        *("dtype", "torch_dtype", "attn_implementation", "_attn_implementation"),
    )
)
"""Keys of a config.json that say nothing about the features, or where else to look for files."""

OTHERS_INSIDE = ("backbone", "use_timm_backbone", "use_pretrained_backbone")
"""Keys of an architecture around another network, which it would fetch by its name."""


class Backbone(Section):
    """A network that others have trained, without its weights; stored with them."""

    config: dict[str, Any]
    """Its architecture, as its config.json says."""
    size: int = Field(ge=1)
    """Side in pixels of the pictures that it reads."""
    mean: tuple[float, float, float]
    """Mean of each colour channel, white = 1, that is subtracted."""
    std: tuple[float, float, float]
    """Standard deviation of each channel, by which is divided."""
    features: int = Field(ge=1)
    """Number of its features of a picture."""
    digest: str
    """SHA-256 of the files that it was read from."""
    is_assumed: bool = False
    """Whether its folder does not say how pictures are normalized, so that what is usual for ImageNet is assumed."""


class FeatureNetwork(nn.Module):
    """From pictures (B, 3, S, S), white = 1, to features (B, features)."""

    def __init__(self, body: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.body = body
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the network's own pooled features; else the mean over the places, or the token of the class."""
        outputs = self.body(pixel_values=(pictures - self.mean) / self.std)
        pooled: Tensor | None = getattr(outputs, "pooler_output", None)
        if pooled is None:
            hidden: Tensor = outputs.last_hidden_state
            has_token = hasattr(getattr(self.body, "embeddings", None), "cls_token")
            pooled = hidden.mean((2, 3)) if hidden.dim() == 4 else hidden[:, 0] if has_token else hidden.mean(1)
        return pooled.flatten(1)


class Pretrained(nn.Module):
    """A network that others have trained, and a head that learned from its standardized features."""

    def __init__(self, backbone: FeatureNetwork, head: nn.Module, features: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (B, 3, S, S), white = 1, to outputs (B, outputs)."""
        outputs: Tensor = self.head((self.backbone(pictures) - self.shift) / self.scale)
        return outputs


def build_pretrained(
    section: PretrainedModel, input_shape: tuple[int, ...], output_count: int, backbone: Backbone
) -> Pretrained:
    """Return the whole network with random weights from torch's current generator.

    Raises:
        AssayError: The package ``transformers`` is missing, or has no such network.
    """
    network = feature_network(backbone)
    build_head = import_function(BUILT_IN_MODELS[section.head.kind].build, "The head")
    return Pretrained(network, build_head(section.head, (backbone.features,), output_count), backbone.features)


def feature_network(backbone: Backbone) -> FeatureNetwork:
    """Return the network of a description with random weights.

    Raises:
        AssayError: The package ``transformers`` is missing, or has no such network.
    """
    with _transformers() as library:
        body = _body(library, backbone.config)
    return FeatureNetwork(body, backbone.mean, backbone.std)


def read_backbone(weights: str, digest: str, size: int | None) -> tuple[Backbone, FeatureNetwork]:
    """Return a network with its weights, and its description.

    Args:
        weights: A folder, or a name on the hub, as the spec gives it.
        digest: Of its files.
        size: Side of the pictures in pixels; None: that of its own pre-processing.

    Raises:
        AssayError: The package ``transformers`` is missing.
        DataError: There are no weights, or they do not fit; names every tensor with both shapes.
    """
    folder = folder_of_weights(weights)
    if folder is None:
        raise DataError(_not_there(weights))
    try:
        written = read_record(folder / CONFIG)
        preprocessor = read_record(folder / PREPROCESSOR) if (folder / PREPROCESSOR).exists() else {}
        own_size, mean, std = _pictures_of(preprocessor, written)
    except FileNotFoundError:
        raise DataError(f"model.weights: {folder} has no {CONFIG}; expected a folder of Hugging Face.") from None
    except (FileError, TypeError, ValueError) as error:
        raise DataError(f"model.weights: {error}. Save the model anew with its save_pretrained.") from None
    config = {key: value for key, value in written.items() if key not in FOREIGN_KEYS}
    tensors = _tensors_in(folder)
    with _transformers() as library:
        network = FeatureNetwork(_loaded(library, config, tensors, folder), mean, std)
    side = size or own_size
    found = Backbone(
        config=config,
        size=side,
        mean=mean,
        std=std,
        features=_count(network, side, folder),
        digest=digest,
        is_assumed=not preprocessor,
    )
    return found, network


def _not_there(weights: str) -> str:
    place = user_path(weights).absolute()
    if place.exists():
        return f"model.weights: {place} is a file; give the folder that has it, with {CONFIG} beside it."
    if not is_hub_name(weights):
        return f"model.weights: {place} does not exist; give a folder of Hugging Face, with {CONFIG} and {TENSORS}."
    return (
        f"model.weights: there is no folder {place}, and {weights} is not in the hub's cache on this machine; Assay "
        f"never downloads. Next, where there is a network: hf download {weights} --include '*.json' '*.safetensors'"
    )


def _tensors_in(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob(TENSORS))
    if not files:
        harmful = sorted(each.name for each in folder.iterdir() if each.name.endswith(PICKLES))
        advice = f"only {harmful[0]}, which may run code when it is read; {CONVERSION}" if harmful else "fetch it again"
        raise DataError(f"model.weights: {folder} has no model.safetensors: {advice}.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise DataError(f"model.weights: {file} is no safetensors file ({error}). Fetch it again.") from error
    return tensors


def _pictures_of(preprocessor: dict[str, Any], config: dict[str, Any]) -> tuple[int, Any, Any]:
    """Return side, mean and standard deviation that a preprocessor_config.json says, or else what is usual."""
    size = preprocessor.get("crop_size") if preprocessor.get("do_center_crop") else None
    size = _side(size or preprocessor.get("size") or config.get("image_size") or USUAL_SIZE)
    if not preprocessor.get("do_normalize", True):
        return size, (0.0,) * 3, (1.0,) * 3
    mean, std = preprocessor.get("image_mean", IMAGENET_MEAN), preprocessor.get("image_std", IMAGENET_STD)
    channels = config.get("num_channels", 3)
    if channels != 3 or len(mean) != 3 or len(std) != 3:
        raise ValueError(f"the network reads pictures of {channels} channels; expected 3, red, green and blue")
    return size, tuple(map(float, mean)), tuple(map(float, std))


def _side(size: Any) -> int:
    """Return the side of the squares that a size of a preprocessor_config.json or config.json means."""
    if isinstance(size, dict):
        sides = [size[key] for key in ("height", "width", "shortest_edge") if key in size]
    else:
        sides = list(size) if isinstance(size, (list, tuple)) else [size]
    if not sides or max(map(int, sides)) < 1:
        raise ValueError(f"the size of its pictures is {size}; expected pixels")
    return max(map(int, sides))


@contextmanager
def _transformers() -> Iterator[Any]:
    """Yield the package, quiet, for a block.

    Raises:
        AssayError: It is missing, or what the block wants of it.
    """
    try:
        import transformers
    except ImportError as error:
        raise AssayError("model.kind 'pretrained' needs transformers. Next: pip install 'assay[pretrained]'") from error
    former, shows_progress = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield transformers
    except ImportError as error:
        raise AssayError(f"model.kind 'pretrained': {str(error).strip().splitlines()[0]}") from error
    finally:
        transformers.logging.set_verbosity(former)
        if shows_progress:
            transformers.logging.enable_progress_bar()


def _architecture(library: Any, written: dict[str, Any]) -> tuple[Any, Any, dict[str, bool]]:
    """Return class, configuration and arguments of the network that a config.json describes.

    Raises:
        DataError: There is none of this name, or it reads no pictures.
    """
    kind, keys = str(written.get("model_type", "")), written.keys() - FOREIGN_KEYS
    expected = f"which {CONFIG} names; expected one of pictures, such as convnext, resnet, vit or dinov2."
    if kind not in library.CONFIG_MAPPING:
        raise DataError(f"model.weights: transformers {library.__version__} has no architecture {kind!r}, {expected}")
    try:
        config = library.CONFIG_MAPPING[kind].from_dict({key: written[key] for key in keys})
    except Exception as error:  # whatever the checks of this architecture raise
        raise DataError(f"model.weights: {CONFIG} is not valid: {_first_line(error)}. Fetch it again.") from error
    found = library.MODEL_MAPPING.get(type(config), None)
    network = found[0] if isinstance(found, tuple) else found
    if network is None or network.main_input_name != "pixel_values":
        raise DataError(f"model.weights: pictures are not what the architecture {kind!r} reads, {expected}")
    if kind.startswith("timm") or any(written.get(key) for key in OTHERS_INSIDE):
        raise DataError(f"model.weights: the architecture {kind!r} is built around another network, {expected}")
    # The one that every architecture has, and every export understands.
    config._attn_implementation = "eager"
    pools = "add_pooling_layer" in inspect.signature(network.__init__).parameters
    return network, config, {"add_pooling_layer": False} if pools else {}  # most published weights lack that layer


def _body(library: Any, written: dict[str, Any]) -> nn.Module:
    network, config, keys = _architecture(library, written)
    body: nn.Module = network(config, **keys)
    return body.eval()


def _loaded(library: Any, written: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> nn.Module:
    """Return the network with weights; names of classifiers' weights are understood, and their last layer left out.

    Raises:
        DataError: Weights are missing, or of another shape.
    """
    network, config, keys = _architecture(library, written)
    how = {"dtype": torch.float32, "ignore_mismatched_sizes": True, "output_loading_info": True}
    try:
        body, told = network.from_pretrained(None, config=config, state_dict=tensors, **how, **keys)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"model.weights: {folder}: {_first_line(error)}. Fetch the folder again.") from error
    shapes = {name: _sides(value.shape) for name, value in body.state_dict().items()}
    problems = [
        *(f"{name}: the file lacks it; the network needs {shapes.get(name)}" for name in sorted(told["missing_keys"])),
        *(
            f"{name}: {_sides(own)} in the file, {_sides(needed)} in the network"
            for name, own, needed in sorted(told["mismatched_keys"])
        ),
    ]
    if problems:
        count = pluralize(len(problems), "place")
        raise DataError(f"model.weights: the weights in {folder} do not fit its {CONFIG} in {count}.", problems)
    made: nn.Module = body
    return made.eval()


def _sides(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "1 number"


@torch.no_grad()
def _count(network: FeatureNetwork, side: int, folder: Path) -> int:
    """Return the number of features of a picture, after a first one.

    Raises:
        DataError: The network does not take pictures of this size.
    """
    try:
        return int(network(torch.zeros(1, 3, side, side)).shape[1])
    except Exception as error:  # whatever the network's own code raises
        raise DataError(
            f"model.weights: the network in {folder} does not read pictures of {side}x{side} px "
            f"({_first_line(error)}). Leave out data_description.image_size."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
