"""Default hyperparameters of the training: one recipe per kind of input.

Belongs here: numbers that were found by experiments. Does not belong here: filling them into a spec (``defaults``).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from assay.spec.models import (
    CnnModel,
    DetectorModel,
    GradientBoostingModel,
    LinearModel,
    MlpModel,
    ModelSection,
    UnetModel,
)
from assay.spec.trained_model import Augmentation

View = Literal["crops", "pixels", "columns", "images"]
"""Form in which the network sees an item: the crop of one object, a row of grey pixels, a row of any other columns, or
a whole image with all its objects."""

LEAST_STEPS, MOST_TIMES = 700, 10
"""Least number of steps that a network needs with AdamW, and the largest factor by which it may extend the epochs."""

CANDIDATE_STEPS, CANDIDATE_ROWS, CANDIDATE_EPOCHS = 1500, 300_000, 5
"""Most steps, and most rows in all passes together, of a network that is compared with other kinds of models of a
table; and least passes that these must be enough for. On 14,000 rows of 160 inputs, 20 passes in batches of 256 took 5
CPU seconds on one thread; on two, three times as many, because the steps are small."""

CANDIDATE_CELLS = 2**25
"""Most inputs of all training rows together, 256 MB as Float64, with which a linear model is compared."""

UNCHANGED = Augmentation(rotation_degrees=0, zoom=0, shift=0, invert_probability=0, colour_shift=0, contrast=0, noise=0)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters that go together.

    Attributes:
        model: The network.
        epochs: Passes over the training data.
        batch_size: Items per step.
        augmentation: Random changes of the training data.
        optimizer: The default optimizer.
        muon: Learning rate of Muon.
        adamw: Learning rate of AdamW.
        sgd: Learning rate of SGD.
        label_smoothing: Label smoothing, for classes.
        least_steps: Least number of steps that the network needs.
        precision: Precision of the arithmetic.
        window_size: Side in pixels of the windows cut out of whole images; None for other inputs.
    """

    model: ModelSection
    epochs: int
    batch_size: int
    augmentation: Augmentation
    optimizer: Literal["muon", "adamw"] = "adamw"
    muon: float = 1.6e-2
    adamw: float = 4e-3
    sgd: float = 0.1
    label_smoothing: float = 0.0
    least_steps: int = LEAST_STEPS
    precision: Literal["fp32", "auto"] = "fp32"
    window_size: int | None = None


_OBJECTS = Augmentation(
    rotation_degrees=15, zoom=0.2, shift=0.06, invert_probability=0.3, colour_shift=0.5, contrast=0.3, noise=0
)
_PIXELS = Augmentation(
    rotation_degrees=6, zoom=0.06, shift=0.03, invert_probability=0.5, colour_shift=0, contrast=0, noise=0.05
)
_UPRIGHT = _OBJECTS.model_copy(update={"rotation_degrees": 0.0, "shift": 0.0})
_WHOLE_IMAGES: dict[str, Any] = {"optimizer": "muon", "least_steps": 300, "precision": "auto"}

RECIPES: dict[str, Recipe] = {
    "crops": Recipe(CnnModel(), 20, 32, _OBJECTS, label_smoothing=0.05),
    "pixels": Recipe(MlpModel(), 160, 128, _PIXELS, label_smoothing=0.05),
    "columns": Recipe(MlpModel(width=128), 80, 64, UNCHANGED, label_smoothing=0.05),
    "segmentation": Recipe(UnetModel(), 6, 64, _OBJECTS, **_WHOLE_IMAGES, window_size=64),
    "detection": Recipe(DetectorModel(), 3, 16, _UPRIGHT, **_WHOLE_IMAGES, window_size=96),
}


def recipe_of(learning: str, view: View) -> Recipe:
    """Return the recipe for a task on whole images, or else for the kind of input.

    Several labels per item get half as many epochs more: with 30 instead of 20 on images of digits, macro F1 rose by
    0.003 (mean of three seeds), and by 0.007 on backgrounds that are in no training image.
    """
    recipe = RECIPES[learning if view == "images" else view]
    return replace(recipe, epochs=recipe.epochs * 3 // 2) if learning == "multi_label" else recipe


def candidate_models(learning: str) -> dict[str, ModelSection]:
    """Return the models of a table that the validation data choose from, by kind, the simplest first."""
    models: tuple[ModelSection, ...] = (LinearModel(), GradientBoostingModel(), recipe_of(learning, "columns").model)
    return {model.kind: model for model in models}
