"""The base of all spec sections: frozen, typed, without unknown keys; and tools for their types.

Belongs here: the base model, field types of several sections, inspecting annotations. Does not belong here: any
section, kinds that installed packages add (``extensions``).
"""

import ast
import inspect
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_jsonable_python

from assay.errors import shorten


@cache
def _texts_below(model: type) -> dict[str, str]:
    """Return the text below each annotated attribute of a class, from its source; empty where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):  # such as a class of an interactive session
        return {}
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for definition in ast.parse(source).body
        if isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


class Section(BaseModel):
    """Base of all spec models: immutable, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        """Note the fields that were added after results existed."""
        super().__pydantic_init_subclass__(**keywords)
        added = {name: field.default for name, field in cls.model_fields.items() if ADDED in field.metadata}
        ADDED_FIELDS.update(added)

    @classmethod
    def described_fields(cls) -> dict[str, FieldInfo]:
        """Return the fields, each described by the text below it in its class.

        Pydantic's ``use_attribute_docstrings`` parses the source of every section at import, which was a fifth of the
        time of a command's start; only the schema, the Launchpad and the documentation show the descriptions.
        """
        for name, field in cls.model_fields.items():
            if field.description is None:
                owner = next(each for each in cls.__mro__ if name in vars(each).get("__annotations__", ()))
                field.description = _texts_below(owner).get(name)
        return cls.model_fields

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema with descriptions of the fields."""
        written = handler(schema)
        properties = handler.resolve_ref_schema(written).get("properties", {})
        for name, field in cls.described_fields().items():
            if field.description and name in properties:
                properties[name].setdefault("description", field.description)
        return written

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_is_a_number(cls, values: Any) -> Any:
        """Refuse what pydantic would take for 1 or 0, such as ``epochs: true``."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, bool) and name in cls.model_fields:
                types = alternatives(cls.model_fields[name].annotation)
                if bool not in types and Any not in types:
                    raise ValueError(f"{name} is {str(value).lower()}, which is a truth value; expected another value")
        return values

    def content(self) -> dict[str, Any]:
        """Return the fields that determine a result, at any depth.

        These are all but those marked ``PLACE_ONLY``, and but those marked ``ADDED`` that have their default.
        """
        return self.model_dump(mode="json", exclude=self.placed())

    def added_names(self) -> Iterator[tuple[str, str]]:
        """Yield group and name of what this section names and an installed package has; sections with kinds aside."""
        return iter(())

    def placed(self) -> dict[str, Any]:
        """Return the fields that ``content`` leaves out, in the form of pydantic's ``exclude``."""
        own = {name: True for name, field in type(self).model_fields.items() if self._is_left_out(name, field)}
        within = {name: value.placed() for name, value in self if isinstance(value, Section) and name not in own}
        return {**own, **{name: placed for name, placed in within.items() if placed}}

    def _is_left_out(self, name: str, field: FieldInfo) -> bool:
        return PLACE_ONLY in field.metadata or (ADDED in field.metadata and getattr(self, name) == field.default)


class _PlaceOnly:
    """Marks a field that affects where or whether a result is written, but not its content."""

    def __repr__(self) -> str:
        return "PLACE_ONLY"


PLACE_ONLY = _PlaceOnly()


class _Added:
    """Marks a field that results may lack which were made before it existed."""

    def __repr__(self) -> str:
        return "ADDED"


ADDED = _Added()
"""With its default, the field is not part of the content: results that exist keep their fingerprints."""

ADDED_FIELDS: dict[str, Any] = {}
"""Names and defaults of all fields marked ``ADDED``."""


def is_added_and_set(key: str, value: Any) -> bool:
    """Return whether a dotted key of a section is, or lies in, a field marked ``ADDED``, and has not its default."""
    parts = key.split(".")
    for place, name in enumerate(parts):
        if name in ADDED_FIELDS:
            default = to_jsonable_python(ADDED_FIELDS[name])
            for inner in parts[place + 1 :]:
                default = default.get(inner) if isinstance(default, dict) else None
            return bool(value != default)
    return False


