"""Finding a trained model by the ID of its experiment, as a champion or by a path, with all that predicting needs.

A model is applied as the stage ``predictions`` applied it: what the stages recorded counts, not what the experiment's
file says by now.

Belongs here: from a name to files and sections, and what to tell of an experiment that can't be used. Does not belong
here: the network, predicting (``model``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from assay.datasets.dates import DateInfo, date_columns
from assay.datasets.filling import marked_columns
from assay.datasets.scaling import NormalizationInfo, read_normalization
from assay.errors import DataError, FileError, SpecError, StorageError, unknown
from assay.experiments.boards import Boards, board_meant
from assay.experiments.folders import PLACES, RESULTS, experiments_with_folder, read_folder_manifest
from assay.experiments.workspace import folders, spec_files, storage_root
from assay.pipeline import DATA_OF_MODELS
from assay.spec.base import Section
from assay.spec.crops import CropsSection
from assay.spec.generated_images import TableSource
from assay.spec.ids import is_id
from assay.spec.loading import load_values
from assay.spec.normalized import NormalizedSection
from assay.spec.predictions import PredictionsSection
from assay.spec.tabular import TabularSection
from assay.storage.files import MANIFEST
from assay.storage.records import MOST_MANIFEST_BYTES, ResultManifest, read_stored
from assay.storage.results import Result, ResultStore
from assay.training.model_card import ModelCard
from assay.training.model_file import CHOSEN, LAST, read_card
from assay.utils.reading import read_record

AnyStage = TypeVar("AnyStage", bound=Section)

NOTHING: Mapping[str, Result] = MappingProxyType({})


@dataclass(frozen=True)
class StoredModel:
    """A model's file, and what the other stages of its experiment do before and after the network.

    Attributes:
        name: How messages name it: ``experiment 'digits'``, or its path.
        experiment_id: ID of the experiment; empty for a single file.
        folder: Folder of the experiment or result; of a single file, the folder that it is in.
        weights: The model's file.
        card: Its description.
        kind: What it was trained on: ``splits`` (whole images), ``crops`` or ``normalized`` (rows).
        predictions: How items are predicted.
        seed: Seed of augmented copies.
        crops: How a picture becomes a crop.
        tabular: How a crop becomes a row.
        scaling: How columns are scaled; None for images.
        source: Plain values of the section ``generated_images.source``; empty where it is not known.
        ancestors: Fingerprint of each result that it was trained on, by stage; empty for a single file.
        root: Storage that the folder belongs to; None for one that was copied elsewhere.
        analysis: Folder of the analysis, if that is not in the folder.
    """

    name: str
    experiment_id: str
    folder: Path
    weights: Path
    card: ModelCard
    kind: str
    predictions: PredictionsSection = field(default_factory=PredictionsSection)
    seed: int = 0
    crops: CropsSection = field(default_factory=CropsSection)
    tabular: TabularSection = field(default_factory=TabularSection)
    scaling: NormalizationInfo | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    ancestors: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    analysis: Path | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the user's table that it reads: its inputs, or those whose gaps or parts of dates an input is."""
        dates = date_columns(self.scaling.dates) if self.scaling else {}
        return tuple(dict.fromkeys(dates.get(name, name) for name in self.plain_columns))

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """The same columns, with the parts of dates that it reads in place of the dates."""
        marks = marked_columns(self.scaling.filled) if self.scaling else {}
        return tuple(dict.fromkeys(marks.get(name, name) for name in self.card.inputs.columns))

    @property
    def dates(self) -> tuple[DateInfo, ...]:
        """How the columns of dates that it reads become parts."""
        return tuple(info for info in self.scaling.dates if info.name in self.columns) if self.scaling else ()

    def made_from(self, stage: str) -> Path | None:
        """Return the folder of the result of a stage that the model was trained on; None if it is not stored here."""
        fingerprint = self.ancestors.get(stage)
        found = ResultStore(self.root).find(stage, fingerprint) if self.root and fingerprint else None
        return found.folder if found else None


PORTABLE, PORTABLE_WEIGHTS = "assay-model.json", "model.safetensors"
"""A folder with these two files is a model that needs nothing else, wherever it is."""

_OF_OTHER_DATA = ("path", "subset_column", "group_column")
"""Keys of a table's source that say nothing about reading new rows."""


