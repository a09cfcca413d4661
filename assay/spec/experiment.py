"""The whole spec of an experiment: what one YAML file says.

Belongs here: the top-level keys and checks across sections. Does not belong here: reading files, fingerprints.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from assay.errors import IdError
from assay.spec.analysis import AnalysisSection
from assay.spec.base import Section
from assay.spec.crops import CropsSection
from assay.spec.exptests import ExptestsSection
from assay.spec.generated_images import GeneratedImagesSection
from assay.spec.ids import shorten, validate_id
from assay.spec.normalized import NormalizedSection
from assay.spec.predictions import PredictionsSection
from assay.spec.splits import SplitsSection
from assay.spec.tabular import TabularSection
from assay.spec.trained_model import TrainedModelSection

Task = Literal["regression", "classification", "segmentation", "detection"]

TASK_PREFIX: dict[str, str] = {
    "regression": "REG",
    "classification": "CLS",
    "segmentation": "SEG",
    "detection": "DET",
}

Learning = Literal["regression", "classification", "multi_label", "segmentation", "detection"]
"""What differs in training, prediction and analysis."""

SECTION_NAMES = (
    "generated_images",
    "splits",
    "crops",
    "tabular",
    "normalized",
    "trained_model",
    "predictions",
    "analysis",
    "exptests",
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What a run of Dagster takes as the name of a tag."""

MOST_TAGS = 50

MOST_CHARACTERS = 200


def _check(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MOST_TAGS:
        raise ValueError(f"got {len(tags)} tags; expected at most {MOST_TAGS}")
    for name, value in tags.items():
        if not NAME.fullmatch(name):
            wanted = "1 to 63 letters, digits, '_', '.' and '-', the first a letter or digit"
            raise ValueError(f"name {shorten(name)} is not valid; expected {wanted}")
        if not 0 < len(value) <= MOST_CHARACTERS or not value.isprintable():
            wanted = f"1 to {MOST_CHARACTERS} printable characters on one line"
            raise ValueError(f"{name} is {shorten(value)}; expected {wanted}")
    return tags


Tags = Annotated[dict[str, str], AfterValidator(_check)]
"""Texts by name."""

LATEST = "latest"


def _id_or_latest(text: str) -> str:
    try:
        return text if text == LATEST else validate_id(text)
    except IdError as error:
        raise ValueError(f"{error} Or {LATEST!r}.") from None


class FoundExperiment(Section):
    """The experiment that was found, so that the evaluation means the same tomorrow."""

    experiment_id: str
    """Its ID."""
    run_id: str
    """The run in which its folder was made."""
    folder: str
    """Name of its folder at the location."""
    model: str
    """Fingerprint of its model."""
    scaling: str = ""
    """Fingerprint of the table whose scaling the model was trained with; empty where it reads images."""


class ExistingExperiment(Section):
    """An experiment that was trained before: here, or at another location."""

    experiment_id: Annotated[str, AfterValidator(_id_or_latest)]
    """Its ID; or ``latest``: the newest with the same task whose folder's name begins alike. Its model is taken once
    and then kept: to evaluate a newer one, make another experiment."""
    location: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """Name of the location that has it; null: this storage."""
    found: FoundExperiment | None = None
    """Which one it is; written by Assay."""

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, value: Any) -> Any:
        return {"experiment_id": value} if isinstance(value, str) else value


class FileLockSpec(Section):
    """A lock on a location that the user cares about, held while an asset of the experiment works."""

    kind: Literal["read", "write"] = "read"
    """``read``: shared with other readers; ``write``: exclusive."""
    location: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$")
    """Name of the location, such as ``labels`` or ``team/labels``, the same in every experiment that shares it."""
    timeout_s: float = Field(default=3600.0, gt=0)
    """How long to wait for the lock, in seconds."""


