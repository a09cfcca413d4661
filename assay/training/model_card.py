"""The model card: what is known about trained weights; stored in their file, so that one file is a usable model."""

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.errors import AssayError
from assay.spec.base import Section
from assay.spec.trained_model import TrainedModelSection
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.inputs import Inputs
from assay.training.models.pretrained import Backbone
from assay.training.targets import ItemTarget, NumberTarget
from assay.utils.text import canonical_json

AnyTarget = Annotated[ClassTarget | LabelsTarget | NumberTarget | MaskTarget | BoxTarget, Field(discriminator="kind")]
"""What the model predicts."""


def require_item_target(target: AnyTarget) -> ItemTarget:
    """Return the target, which must have one prediction per item.

    Raises:
        AssayError: It is a target of whole images.
    """
    if isinstance(target, MaskTarget | BoxTarget):
        raise AssayError(f"A target of kind {target.kind} has no prediction per item.")
    return target


class ModelCard(Section):
    """Everything needed to rebuild a model, to apply it, and to know its origin."""

    format: Literal["assay-model-1"] = "assay-model-1"
    """Version of this description."""
    task: str
    """The experiment's task, or multi_label."""
    section: TrainedModelSection
    """The spec with every default filled in: network, training, augmentation, threads."""
    inputs: Inputs
    """How an item becomes a tensor."""
    target: AnyTarget
    """What the outputs mean."""
    trained_on: dict[str, str]
    """Fingerprint of the data, by stage."""
    rows: dict[str, int]
    """Number of rows of each subset that was read."""
    seed: int
    """Seed of the training."""
    epoch: int
    """Epoch of these weights, from 1."""
    chosen_by: str
    """The rule that chose the epoch."""
    values: dict[str, float]
    """Loss and metrics on the validation data in this epoch."""
    candidates: dict[str, float] = Field(default={}, exclude_if=lambda values: not values)
    """Where the validation data chose the kind of the model: the metric that decided, of each kind."""
    torch_version: str
    """Version of torch."""
    backbone: Backbone | None = Field(default=None, exclude_if=lambda backbone: backbone is None)
    """The network of others in front of the model's head; null: none."""

    @property
    def item_target(self) -> ItemTarget:
        """The target, if it has one prediction per item.

        Raises:
            AssayError: It is a target of whole images.
        """
        return require_item_target(self.target)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; without the keys of the spec that say where results are written."""
        return {**self.model_dump(mode="json", exclude={"section"}), "section": self.section.content()}

    def as_text(self) -> str:
        """Return canonical JSON."""
        return canonical_json(self.as_dict())