class _PortableModel(Section):
    """What the other stages do before and after the network, in a file beside the model's."""

    format: Literal["assay-model-1"] = "assay-model-1"
    experiment_id: str = ""
    kind: str
    seed: int
    predictions: PredictionsSection
    crops: CropsSection
    tabular: TabularSection
    scaling: NormalizationInfo | None = None
    source: dict[str, Any] = {}


def portable_text(stored: StoredModel) -> str:
    """Return the content of ``PORTABLE`` for a model: what predicting needs besides the model's file, and no paths."""
    known = {"kind", "max_pixels", *TableSource.model_fields}.difference(_OF_OTHER_DATA)
    portable = _PortableModel(
        experiment_id=stored.experiment_id,
        kind=stored.kind,
        seed=stored.seed,
        predictions=stored.predictions,
        crops=stored.crops,
        tabular=stored.tabular,
        scaling=stored.scaling,
        source={key: value for key, value in stored.source.items() if key in known},
    )
    return portable.model_dump_json(indent=1)


def _portable_model(folder: Path) -> StoredModel:
    weights = folder / PORTABLE_WEIGHTS
    try:
        found = _PortableModel.model_validate(read_record(folder / PORTABLE, MOST_MANIFEST_BYTES))
    except (FileError, ValidationError) as error:
        raise StorageError(f"{folder / PORTABLE} is damaged, or of another version of Assay: {error}") from error
    values = {name: getattr(found, name) for name in _PortableModel.model_fields if name != "format"}
    return StoredModel(name=str(folder), folder=folder, weights=weights, card=read_card(weights), **values)


def find_model(name: str | Path) -> StoredModel:
    """Return the model that a name means.

    Args:
        name: ID of an experiment of this project; ``champion`` or ``champion:NAME``; or the path of an experiment's
            folder, wherever it is, of a result of ``trained_model``, or of a model's file.

    Raises:
        StorageError: There is no such experiment, champion or file, it is not trained yet, or it lacks something.
    """
    if isinstance(name, str) and (board := _board(name)) is not None:
        return _champion(board)
    if isinstance(name, str) and (experiment_id := experiment_named(name)):
        return _in_folder(_experiment_folder(experiment_id), f"Experiment {experiment_id!r}", experiment_id)
    path = Path(name)
    if not path.exists():
        raise StorageError(f"{_no_experiment(str(name))} There is no file or folder of this name either.")
    path = path.absolute()
    if path.is_file():
        folder = path.parent.parent if path.parent.name == Path(CHOSEN).parent.name else path.parent
        if (folder / MANIFEST).is_file():
            return _in_folder(folder, str(path), "", path)
        return _single_file(path)
    if (path / PORTABLE).is_file():
        return _portable_model(path)
    if not (path / MANIFEST).is_file():
        raise StorageError(
            f"{path} is no folder of an experiment: it has no {MANIFEST}. Give an experiment's ID, the folder that "
            "'assay path ID' prints, or a model's .safetensors file."
        )
    return _in_folder(path, str(path), "")


def experiment_named(name: str) -> str:
    """Return the ID of the experiment that a name means; empty if it means none, so that it may be a path."""
    return name if is_id(name) and (name in spec_files().ids() or folders().find(name)) else ""


def _board(name: str) -> str | None:
    """Return the board whose champion a name means, see ``board_meant``; before there are boards, it may be a path."""
    board = board_meant(storage_root(), name, spec_files())
    return None if board == "" and Path(name).exists() and not Boards(storage_root()).names() else board


def _champion(board: str) -> StoredModel:
    """Return the model that was promoted, also if its experiment was trained anew or removed since."""
    boards = Boards(storage_root())
    found, promotion = boards.champion(board)
    name = f"Champion {promotion.experiment_id!r} of board {found!r}"
    if boards.is_present(promotion):
        return _in_folder(_experiment_folder(promotion.experiment_id), name, promotion.experiment_id)
    pinned = boards.results(found, promotion)
    model = _in_folder(pinned["trained_model"].folder, name, promotion.experiment_id, pinned=pinned)
    return replace(model, analysis=pinned["analysis"].folder)


def _experiment_folder(experiment_id: str) -> Path:
    folder = folders().find(experiment_id)
    if folder is None:
        raise StorageError(f"Experiment {experiment_id!r} is not trained yet. Next: assay run {experiment_id}")
    return folder.path


def _no_experiment(name: str) -> str:
    known = {*spec_files().ids(), *experiments_with_folder(storage_root())}
    return unknown("Experiment", name, known)


