"""Networks that others have trained on many pictures, as ``transformers`` builds them, and a head on their features.

Only files that run no code are read: the architecture as JSON, which must be one of ``transformers`` itself, and
weights as safetensors. ``transformers`` gets their content, not their place, so that it looks for nothing else, on this
machine or elsewhere. It is imported only where such a network is built.

Belongs here: reading the files, the network. Does not belong here: its features of many pictures
(``assay.training.features``).
"""

import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from assay.errors import AssayError, DataError, FileError
from assay.spec.base import Section
from assay.spec.models import BUILT_IN_MODELS, PretrainedModel
from assay.spec.plugins import import_function
from assay.spec.weights import (
    CONFIG,
    MOST_BYTES_OF_WEIGHTS,
    PICKLES,
    PREPROCESSOR,
    TENSORS,
    digest_of_weights,
    files_of_weights,
    folder_of_weights,
    is_hub_name,
)
from assay.utils.reading import open_regular, read_record, user_path
from assay.utils.text import pluralize

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalization of a network whose folder does not say how pictures are normalized."""

USUAL_SIZE, LARGEST_SIZE = 224, 8192

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
    is_bgr: bool = Field(default=False, exclude_if=lambda is_bgr: not is_bgr)
    """Whether it reads blue, green and red, in this order."""


class FeatureNetwork(nn.Module):
    """From pictures (B, 3, S, S), white = 1, to features (B, features)."""

    def __init__(self, body: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], is_bgr: bool = False) -> None:
        super().__init__()
        self.body, self.is_bgr = body, is_bgr
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the network's own pooled features; else the mean over the places, or the token of the class."""
        ordered = pictures.flip(1) if self.is_bgr else pictures
        outputs = self.body(pixel_values=(ordered - self.mean) / self.std)
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
    return FeatureNetwork(body, backbone.mean, backbone.std, backbone.is_bgr)


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
        pictures = wanted_pictures(preprocessor, written)
    except FileNotFoundError:
        raise DataError(f"model.weights: {folder} has no {CONFIG}; expected a folder of Hugging Face.") from None
    except (FileError, TypeError, ValueError, OverflowError) as error:
        where = "" if isinstance(error, FileError) else f"{folder}: "
        raise DataError(f"model.weights: {where}{error}. Save the model anew with its save_pretrained.") from None
    _require_readable(folder, written)
    config = {key: value for key, value in written.items() if key not in FOREIGN_KEYS}
    tensors = _tensors_in(folder)
    if digest and digest_of_weights(weights) != digest:
        raise DataError(f"model.weights: {folder} was changed while it was read. Run again once it is complete.")
    normalization = pictures.mean, pictures.std, pictures.is_bgr
    with _transformers() as library:
        network = FeatureNetwork(_loaded(library, config, tensors, folder), *normalization)
    side = size or pictures.size
    found = Backbone(
        config=config,
        size=side,
        mean=pictures.mean,
        std=pictures.std,
        features=_count(network, side, folder, is_own_size=size is None),
        digest=digest,
        is_assumed=not preprocessor,
        is_bgr=pictures.is_bgr,
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


def _require_readable(folder: Path, written: Mapping[str, Any]) -> None:
    """Refuse networks whose numbers would be read wrongly.

    Raises:
        DataError: The network reads no colours, or its weights are quantized.
    """
    channels = written.get("num_channels", 3)
    if channels != 3:
        raise DataError(
            f"model.weights: the network in {folder} reads pictures of {channels} channels; expected 3, red, green and "
            "blue. Choose another network."
        )
    if written.get("quantization_config"):
        raise DataError(f"model.weights: {folder / CONFIG} says that {QUANTIZED}")


QUANTIZED = (
    "the weights are quantized, and what they stand for is not known here. Fetch the version in float32 or bf16."
)


def _tensors_in(folder: Path) -> dict[str, Tensor]:
    files = files_of_weights(folder)
    if not files:
        harmful = sorted(each.name for each in folder.iterdir() if each.name.endswith(PICKLES))
        advice = f"only {harmful[0]}, which may run code when it is read; {CONVERSION}" if harmful else "fetch it again"
        raise DataError(f"model.weights: {folder} has no model.safetensors: {advice}.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with open_regular(file, MOST_BYTES_OF_WEIGHTS):  # of a pipe, reading would never end
                found = load_file(file)
        except (SafetensorError, FileError, OSError) as error:
            raise DataError(f"model.weights: {file} is no safetensors file ({error}). Fetch it again.") from error
        if twice := sorted(tensors.keys() & found.keys()):
            names = ", ".join(each.name for each in files)
            raise DataError(f"model.weights: {twice[0]} is in several of {names} in {folder}. Leave one version there.")
        if packed := [name for name, each in found.items() if _is_packed(each)]:
            raise DataError(f"model.weights: {packed[0]} in {file} holds {found[packed[0]].dtype}: {QUANTIZED}")
        tensors |= found
    return tensors


def _is_packed(tensor: Tensor) -> bool:
    """Return whether numbers stand for others; places and counts, which are no weights, have 8 bytes each."""
    return tensor.dtype.itemsize == 1 if tensor.is_floating_point() else tensor.dtype not in (torch.int64, torch.bool)


class WantedPictures(NamedTuple):
    """What a network reads: squares of ``size`` px, with ``mean`` and ``std`` where white = 1."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    is_bgr: bool


def wanted_pictures(preprocessor: Mapping[str, Any], config: Mapping[str, Any]) -> WantedPictures:
    """Return what a preprocessor_config.json says, or else what is usual.

    Raises:
        TypeError: A value is of another type.
        ValueError: A value has no meaning.
        OverflowError: A number is infinite.
    """
    size = preprocessor.get("crop_size") if preprocessor.get("do_center_crop") else None
    side = _side(size or preprocessor.get("size") or config.get("image_size") or USUAL_SIZE)
    is_bgr = bool(preprocessor.get("do_flip_channel_order"))
    return WantedPictures(side, *_normalization(preprocessor, is_bgr), is_bgr)


def _normalization(preprocessor: Mapping[str, Any], is_bgr: bool) -> tuple[Any, Any]:
    """Return mean and standard deviation that do, where white = 1, what all steps from 0 to 255 on do.

    Pictures in the order blue, green, red are not normalized unless the file says so (as of MobileViT); those of
    EfficientNet are divided by their standard deviation twice (``include_top``).
    """
    mean, std = (
        _of_channels(preprocessor, "image_mean", IMAGENET_MEAN),
        _of_channels(preprocessor, "image_std", IMAGENET_STD),
    )
    if min(std) <= 0:
        raise ValueError(f"image_std is {list(std)}; expected three numbers above 0")
    again = std if preprocessor.get("include_top") else (1.0,) * 3
    normalizes = preprocessor.get("do_normalize")
    if not (not is_bgr if normalizes is None else normalizes):
        mean, std = (0.0,) * 3, (1.0,) * 3
    rescales = preprocessor.get("do_rescale") is not False
    white = 255 * float(preprocessor.get("rescale_factor") or 1 / 255) if rescales else 255.0
    white = 1.0 if math.isclose(white, 1, rel_tol=1e-6) else white
    black = -1.0 if rescales and preprocessor.get("rescale_offset") else 0.0
    return (
        tuple((each - black) / white for each in mean),
        tuple(each * second / white for each, second in zip(std, again, strict=True)),
    )


def _of_channels(preprocessor: Mapping[str, Any], key: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    value = preprocessor.get(key)
    value = usual if value is None else value
    numbers = tuple(map(float, value if isinstance(value, (list, tuple)) else [value] * 3))
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{key} is {value}; expected three numbers, of red, green and blue")
    return numbers


def _side(size: Any) -> int:
    """Return the side of the squares that a size of a preprocessor_config.json or config.json means."""
    if isinstance(size, dict):
        sides = [size[key] for key in ("height", "width", "shortest_edge") if key in size]
    else:
        sides = list(size) if isinstance(size, (list, tuple)) else [size]
    side = max(map(int, sides), default=0)
    if not 1 <= side <= LARGEST_SIZE:
        raise ValueError(f"the size of its pictures is {size}; expected 1 to {LARGEST_SIZE} pixels")
    return side


@contextmanager
def _transformers() -> Iterator[Any]:
    """Yield the package for a block, quiet and without a network, whatever an architecture would fetch.

    Raises:
        AssayError: It is missing, or what the block wants of it.
    """
    try:
        import transformers
        from huggingface_hub import constants
    except ImportError as error:
        raise AssayError("model.kind 'pretrained' needs transformers. Next: pip install 'assay[pretrained]'") from error
    with _building:
        was_offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        former, shows_progress = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        try:
            yield transformers
        except ImportError as error:
            raise AssayError(f"model.kind 'pretrained': {str(error).strip().splitlines()[0]}") from error
        finally:
            constants.HF_HUB_OFFLINE = was_offline
            transformers.logging.set_verbosity(former)
            if shows_progress:
                transformers.logging.enable_progress_bar()


_building = RLock()
"""Held while the settings of the package, which are those of the whole process, are others."""


def _architecture(library: Any, written: dict[str, Any]) -> tuple[Any, Any, dict[str, bool]]:
    """Return class, configuration and arguments of the network that a config.json describes.

    Raises:
        DataError: There is none of this name, or it reads no pictures.
    """
    kind = str(written.get("model_type", ""))
    expected = f"which {CONFIG} names; expected one of pictures, such as convnext, resnet, vit or dinov2."
    if kind not in library.CONFIG_MAPPING:
        raise DataError(f"model.weights: transformers {library.__version__} has no architecture {kind!r}, {expected}")
    try:
        is_around_other = _holds_other(written)  # the configuration of such a one would fetch that of the other
        config: Any = {} if is_around_other else library.CONFIG_MAPPING[kind].from_dict(_without_foreign_keys(written))
    except Exception as error:  # whatever the checks of this architecture raise
        raise DataError(f"model.weights: {CONFIG} is not valid: {_first_line(error)}. Fetch it again.") from error
    if is_around_other:
        raise DataError(f"model.weights: the architecture {kind!r} is built around another network, {expected}")
    found = library.MODEL_MAPPING.get(type(config), None)
    network = found[0] if isinstance(found, tuple) else found
    if network is None or network.main_input_name != "pixel_values":
        raise DataError(f"model.weights: pictures are not what the architecture {kind!r} reads, {expected}")
    # The one that every architecture has, and every export understands.
    config._attn_implementation = "eager"
    pools = "add_pooling_layer" in inspect.signature(network.__init__).parameters
    return network, config, {"add_pooling_layer": False} if pools else {}  # most published weights lack that layer


def _without_foreign_keys(written: Any) -> Any:
    """Return an architecture, and those inside of it, without ``FOREIGN_KEYS``."""
    if isinstance(written, list):
        return [_without_foreign_keys(each) for each in written]
    if not isinstance(written, dict):
        return written
    return {key: _without_foreign_keys(each) for key, each in written.items() if key not in FOREIGN_KEYS}


def _holds_other(written: Any) -> bool:
    """Return whether an architecture names another network, at any depth."""
    if isinstance(written, list):
        return any(map(_holds_other, written))
    if not isinstance(written, dict):
        return False
    is_other = str(written.get("model_type", "")).startswith("timm") or any(written.get(key) for key in OTHERS_INSIDE)
    return is_other or any(map(_holds_other, written.values()))


def _body(library: Any, written: dict[str, Any]) -> nn.Module:
    network, config, keys = _architecture(library, written)
    try:
        body: nn.Module = network(config, **keys)
    except ImportError:
        raise
    except Exception as error:  # whatever the code of this architecture raises
        raise DataError(
            f"transformers {library.__version__} can't build the network of the model: {_first_line(error)}."
        ) from error
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
    except ImportError:
        raise
    except Exception as error:  # whatever the code of this architecture raises
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
    if further := _further_layers(told["unexpected_keys"], f"{body.base_model_prefix}.", shapes):
        raise DataError(
            f"model.weights: {folder} has weights of more layers than its {CONFIG} says, such as {further[0]}. Fetch "
            "the folder again."
        )
    made: nn.Module = body
    return made.eval()


def _further_layers(unused: Iterable[str], prefix: str, names: Iterable[str]) -> list[str]:
    """Return the unused tensors that differ from the network's only in the number of a layer; not those of a head."""
    kinds = {_NUMBER.sub("#", name) for name in names}
    return sorted(name for name in unused if _NUMBER.sub("#", name.removeprefix(prefix)) in kinds)


_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _sides(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "1 number"


@torch.no_grad()
def _count(network: FeatureNetwork, side: int, folder: Path, is_own_size: bool) -> int:
    """Return the number of features of a picture, after a first one.

    Raises:
        DataError: The network does not take pictures of this size, or its features are random.
    """
    picture, before = torch.rand(1, 3, side, side, generator=Generator().manual_seed(0)), torch.get_rng_state()
    try:
        one, other = network(picture.repeat(2, 1, 1, 1))
    except Exception as error:  # whatever the network's own code raises
        advice = "Choose one that reads pictures alone" if is_own_size else "Leave out data_description.image_size"
        raise DataError(
            f"model.weights: the network in {folder} does not read pictures of {side}x{side} px "
            f"({_first_line(error)}). {advice}."
        ) from error
    if not torch.equal(before, torch.get_rng_state()) and not torch.equal(one, other):
        raise DataError(
            f"model.weights: the network in {folder} gives the same picture other features each time, as those do that "
            "leave out parts of it by chance. Choose another network."
        )
    return len(one)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