class ExperimentSpec(Section):
    """One experiment. Every key but ``task`` has a default."""

    task: Task
    """What is learned: ``regression`` (a number), ``classification`` (a class, or several labels at once),
    ``segmentation`` (the class of every pixel) or ``detection`` (boxes around objects, and their classes)."""
    name: str = Field(default="", max_length=200)
    """Free text; shown in tables."""
    description: str = Field(default="", max_length=10_000)
    """Free text."""
    tags: Tags = {}
    """What the experiment belongs to, such as ``{sweep: lr-grid, owner: mia}``: shown with its runs, filtered by in SQL
    (``tags->>'sweep' = 'lr-grid'``). No result depends on it."""
    seed: int = Field(default=42, ge=0, lt=2**63)
    """Seed of every section that does not set its own."""
    existing_experiment: ExistingExperiment | None = None
    """Evaluate the model of this experiment instead of training one, such as ``ab12``, ``latest``, or
    ``{experiment_id: ab12, location: team}``. Every section that is left out is that experiment's; trained_model
    always is."""
    exp_folder_pattern: str = Field(default="$PREFIX-$RUN_ID-id_$SHORT_ID", pattern=r"^[A-Za-z0-9$_.-]{1,150}$")
    """Name of the experiment's folder; must contain $RUN_ID or $SHORT_ID, may contain $PREFIX (the task)."""
    exp_out_location: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "experiments"
    """Where the experiment's folder is: a folder below the storage root, or the name of a location in locations.yaml,
    which then gets a copy that follows every change."""
    remove_key_list: tuple[str, ...] = ()
    """Keys removed, at any depth, from every configuration saved in the experiment's folder."""
    filelock_dict: dict[str, FileLockSpec] = {}
    """Further locks, by name, held by each asset while it works."""
    generated_images: GeneratedImagesSection = GeneratedImagesSection()
    """Where the data come from."""
    splits: SplitsSection = SplitsSection()
    """How the data are divided into subsets."""
    crops: CropsSection = CropsSection()
    """How labelled objects are cut out."""
    tabular: TabularSection = TabularSection()
    """How crops, or a table, become rows."""
    normalized: NormalizedSection = NormalizedSection()
    """How columns are scaled."""
    trained_model: TrainedModelSection = TrainedModelSection()
    """Model and training."""
    predictions: PredictionsSection = PredictionsSection()
    """What the model is applied to."""
    analysis: AnalysisSection = AnalysisSection()
    """Which metrics are computed."""
    exptests: ExptestsSection = ExptestsSection()
    """What must hold for the experiment to count."""

    @field_validator("name", "description")
    @classmethod
    def _printable(cls, text: str, info: ValidationInfo) -> str:
        one_line = info.field_name == "name"
        lines = [text] if one_line else text.split("\n")
        if not all(line.isprintable() for line in lines):
            raise ValueError(f"got {text!r}; expected {'one line of ' if one_line else ''}printable text")
        return text

    @model_validator(mode="after")
    def _folder_is_unique(self) -> Self:
        if "$RUN_ID" not in self.exp_folder_pattern and "$SHORT_ID" not in self.exp_folder_pattern:
            raise ValueError(
                "exp_folder_pattern must contain $RUN_ID or $SHORT_ID, or experiments would share a folder"
            )
        return self

    @model_validator(mode="after")
    def _the_model_is_adopted(self) -> Self:
        evaluated = self.existing_experiment
        own = self.trained_model.model_fields_set - {"output_location", "clear_folder"}
        if evaluated is not None and evaluated.found is None and own:
            raise ValueError(
                f"trained_model.{min(own)} is given, but existing_experiment names the experiment whose model is "
                "evaluated; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _locks_each_location_once(self) -> Self:
        keys: dict[str, str] = {}
        for key, lock in self.filelock_dict.items():
            other = keys.setdefault(lock.location, key)
            if other != key:
                both = f"filelock_dict.{other} and filelock_dict.{key}"
                raise ValueError(f"{both} lock the same location, {lock.location!r}: one would wait for the other")
        return self

    @property
    def found(self) -> FoundExperiment | None:
        """The experiment whose model is evaluated; None where one is trained."""
        return self.existing_experiment.found if self.existing_experiment else None

    @property
    def uses_images(self) -> bool:
        """Whether the source is images rather than a table."""
        return self.generated_images.source.kind != "table"

    @property
    def learning(self) -> Learning:
        """The kind of learning: the task, but for labels of which an item may have several."""
        several = self.task == "classification" and self.trained_model.data_description.multi_label
        return "multi_label" if several else self.task

    def section(self, name: str) -> Section:
        """Return one of the sections by its name."""
        section: Section = getattr(self, name)
        return section

    def as_dict(self) -> dict[str, Any]:
        """Return every key with its value, defaults included, as plain YAML types."""
        return self.model_dump(mode="json")


def learning_of(values: Mapping[str, Any]) -> str:
    """Return the kind of learning of a spec's plain values, whatever its age; empty when they are none."""
    task = str(values.get("task", ""))
    description = values.get("trained_model", {}).get("data_description", {})
    return "multi_label" if task == "classification" and description.get("multi_label") else task