def _single_file(path: Path) -> StoredModel:
    """Return a model whose file is all that there is; its experiment's other keys have their defaults."""
    card = read_card(path)
    kind = _kind_of(card)
    if kind == "normalized":
        raise StorageError(
            f"{path}: the model was trained on scaled rows, and its file does not say how they were scaled. Give the "
            "ID or the folder of its experiment."
        )
    return StoredModel(str(path), "", path.parent, path, card, kind, seed=card.seed)


def _kind_of(card: ModelCard) -> str:
    (kind,) = card.trained_on
    if kind not in DATA_OF_MODELS:
        raise StorageError(
            f"The model was trained on {kind}, which this version of Assay does not know. Train it again."
        )
    return kind


def _in_folder(
    folder: Path, name: str, experiment_id: str, weights: Path | None = None, pinned: Mapping[str, Result] = NOTHING
) -> StoredModel:
    """Return the model in an experiment's folder, or in a result of ``trained_model``.

    Args:
        folder: The folder.
        name: How messages name it.
        experiment_id: Its experiment; empty if it is not known.
        weights: The model's file, if it was named.
        pinned: Results by stage that count in place of those that the experiment has by now.
    """
    records = _Records(folder, name, experiment_id, pinned)
    trained = records.trained
    predictions, seed = _predictions_of(records)
    path = weights or folder / (CHOSEN if predictions.model_loader.kind == "chosen" else LAST)
    try:
        card = read_card(path)
    except StorageError as error:
        raise StorageError(f"{name}: {error} Next: {records.run_again}") from error
    kind = _kind_of(card)
    return StoredModel(
        name=name,
        experiment_id=experiment_id,
        folder=folder,
        weights=path,
        card=card,
        kind=kind,
        predictions=predictions,
        seed=card.seed if seed is None else seed,
        crops=records.section("crops", CropsSection),
        tabular=records.section("tabular", TabularSection),
        scaling=_scaling_of(records, trained) if kind == "normalized" else None,
        source=records.values("generated_images").get("source", {}),
        ancestors=trained["ancestors"],
        root=records.root,
    )


def _predictions_of(records: "_Records") -> tuple[PredictionsSection, int | None]:
    """Return how the items of the experiment were predicted, and the seed; None: that of the training."""
    manifest = records.manifest_in_folder("predictions")
    section = records.section("predictions", PredictionsSection)
    return section, (manifest["seed"] if manifest and isinstance(manifest.get("seed"), int) else section.seed)


def _scaling_of(records: "_Records", trained: Mapping[str, Any]) -> NormalizationInfo:
    file = records.section("normalized", NormalizedSection).output_norm_feature_info_file_name
    place = records.place_of("normalized", trained["ancestors"].get("normalized", ""))
    if place is None or not (place / file).is_file():
        raise StorageError(
            f"{records.name}: how the columns of the model were scaled is not known any more ({file} is missing). "
            f"Next: {records.run_again}"
        )
    return read_normalization(place / file)


