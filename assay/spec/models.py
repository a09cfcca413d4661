"""The kinds of networks that an experiment may train: their keys, and how installed packages add more.

Belongs here: the numbers that a network is built from. Does not belong here: the networks (``assay.training.models``).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from assay.spec.base import Section, or_plugin

MODEL_PLUGINS = "assay.models"
"""Entry point group whose names are further kinds; each object is a ``ModelKind``."""


class ModelSection(Section):
    """What all networks share. Subclasses add ``kind`` and their own keys."""

    reads: ClassVar[tuple[str, ...]] = ("crops", "pixels", "columns")
    """Kinds of input that the network can read: of these, and ``images`` for whole images with all their objects."""

    kind: str
    """Which network."""


class MlpModel(ModelSection):
    """Fully connected layers: three hidden ones, the last half as wide. Reads rows, and images as one long row."""

    kind: Literal["mlp"] = "mlp"
    """mlp."""
    width: int = Field(default=384, ge=1, le=8192)
    """Units of the first two hidden layers."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the units switched off at random in each training step."""


class CnnModel(ModelSection):
    """A compact residual network for small images."""

    reads: ClassVar[tuple[str, ...]] = ("crops",)

    kind: Literal["cnn"] = "cnn"
    """cnn."""
    width: int = Field(default=24, ge=1, le=512)
    """Channels of the first layer; later ones have two and four times as many."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the features switched off at random in each training step."""


class UnetModel(ModelSection):
    """A compact U-Net: one class for every pixel of an image."""

    reads: ClassVar[tuple[str, ...]] = ("images",)

    kind: Literal["unet"] = "unet"
    """unet."""
    width: int = Field(default=16, ge=1, le=512)
    """Channels of the first layer; deeper ones have more."""


class DetectorModel(ModelSection):
    """A compact dense detector: boxes and their classes, found at every fourth pixel of an image."""

    reads: ClassVar[tuple[str, ...]] = ("images",)

    kind: Literal["detector"] = "detector"
    """detector."""
    width: int = Field(default=24, ge=1, le=512)
    """Channels of the first layer; deeper ones have more."""


class ModelKind:
    """What an installed package registers.

    Attributes:
        section: The keys of the network, ``kind`` among them; its module should not import torch.
        build: Import path ``package.module:function`` of what builds the network, imported only for training. Called as
            ``function(section, input_shape, output_count)``, it returns a ``torch.nn.Module`` that maps
            ``(batch, *input_shape)`` to ``(batch, output_count)``.
    """

    def __init__(self, section: type[ModelSection], build: str) -> None:
        self.section = section
        self.build = build


BUILT_IN_MODELS: dict[str, ModelKind] = {
    "mlp": ModelKind(MlpModel, "assay.training.models.mlp:build_mlp"),
    "cnn": ModelKind(CnnModel, "assay.training.models.cnn:build_cnn"),
    "unet": ModelKind(UnetModel, "assay.training.models.unet:build_unet"),
    "detector": ModelKind(DetectorModel, "assay.training.models.detector:build_detector"),
}


AnyModel = Annotated[
    SerializeAsAny[Annotated[MlpModel | CnnModel | UnetModel | DetectorModel, Field(discriminator="kind")]],
    or_plugin(MODEL_PLUGINS, BUILT_IN_MODELS, ModelKind),
]
"""A built-in network, or one that an installed package adds."""
