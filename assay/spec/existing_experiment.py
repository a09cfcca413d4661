"""Key ``existing_experiment``: whose model is evaluated, instead of training one.

Belongs here: the key, and what is known once the experiment was found. Does not belong here: finding it
(``assay.experiments.evaluation``).
"""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from assay.errors import IdError
from assay.spec.base import Section
from assay.spec.ids import validate_id

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
