"""The whole spec of an experiment: the content of one YAML file.

Belongs here: the top-level keys, with tags, board, locks and the reference to an existing experiment. Does not belong
here: reading files (``loading``), defaults across sections (``defaults``), finding the existing experiment
(``assay.experiments.evaluation``).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from assay.errors import IdError, shorten
from assay.spec.analysis import AnalysisSection, MetricName
from assay.spec.base import FolderName, Section
from assay.spec.crops import CropsSection
from assay.spec.exptests import ExptestsSection
from assay.spec.extensions import Extension, OrPlugin
from assay.spec.generated_images import GeneratedImagesSection
from assay.spec.ids import ID_PATTERN, suggest_id, validate_id
from assay.spec.normalized import NormalizedSection
from assay.spec.plugins import LOCKS
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
"""Kinds of learning, which differ in training, prediction and analysis: the tasks, and ``multi_label``."""

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
"""Names of tags that Dagster accepts for a run."""

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
"""Tags: texts by name, by which users group experiments."""

LATEST = "latest"


def _id_or_latest(text: str) -> str:
    try:
        return text if text == LATEST else validate_id(text)
    except IdError as error:
        raise ValueError(f"{error} Or {LATEST!r}.") from None


class FoundExperiment(Section):
    """The existing experiment that was found; it is recorded so that the evaluation always uses the same one."""

    experiment_id: str
    """Its ID."""
    run_id: str
    """ID of the run that made its folder."""
    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}/[^/\\\x00.][^/\\\x00]{0,254}$")
    """Its location and the name of its folder there."""
    model: str = Field(pattern=r"^[0-9a-f]{24}$")
    """Fingerprint of its model."""
    scaling: str = Field(default="", pattern=r"^([0-9a-f]{24})?$")
    """Fingerprint of the table whose scaling the model was trained with; empty for a model that reads images."""


class ExistingExperiment(Section):
    """An experiment that was trained before, in this storage or at another location."""

    experiment_id: Annotated[str, AfterValidator(_id_or_latest)]
    """Its ID; or ``latest``: the newest one with the same task and the same prefix of its folder name. The model is
    chosen once and then kept; to evaluate a newer one, create another experiment."""
    location: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    """Name of the location that has it; null: this storage."""
    found: FoundExperiment | None = None
    """The experiment that was found; written by Assay."""

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, value: Any) -> Any:
        return {"experiment_id": value} if isinstance(value, str) else value


def _board_name(text: str) -> str:
    if not ID_PATTERN.fullmatch(text):
        wanted = "1 to 63 characters from a-z, 0-9, '-' and '_', the first a letter or digit"
        raise ValueError(f"got {shorten(text)}; expected {wanted}; nearest valid: {suggest_id(text)!r}")
    return text


class Board(Section):
    """A board: experiments that solve the same problem, of which one is the champion."""

    name: Annotated[str, AfterValidator(_board_name)]
    """Its name, as in ``champion:NAME``: 1 to 63 characters from a-z, 0-9, - and _."""
    metric: MetricName | None = None
    """The metric that decides; null: the task's main metric, such as mae or accuracy."""
    subset: str | None = Field(default=None, min_length=1)
    """The subset whose items decide, the same ones for all; null: test, or else the last that is predicted."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class LockSection(Section):
    """The keys that all locks share. Subclasses add ``kind`` and their own keys."""

    kind: str
    """Kind of the lock."""
    location: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$")
    """Name of the location, such as ``labels`` or ``team/labels``; equal in all experiments that share the lock."""
    timeout_s: float = Field(default=3600.0, gt=0)
    """Longest wait for the lock, in seconds."""
    hold: Literal["asset", "training_to_analysis"] = Field(default="asset", exclude_if=lambda value: value == "asset")
    """``asset``: held while an asset is materialized; ``training_to_analysis``: without a gap from the first of
    trained_model, predictions and analysis that a run makes to the last. Those whose location comes before that of such
    a lock in the alphabet are held as long, so that two experiments never wait for each other."""


class FileLockSpec(LockSection):
    """A lock on a named location, shared by readers or exclusive."""

    kind: Literal["read", "write"] = "read"
    """``read``: shared with other readers; ``write``: exclusive."""


AnyLock = Annotated[FileLockSpec, OrPlugin(LOCKS, Extension, LockSection, ("read", "write"))]
"""A lock of the storage, or of a kind that an installed package adds."""


class ExperimentSpec(Section):
    """One experiment. Every key but ``task`` has a default."""

    task: Task
    """What is predicted: ``regression`` (a number), ``classification`` (a class, or several labels at once),
    ``segmentation`` (the class of every pixel) or ``detection`` (boxes around objects, and their classes)."""
    name: str = Field(default="", max_length=200)
    """Free text, shown in tables."""
    description: str = Field(default="", max_length=10_000)
    """Free text."""
    tags: Tags = {}
    """Tags such as ``{sweep: lr-grid, owner: mia}``, shown with the experiment's runs; SQL can filter by them
    (``tags->>'sweep' = 'lr-grid'``). They don't affect results."""
    board: Board | None = Field(default=None, exclude_if=lambda board: board is None)
    """The board on which the experiment may become champion: ``flowers``, or ``{name: flowers, metric: macro_f1}``. It
    does once it is finished, passes its tests and is surely better than the champion on the same items. No result
    depends on it."""
    seed: int = Field(default=42, ge=0, lt=2**63)
    """Seed of every section that does not set its own."""
    existing_experiment: ExistingExperiment | None = None
    """Evaluate the model of this experiment instead of training one: ``ab12``, ``latest``, or
    ``{experiment_id: ab12, location: team}``. Sections that are left out are taken from that experiment, and
    trained_model always is."""
    exp_folder_pattern: str = Field(default="$PREFIX-$RUN_ID-id_$SHORT_ID", pattern=r"^[A-Za-z0-9$_.-]{1,150}$")
    """Pattern for the name of the experiment's folder; it must contain $RUN_ID or $SHORT_ID and may contain $PREFIX
    (the task's)."""
    exp_out_location: FolderName = "experiments"
    """Location of the experiment's folder: a folder below the storage root, or the name of a location in
    locations.yaml, which then gets a mirror that follows every change."""
    remove_key_list: tuple[str, ...] = ()
    """Keys to remove, at any depth, from every configuration saved in the experiment's folder; a section may have a
    list of its own instead."""
    filelock_dict: dict[str, AnyLock] = {}
    """Additional locks, by name, that each asset holds while it is materialized, or that are held from training to
    analysis."""
    generated_images: GeneratedImagesSection = GeneratedImagesSection()
    """The source of the data."""
    splits: SplitsSection = SplitsSection()
    """The division of the data into subsets."""
    crops: CropsSection = CropsSection()
    """The crops of labelled objects."""
    tabular: TabularSection = TabularSection()
    """The table of rows made from crops or from the user's table."""
    normalized: NormalizedSection = NormalizedSection()
    """The scaling of columns."""
    trained_model: TrainedModelSection = TrainedModelSection()
    """Model and training."""
    predictions: PredictionsSection = PredictionsSection()
    """The predictions of the model."""
    analysis: AnalysisSection = AnalysisSection()
    """Metrics of the predictions."""
    exptests: ExptestsSection = ExptestsSection()
    """Tests of the experiment."""

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
    def _the_model_is_that_of_the_existing_experiment(self) -> Self:
        evaluated = self.existing_experiment
        own = self.trained_model.model_fields_set - {"output_location", "clear_folder", "remove_key_list"}
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
        """The experiment whose model is evaluated; None if this experiment trains its own."""
        return self.existing_experiment.found if self.existing_experiment else None

    @property
    def uses_images(self) -> bool:
        """Whether the source is images rather than a table."""
        return self.generated_images.source.kind != "table"

    @property
    def learning(self) -> Learning:
        """The kind of learning: the task, or ``multi_label`` for a classification with several labels per item."""
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
    """Return the kind of learning in plain values of a spec of any version; empty if they name no task."""
    task = str(values.get("task", ""))
    description = values.get("trained_model", {}).get("data_description", {})
    return "multi_label" if task == "classification" and description.get("multi_label") else task