RESERVED_FOLDERS = frozenset(
    (
        *(
            "adopted",
            "automation",
            "boards",
            "compare",
            "experiments_index",
            "gates",
            "locks",
            "pointers",
            "runs",
            "tables",
        ),
        *("tombstones", "tuning", "source_digests.json", "warehouse.duckdb", "warehouse.duckdb.wal"),
    )
)
"""Names below the storage root that the storage keeps for itself, in lower case."""


def _not_reserved(name: str) -> str:
    if name.lower() in RESERVED_FOLDERS:
        raise ValueError(f"got {name!r}, which the storage keeps for itself; nearest valid: {name + '-1'!r}")
    return name


FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"), AfterValidator(_not_reserved)]
"""Name of a folder below the storage root, or of a location elsewhere."""

Location = Annotated[FolderName, PLACE_ONLY]
"""Name of the folder of a stage's results."""

Switch = Annotated[bool, PLACE_ONLY]
"""A flag that does not affect the content of a result."""

RemovedKeys = Annotated[tuple[str, ...] | None, PLACE_ONLY, Field(exclude_if=lambda names: names is None)]
"""Keys that the saved configuration of a section lacks; null, which no record mentions: the experiment's."""

SecretReference = Annotated[str, Field(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$")]
"""A secret in a plugin's section: ``${NAME}``, with the name of an environment variable. The spec and all its copies
contain only the name; ``assay.spec.secrets.resolved`` returns the value where it is used."""

MOST_BYTES_OF_PATH, MOST_BYTES_OF_NAME = 4095, 255
"""Limits of file systems; asking for what exceeds them is an error of the operating system."""


def require_path(text: str) -> str:
    """Return a text that may be a path.

    Raises:
        ValueError: No file system can have it.
    """
    path = os.fsencode(text)
    if b"\0" in path or len(path) > MOST_BYTES_OF_PATH:
        raise ValueError(f"got {shorten(text)}; expected a path, of at most {MOST_BYTES_OF_PATH:,} bytes")
    if any(len(name) > MOST_BYTES_OF_NAME for name in path.split(b"/")):
        raise ValueError(f"got {shorten(text)}; expected at most {MOST_BYTES_OF_NAME} bytes between two slashes")
    return text


UserPath = Annotated[str, Field(min_length=1), AfterValidator(require_path)]
"""Path of the user's data; ``~`` is the home folder."""

MOST_STEPS = 10**9
"""Upper limit of counts that have no other one; a number of 300 digits would fail only when it is used."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
"""A number from 0 to 1."""


class ImageSize(Section):
    """Width and height of an image."""

    width: int = Field(ge=1, le=16384)
    """Width in pixels."""
    height: int = Field(ge=1, le=16384)
    """Height in pixels."""


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def alternatives(annotation: Any) -> list[Any]:
    """Return the alternatives of a type that may be optional, annotated or a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for argument in get_args(annotation) for inner in alternatives(argument)]
    return [annotation]


def models_in(annotations: Iterable[Any]) -> list[type[Section]]:
    """Return the sections among the alternatives of some types."""
    flat = [inner for annotation in annotations for inner in alternatives(annotation)]
    return [inner for inner in flat if isinstance(inner, type) and issubclass(inner, Section)]


def element_types(annotation: Any) -> list[Any]:
    """Return the element types of a list or tuple, or the value types of a dict."""
    found = alternatives(annotation)
    return [get_args(inner)[-1 if get_origin(inner) is dict else 0] for inner in found if get_args(inner)]


def literals_in(annotation: Any) -> list[Any]:
    """Return the values of a literal type."""
    return [value for inner in alternatives(annotation) if get_origin(inner) is Literal for value in get_args(inner)]
