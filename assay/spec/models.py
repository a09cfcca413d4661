"""Key ``trained_model.model``: the kinds of networks and their keys, and how installed packages add more.

Belongs here: the parameters of a network. Does not belong here: the networks (``assay.training.models``).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from assay.spec.base import MOST_STEPS, Section, UserPath
from assay.spec.extensions import OrPlugin
from assay.spec.plugins import MODELS
from assay.spec.weights import digest_of_weights, require_local


class ModelSection(Section):
    """The keys that all networks share. Subclasses add ``kind`` and their own keys."""

    reads: ClassVar[tuple[str, ...]] = ("crops", "pixels", "columns")
    """Kinds of input that the network can read: of these, and ``images`` for whole images with all their objects."""

    is_fitted: ClassVar[bool] = False
    """Whether it is fitted to all training rows at once, rather than trained step by step."""
    reads_codes: ClassVar[bool] = False
    """Whether it reads a category as one code, rather than as one input per level."""

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


class LinearModel(ModelSection):
    """A linear model of the rows of a table: ridge regression, or logistic regression for classes."""

    reads: ClassVar[tuple[str, ...]] = ("columns",)
    is_fitted: ClassVar[bool] = True

    kind: Literal["linear"] = "linear"
    """linear."""
    penalty: float | None = Field(default=None, gt=0, le=1e12)
    """Weight of the squared coefficients, of standardized inputs. Null: of several, the one that is best on the
    validation data."""


class GradientBoostingModel(ModelSection):
    """Gradient boosted trees of the rows of a table, by histograms (scikit-learn's HistGradientBoosting)."""

    reads: ClassVar[tuple[str, ...]] = ("columns",)
    is_fitted: ClassVar[bool] = True
    reads_codes: ClassVar[bool] = True

    kind: Literal["gradient_boosting"] = "gradient_boosting"
    """gradient_boosting."""
    trees: int | None = Field(default=None, ge=1, le=10_000)
    """Largest number of trees per output; of several numbers up to it, the one that is best on the validation data is
    kept. Null: 300, or 100 with more than two classes or labels."""
    shrinkage: float = Field(default=0.1, gt=0, le=1)
    """Share of each tree that is added."""
    leaves: int = Field(default=31, ge=2, le=1024)
    """Largest number of leaves of a tree."""
    least_rows: int = Field(default=20, ge=1, le=MOST_STEPS)
    """Least number of rows of a leaf."""


class CnnModel(ModelSection):
    """A compact residual network for small images."""

    reads: ClassVar[tuple[str, ...]] = ("crops",)

    kind: Literal["cnn"] = "cnn"
    """cnn."""
    width: int = Field(default=24, ge=1, le=512)
    """Number of channels in the first layer; later layers have two and four times as many."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout probability of the features."""


class PretrainedModel(ModelSection):
    """A network that others have trained on many pictures, as it is; a small model learns from its features."""

    reads: ClassVar[tuple[str, ...]] = ("crops",)

    kind: Literal["pretrained"] = "pretrained"
    """pretrained."""
    weights: UserPath
    """Folder of a model of Hugging Face with config.json and model.safetensors, relative to the working directory; or a
    name on its hub, such as ``facebook/convnext-tiny-224``, of which the newest version in the hub's own cache is read:
    nothing is downloaded. The content of these files is part of the result's fingerprint."""
    head: Annotated[LinearModel | MlpModel, Field(discriminator="kind")] = LinearModel()
    """What learns from the features: linear (ridge or logistic regression), or mlp."""

    def digest(self) -> str:
        """Return the SHA-256 of the network's files; empty where they are not all there."""
        return digest_of_weights(self.weights)

    @field_validator("weights", mode="after")
    @classmethod
    def _is_local_and_harmless(cls, weights: str) -> str:
        return require_local(weights, "a folder, or the name of a model in the hub's cache")


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


class AutoModel(ModelSection):
    """The kind of model of a table that is best on the validation data: of linear, gradient_boosting and mlp."""

    reads: ClassVar[tuple[str, ...]] = ("columns",)

    kind: Literal["auto"] = "auto"
    """auto."""


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
    "linear": ModelKind(LinearModel, "assay.training.models.linear:build_linear"),
    "gradient_boosting": ModelKind(GradientBoostingModel, "assay.training.models.trees:build_trees"),
    "cnn": ModelKind(CnnModel, "assay.training.models.cnn:build_cnn"),
    "pretrained": ModelKind(PretrainedModel, "assay.training.models.pretrained:build_pretrained"),
    "unet": ModelKind(UnetModel, "assay.training.models.unet:build_unet"),
    "detector": ModelKind(DetectorModel, "assay.training.models.detector:build_detector"),
}


BuiltInModel = Annotated[
    MlpModel | LinearModel | GradientBoostingModel | CnnModel | PretrainedModel | UnetModel | DetectorModel | AutoModel,
    Field(discriminator="kind"),
]

AnyModel = Annotated[BuiltInModel, OrPlugin(MODELS, ModelKind, ModelSection, (*BUILT_IN_MODELS, "auto"))]
"""A built-in network, or one that an installed package adds."""
