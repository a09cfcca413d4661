"""Keys ``trained_model.data_train`` and ``data_validation``: which subsets, in which batches, changed how.

Belongs here: keys and rules on their values. Does not belong here: defaults that depend on the task
(``assay.spec.training_defaults``); wherever one does, the key's default here is null.
"""

from typing import Literal

from pydantic import Field

from assay.spec.base import Probability, Section


class Augmentation(Section):
    """Random changes of every training batch; never of validation or test data. Null: by the kind of input; 0: none."""

    rotation_degrees: float | None = Field(default=None, ge=0, le=180)
    """Largest angle to either side. Images and pixels only."""
    zoom: float | None = Field(default=None, ge=0, le=1)
    """Largest enlargement or reduction, as a fraction of the size. Images and pixels only."""
    shift: float | None = Field(default=None, ge=0, le=1)
    """Largest shift in each direction, as a fraction of the size. Images and pixels only."""
    invert_probability: Probability | None = None
    """Share of the items whose light and dark are exchanged. Images and pixels only."""
    colour_shift: float | None = Field(default=None, ge=0, le=10)
    """Largest shift of each colour channel, in standard deviations of the image. Images only."""
    contrast: float | None = Field(default=None, ge=0, le=2)
    """Largest change of contrast, as a fraction. Images only."""
    noise: float | None = Field(default=None, ge=0, le=10)
    """Standard deviation of the noise added to every value, in the values' own unit after standardization."""


class TrainingData(Section):
    """How the network sees its training data."""

    subset: str = Field(default="train", min_length=1)
    """Name of the subset."""
    batch_size: int | None = Field(default=None, ge=2, le=65_536)
    """Items per step; fewer when the subset is smaller. Null: by the kind of input."""
    balance: Literal["classes"] | None = None
    """See every class equally often: items of rare classes several times in an epoch, whole images in windows around
    objects of such classes; null: every item once. Not for regression."""
    shuffle: bool = True
    """Draw a new order for every epoch; without, the order is that of the table."""
    augmentation: Augmentation = Augmentation()
    """Random changes of every batch."""


class ValidationData(Section):
    """The data that choose the epoch."""

    subset: str = Field(default="validation", min_length=1)
    """Name of the subset."""
    batch_size: int = Field(default=512, ge=1, le=65_536)
    """Items evaluated at once; does not change results beyond rounding."""
