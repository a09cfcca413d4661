"""What is known about trained weights; saved inside their file, so that one file is a usable model."""

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.errors import AssayError
from assay.spec.base import Section
from assay.spec.trained_model import TrainedModelSection
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.inputs import Inputs
from assay.training.targets import NumberTarget, Target
from assay.utils.text import canonical_json

AnyTarget = Annotated[ClassTarget | LabelsTarget | NumberTarget | MaskTarget | BoxTarget, Field(discriminator="kind")]
"""What is learned."""


def require_flat(target: AnyTarget) -> Target:
    """Return a target that has one answer per item.

    Raises:
        AssayError: Its answers have places in images.
    """
    if isinstance(target, MaskTarget | BoxTarget):
        raise AssayError(f"A target of kind {target.kind} has no answer per item.")
    return target


class ModelCard(Section):
    """Everything needed to rebuild a model, to use it, and to know where it came from."""

    format: Literal["assay-model-1"] = "assay-model-1"
    """Version of this description."""
    task: str
    """Kind of learning: the experiment's task, or multi_label."""
    section: TrainedModelSection
    """The spec with every default filled in: network, training, augmentation, threads."""
    inputs: Inputs
    """How an item becomes a tensor."""
    target: AnyTarget
    """How outputs become answers."""
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
    """What was measured on the validation data in this epoch."""
    torch_version: str
    """Version of torch."""

    @property
    def flat_target(self) -> Target:
        """What is learned about each item as a whole.

        Raises:
            AssayError: The answers have places in images.
        """
        return require_flat(self.target)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; keys of the spec that say where results are written are left out."""
        return {**self.model_dump(mode="json", exclude={"section"}), "section": self.section.content()}

    def as_text(self) -> str:
        """Return canonical JSON."""
        return canonical_json(self.as_dict())
