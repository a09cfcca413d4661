"""Key ``trained_model.model``: the kinds of networks and their keys, and how installed packages add more.

Belongs here: the parameters of a network. Does not belong here: the networks (``assay.training.models``).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from assay.spec.base import Section
from assay.spec.extensions import OrPlugin
from assay.spec.plugins import MODELS


class ModelSection(Section):
    """The keys that all networks share. Subclasses add ``kind`` and their own keys."""

    reads: ClassVar[tuple[str, ...]] = ("crops", "pixels", "columns")
    """Kinds of input that the network can read: of these, and ``images`` for whole images with all their objects."""

    kind: str
    """Kind of the network."""


class MlpModel(ModelSection):
    """A multilayer perceptron with three hidden layers, the last half as wide. It reads rows, or flattened images."""

    kind: Literal["mlp"] = "mlp"
    """mlp."""
    width: int = Field(default=384, ge=1, le=8192)
    """Number of units in the first two hidden layers."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout probability of the units."""


class CnnModel(ModelSection):
    """A compact residual network for small images."""

    reads: ClassVar[tuple[str, ...]] = ("crops",)

    kind: Literal["cnn"] = "cnn"
    """cnn."""
    width: int = Field(default=24, ge=1, le=512)
    """Number of channels in the first layer; later layers have two and four times as many."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout probability of the features."""


class UnetModel(ModelSection):
    """A compact U-Net, which predicts a class for every pixel of an image."""

    reads: ClassVar[tuple[str, ...]] = ("images",)

    kind: Literal["unet"] = "unet"
    """unet."""
    width: int = Field(default=16, ge=1, le=512)
    """Number of channels in the first layer; deeper layers have more."""


class DetectorModel(ModelSection):
    """A compact dense detector, which predicts boxes and their classes with a stride of four pixels."""

    reads: ClassVar[tuple[str, ...]] = ("images",)

    kind: Literal["detector"] = "detector"
    """detector."""
    width: int = Field(default=24, ge=1, le=512)
    """Number of channels in the first layer; deeper layers have more."""


class ModelKind:
    """A kind of network, built-in or registered by an installed package.

    Attributes:
        section: Model of the network's keys, including ``kind``; its module should not import torch.
        build: Import path ``package.module:function`` of the function that builds the network; it is imported only for
            training. It is called as ``function(section, input_shape, output_count)`` and returns a
            ``torch.nn.Module`` that maps ``(batch, *input_shape)`` to ``(batch, output_count)``.
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


BuiltInModel = Annotated[MlpModel | CnnModel | UnetModel | DetectorModel, Field(discriminator="kind")]

AnyModel = Annotated[BuiltInModel, OrPlugin(MODELS, ModelKind, ModelSection, tuple(BUILT_IN_MODELS))]
"""A built-in network, or one that an installed package adds."""
