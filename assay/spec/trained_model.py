"""Section ``trained_model``: which network learns what, from which data, and how."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from assay.spec.base import PLACE_ONLY, Location, Section, Switch
from assay.spec.classes import did_you_mean
from assay.spec.data_description import DataDescription
from assay.spec.learner import Learner
from assay.spec.models import AnyModel
from assay.spec.starting_weights import StartingWeights
from assay.spec.training import ExpInitializer, NetData, TrainParams
from assay.spec.training_data import TrainingData, ValidationData


class TrainedModelSection(Section):
    """Model and training."""

    data_description: DataDescription = DataDescription()
    """Inputs, target and classes."""
    data_train: TrainingData = TrainingData()
    """The data that the network learns from."""
    data_validation: ValidationData | None = ValidationData()
    """The data that choose the epoch; null only with ``train_params.choose_epoch: last``."""
    model: AnyModel | None = None
    """The network; null: cnn for images, mlp for rows."""
    starting_weights: StartingWeights | None = None
    """First weights, from a local file; null: from chance."""
    learner: Learner = Learner()
    """Loss and optimizer."""
    train_params: TrainParams = TrainParams()
    """How long, and which epoch to keep."""
    net_data: NetData = NetData()
    """Pictures, or rows, of what the network really saw."""
    exp_initializer: Annotated[ExpInitializer, PLACE_ONLY] = ExpInitializer()
    """What is written down about code and machine."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of weights, order and augmentation; null takes the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Train again even when a complete result exists; the old one stays until the new one is complete."""

    @model_validator(mode="after")
    def _subsets_differ(self) -> Self:
        validation = self.data_validation
        if validation is not None and validation.subset == self.data_train.subset:
            raise ValueError(
                f"data_train.subset and data_validation.subset are both {validation.subset!r}: "
                "data that were learned can't choose the epoch"
            )
        if validation is None and self.train_params.choose_epoch == "best":
            raise ValueError(
                "data_validation is null, but train_params.choose_epoch is 'best'; "
                "name a subset or set train_params.choose_epoch: last"
            )
        return self

    @model_validator(mode="after")
    def _model_reads_the_input(self) -> Self:
        description = self.data_description
        if self.model is not None and "columns" not in self.model.reads and description.input == "normalized":
            raise ValueError(
                f"model.kind {self.model.kind!r} reads images, but data_description.input is 'normalized'; "
                "use model.kind: mlp or data_description.input: crops"
            )
        if description.inputs is not None and description.input in ("crops", "splits"):
            raise ValueError(
                f"data_description.inputs names columns, but data_description.input is {description.input!r}; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _class_weights_fit(self) -> Self:
        names, weights = self.data_description.class_names, self.learner.class_weights
        if not isinstance(weights, dict):
            return self
        if bad := sorted(name for name, weight in weights.items() if weight < 0):
            raise ValueError(f"learner.class_weights: negative for {', '.join(bad)}")
        if names and (wrong := sorted(set(weights) - set(names))):
            hint = did_you_mean(wrong[0], names)
            raise ValueError(f"learner.class_weights names {', '.join(wrong)}, not in data_description.classes{hint}")
        if names and not any(weights.get(name, 1.0) for name in names):
            raise ValueError("learner.class_weights: every class has weight 0; there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _thresholds_are_chosen_on_validation_data(self) -> Self:
        if self.train_params.decision == "tuned" and self.data_validation is None:
            raise ValueError("train_params.decision is 'tuned', but data_validation is null; name a subset")
        return self
