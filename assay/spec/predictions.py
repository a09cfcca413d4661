"""Section ``predictions``: the data that the trained model is applied to, and what is stored."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import ADDED, MOST_STEPS, Location, Probability, RemovedKeys, Section, Switch, repeated
from assay.spec.extensions import Extension, OrPlugin
from assay.spec.plugins import MODEL_LOADERS, PREDICTION_FUNCTIONS, PREDICTION_HANDLERS


class LoaderSection(Section):
    """What all loaders share. Subclasses add ``kind`` and their own keys."""

    kind: str
    """Kind of the loader."""


class ModelLoader(LoaderSection):
    """The saved weights to use."""

    kind: Literal["chosen", "last"] = "chosen"
    """``chosen``: those of the epoch chosen by ``trained_model.train_params.choose_epoch``; ``last``: the last."""


class FunctionSection(Section):
    """What all ways to predict an item share. Subclasses add ``kind`` and their own keys."""

    kind: str
    """Kind of the function."""


class PlainFunction(FunctionSection):
    """Each item is predicted once, unchanged."""

    kind: Literal["plain"] = "plain"
    """plain."""


class AugmentedFunction(FunctionSection):
    """Each item is predicted several times with the augmentation of the training, and the outputs are averaged."""

    kind: Literal["augmented"] = "augmented"
    """augmented."""
    copies: int = Field(default=8, ge=1, le=1000)
    """Number of augmented copies of each item, in addition to the item itself."""


class PredictionHandler(Section):
    """What is stored for each item besides target and prediction."""

    copy_columns: tuple[str, ...] = ()
    """Columns of the data to store with the predictions, as names or patterns with ``*``. Not for detection and
    segmentation, whose rows are boxes and classes; their images are in predicted_items.parquet."""
    min_confidence: Probability = 0.02
    """Least confidence of a stored box; low, because precision-recall curves also need uncertain boxes. Detection
    only."""
    most_overlap: Probability = 0.5
    """Intersection over union above which two boxes of one class count as the same object, and only the more confident
    one is kept. Detection only."""
    max_boxes: int = Field(default=100, ge=1, le=1000)
    """Largest number of boxes per image; the most confident are kept. Detection only."""


AnyLoader = Annotated[ModelLoader, OrPlugin(MODEL_LOADERS, Extension, LoaderSection, ("chosen", "last"))]

AnyFunction = Annotated[
    Annotated[PlainFunction | AugmentedFunction, Field(discriminator="kind")],
    OrPlugin(PREDICTION_FUNCTIONS, Extension, FunctionSection, ("plain", "augmented")),
]

AnyHandler = Annotated[PredictionHandler, OrPlugin(PREDICTION_HANDLERS, Extension, PredictionHandler)]


class PredictionsSection(Section):
    """The data to predict, and how."""

    datasets: tuple[str, ...] = Field(default=("validation", "test"), min_length=1)
    """Names of the subsets, which are predicted one by one in this order."""
    prediction_steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    """Number of batches of each subset to predict; null: all."""
    batch_size: int = Field(default=512, ge=1, le=65_536)
    """Number of items per batch, the unit of ``prediction_steps``; whole images are predicted in smaller portions."""
    model_loader: AnyLoader = ModelLoader()
    """The weights to use."""
    prediction_function: AnyFunction = PlainFunction()
    """How one item is predicted."""
    prediction_handler: AnyHandler = PredictionHandler()
    """What is stored."""
    precision: Annotated[Literal["fp32"] | None, ADDED] = None
    """fp32: predict in float32 also where the training computed in bfloat16, as an exported model does, so that both
    give the same numbers. Null: as the training computed."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the augmented copies; null uses the experiment's."""
    remove_key_list: RemovedKeys = None
    """Keys to remove, at any depth, from this section's saved configuration; null: those of the experiment's
    ``remove_key_list``."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Predict again even if a complete result exists, which is kept until the new one is complete."""

    @model_validator(mode="after")
    def _datasets_differ(self) -> Self:
        twice = repeated(self.datasets)
        if twice:
            raise ValueError(f"datasets names {', '.join(twice)} more than once")
        return self
