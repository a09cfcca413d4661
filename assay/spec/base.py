"""What every section of a spec shares: frozen, typed, no unknown keys, a fingerprintable dump.

Belongs here: the base model and field types used by several sections. Does not belong here: any section.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all spec models: immutable, and a key that does not exist is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    def content(self) -> dict[str, Any]:
        """Return what determines the result: every field but those marked ``place_only``, at any depth."""
        return self.model_dump(mode="json", exclude=self.placed())

    def placed(self) -> dict[str, Any]:
        """Return the fields that are ``place_only``, as pydantic wants to be told what to exclude."""
        own = {name: True for name, field in type(self).model_fields.items() if PLACE_ONLY in field.metadata}
        within = {name: value.placed() for name, value in self if isinstance(value, Section) and name not in own}
        return {**own, **{name: placed for name, placed in within.items() if placed}}


class _PlaceOnly:
    """Marks a field that says where or whether a result is written, not what is in it."""

    def __repr__(self) -> str:
        return "PLACE_ONLY"


PLACE_ONLY = _PlaceOnly()

Location = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"), PLACE_ONLY]
"""Name of a folder below the storage root."""

Switch = Annotated[bool, PLACE_ONLY]
"""A yes or no that does not change what a result contains."""

SecretReference = Annotated[str, Field(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$")]
"""A secret that a plugin's section needs: ``${NAME}``, the name of an environment variable. The spec, and what is saved
of it, holds the name alone; ``assay.spec.secrets.resolved`` gives the value where it is used."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
"""A number from 0 to 1."""


class ImageSize(Section):
    """Width and height of an image."""

    width: int = Field(ge=1, le=16384)
    """Width in pixels."""
    height: int = Field(ge=1, le=16384)
    """Height in pixels."""
