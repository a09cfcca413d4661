"""Section ``predictions``: what the trained model is applied to, and what is written down."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import Location, Probability, Section, Switch


class ModelLoader(Section):
    """Which of the saved weights are used."""

    kind: Literal["chosen", "last"] = "chosen"
    """``chosen``: those that ``trained_model.train_params.choose_epoch`` chose; ``last``: those of the last epoch."""


class PlainFunction(Section):
    """Every item is predicted once, as it is."""

    kind: Literal["plain"] = "plain"
    """plain."""


class AugmentedFunction(Section):
    """Every item is predicted several times, with the training's augmentation; the outputs are averaged."""

    kind: Literal["augmented"] = "augmented"
    """augmented."""
    copies: int = Field(default=8, ge=1, le=1000)
    """Changed copies of each item, besides the item itself."""


class PredictionHandler(Section):
    """What is written for each item besides target and prediction."""

    copy_columns: tuple[str, ...] = ()
    """Columns of the data to keep beside the predictions, as names or patterns with ``*``. Not for detection and
    segmentation, whose rows are boxes and classes; their images are in predicted_items.parquet."""
    min_confidence: Probability = 0.02
    """Boxes of which the model is less sure are left out; low, because precision-recall curves need them too. Detection
    only."""
    most_overlap: Probability = 0.5
    """Intersection over union above which two boxes of one class are the same object, and the surer one stays.
    Detection only."""
    max_boxes: int = Field(default=100, ge=1, le=1000)
    """Boxes per image at most, the surest. Detection only."""


class PredictionsSection(Section):
    """Data to predict, and how."""

    datasets: tuple[str, ...] = Field(default=("validation", "test"), min_length=1)
    """Names of the subsets; each is read by itself, in this order."""
    prediction_steps: int | None = Field(default=None, ge=1)
    """Predict exactly this many batches of each subset; null: all."""
    batch_size: int = Field(default=512, ge=1, le=65_536)
    """Items predicted at once, and the unit of ``prediction_steps``; whole images are predicted in smaller portions."""
    model_loader: ModelLoader = ModelLoader()
    """Which weights are used."""
    prediction_function: Annotated[PlainFunction | AugmentedFunction, Field(discriminator="kind")] = PlainFunction()
    """How one item is predicted."""
    prediction_handler: PredictionHandler = PredictionHandler()
    """What is written."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the augmented copies; null takes the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Predict again even when a complete result exists; the old one stays until the new one is complete."""

    @model_validator(mode="after")
    def _datasets_differ(self) -> Self:
        twice = sorted({name for name in self.datasets if self.datasets.count(name) > 1})
        if twice:
            raise ValueError(f"datasets names {', '.join(twice)} more than once")
        return self