class _Records:
    """What an experiment's folder, and the results that it was made from, say about its stages."""

    def __init__(self, folder: Path, name: str, experiment_id: str, pinned: Mapping[str, Result]) -> None:
        self.folder, self.name, self.experiment_id, self.pinned = folder, name, experiment_id, pinned
        self.root = _root_of(folder)
        manifest = self._read(folder / MANIFEST)
        self.is_result = manifest is not None and manifest.get("stage") == "trained_model"
        self.results = {} if self.is_result else (read_folder_manifest(folder) or {"results": {}})["results"]
        if not self.is_result and "trained_model" not in self.results:
            raise StorageError(f"{name} is not trained yet. Next: {self.run_again}")
        trained = manifest if self.is_result else self.manifest_in_folder("trained_model")
        if trained is None:
            raise StorageError(f"{name} lacks {self._manifest_path('trained_model')}. Next: {self.run_again}")
        self.trained: Mapping[str, Any] = trained

    @property
    def run_again(self) -> str:
        """The command that makes what is missing."""
        return f"assay run {self.experiment_id or 'ID, in the project that the folder is from'}"

    def manifest_in_folder(self, stage: str) -> dict[str, Any] | None:
        """Return the manifest of a stage's result that is pinned or in the experiment's folder, if any."""
        if stage in self.pinned:
            return self.pinned[stage].manifest
        return None if self.is_result else self._read(self._manifest_path(stage), ResultManifest)

    def _manifest_path(self, stage: str) -> Path:
        return self.folder / RESULTS / stage / MANIFEST

    def _read(self, path: Path, shape: type[Any] | None = None) -> dict[str, Any] | None:
        try:
            return read_stored(path, shape, MOST_MANIFEST_BYTES) if shape else read_record(path, MOST_MANIFEST_BYTES)
        except FileNotFoundError:
            return None
        except (FileError, StorageError) as error:
            raise StorageError(f"{self.name}: {error}. Next: {self.run_again}") from error

    def section(self, stage: str, model: type[AnyStage]) -> AnyStage:
        """Return the section of a stage, as its result recorded it or, without one, as the experiment's file has it."""
        values = {key: value for key, value in self.values(stage).items() if key in model.model_fields}
        try:
            return model.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join([stage, *map(str, first["loc"])])
            raise StorageError(
                f"{self.name}: {key} is not valid in this version of Assay: {first['msg']}. Next: {self.run_again}"
            ) from error

    def values(self, stage: str) -> dict[str, Any]:
        """Return the plain values of a stage's section."""
        made_from = self.trained["ancestors"].get(stage)
        manifest = self.manifest_in_folder(stage)
        if manifest is not None and (made_from is None or manifest["fingerprint"] == made_from):
            return dict(manifest["section"])
        stored = ResultStore(self.root).find(stage, made_from) if self.root and made_from else None
        return dict(stored.manifest["section"] if stored else self._configured(stage))

    def _configured(self, stage: str) -> Mapping[str, Any]:
        path = self.folder / "configs" / "experiment.yaml"
        try:
            content = load_values(path) if path.is_file() else {}
        except (SpecError, FileError) as error:
            raise StorageError(f"{self.name}: {error} Next: {self.run_again}") from error
        section = content.get(stage)
        return section if isinstance(section, dict) else {}

    def place_of(self, stage: str, made_from: str) -> Path | None:
        """Return the folder with the files of the result of a stage that the model was made from.

        An evaluation has the scaling of the model that it evaluates, in a result of its own.
        """
        if stage in self.pinned:
            return self.pinned[stage].folder
        own = self.folder / PLACES[stage]
        if not self.is_result and (self.results.get(stage) == made_from or "existing_experiment" in self._evaluates()):
            return own
        stored = ResultStore(self.root).find(stage, made_from) if self.root else None
        return stored.folder if stored else None

    def _evaluates(self) -> Mapping[str, Any]:
        path = self.folder / "configs" / "experiment.yaml"
        values = load_values(path) if path.is_file() else {}
        return {key: value for key, value in values.items() if key == "existing_experiment" and value}


def _root_of(folder: Path) -> Path | None:
    """Return the storage that a folder belongs to; None for one that was copied elsewhere."""
    return next((parent for parent in folder.parents if (parent / "experiments_index").is_dir()), None)


def predicted_in(model: StoredModel) -> str:
    """Return the precision in which a model predicts, ``fp32`` or ``bf16``: that of its training, or the spec's."""
    return model.predictions.precision or str(model.card.section.train_params.precision)


def note_on_precision(model: StoredModel) -> str:
    """Return what to know where a model predicts less exactly than its exports; empty where both compute alike."""
    if predicted_in(model) == "fp32":
        return ""
    return (
        "The model was trained, and predicts here, in bfloat16: scores of 'assay predict' and of the stage predictions "
        "differ from an export's by up to some hundredths. With predictions.precision: fp32 they are the same; then "
        "only the predictions and their analysis are made anew."
    )


def require_kind(model: StoredModel, wanted: str, given: str) -> None:
    """Refuse what is no input of a model.

    Args:
        model: The model.
        wanted: ``pictures`` or ``a table``, what is given.
        given: How messages name it.

    Raises:
        DataError: The model takes the other kind; tells both.
    """
    takes = "a table" if is_table_model(model) else "pictures"
    if takes != wanted:
        what = model.card.task.replace("_", "-")
        columns = f" with the columns {', '.join(model.columns[:8])}" if takes == "a table" else ""
        nxt = "a CSV or Parquet file" if takes == "a table" else "picture files or a folder of them"
        raise DataError(
            f"{model.name} is a {what} model that predicts {takes}{columns}, but {given} is {wanted}. Give {nxt}, or "
            f"a model that was trained on {wanted}."
        )


def is_table_model(model: StoredModel) -> bool:
    """Return whether a model reads the user's own rows, rather than pictures."""
    return model.card.inputs.view == "columns" or model.source.get("kind") == "table"
