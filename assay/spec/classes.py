"""Keys ``trained_model.data_description``: inputs, target and classes, and which labels belong to which class.

This is the only place that maps labels to classes; training, prediction and analysis all use it. Where a default
depends on the task, the key's default here is null, and ``defaults`` fills it in.

Belongs here: these keys, rules on their values, the map from labels to classes. Does not belong here: tables, tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from assay.errors import MAX_PROBLEMS, nearest, shorten
from assay.spec.base import ADDED, Section, repeated
from assay.spec.yaml_text import brief


class ClassDescription(Section):
    """A class: only its name, or also its subclasses and weight."""

    name: str = Field(min_length=1)
    """Name of the class; a label with this name belongs to it."""
    subclasses: tuple[str, ...] = ()
    """Labels, or other classes with all their labels, that belong to this class too."""
    weight: float = Field(default=1.0, gt=0)
    """Weight of the class in the loss; multiplied by learner.class_weights."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping | cls):
            return value
        written = brief(value) if isinstance(value, int | float | None) else "cat"
        raise ValueError(
            f"got {shorten(value)}; expected a name such as {written!r} in quotes, or {{name: …, subclasses: …}}"
        )

    @model_serializer(mode="wrap")
    def _as_written(self, plain: SerializerFunctionWrapHandler) -> Any:
        return self.name if not self.subclasses and self.weight == 1.0 else plain(self)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of both forms: a name, or an object."""
        written = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(schema, handler))
        name = {"type": "string", "minLength": 1, "description": "Name of a class without subclasses."}
        return {"anyOf": [name, dict(written)], "description": cls.__doc__ or ""}


Input = Literal["splits", "crops", "normalized"]
"""The stage that provides the model's inputs."""


REDUCTIONS = (1, 2, 4, 8, 16, 32, 64)
"""Factors by which the images of a detection may be reduced."""


class DataDescription(Section):
    """The input columns or images, the target, and the classes."""

    input: Input | None = None
    """Inputs of the model: whole images (``splits``), crops of single objects (``crops``) or rows of the table
    (``normalized``). Null: whole images for segmentation and detection, crops for classification, rows for regression
    and tables."""
    inputs: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Input columns, as names or patterns with ``*``; null: all pixels, or all columns but the target. Tables only."""
    target: str | None = Field(default=None, min_length=1)
    """Target column; null: the number or the class in the data."""
    classes: tuple[ClassDescription, ...] | None = Field(default=None, min_length=1)
    """Classes in the order of the outputs, as names or as ``{name: even, subclasses: ["0", "2"], weight: 2.0}``; null:
    the sorted labels of the training rows."""
    multi_label: bool = False
    """Whether an item may have several classes at once, or none. Classification only."""
    label_separator: str | None = Field(default=None, min_length=1, max_length=8)
    """Separator between the labels of an item, such as ``|`` in ``cat|outdoor``; null: an item has one label. With
    multi_label only."""
    labels_of_no_class: tuple[str, ...] = ()
    """Labels of items that belong to none of the classes, such as ``["nothing"]``; any other label without a class is
    an error. With multi_label only."""
    class_mapping: dict[str, str] = {}
    """Class of each label, such as ``{"0": small, "1": small, "2": large}``; empty: every label is its own class. With
    multi_label, list labels as subclasses instead."""
    image_size: int | None = Field(default=None, ge=4, le=8192)
    """Crops: side in pixels to which they are resized, with a border if they are not square; null: 24, or 16 if no crop
    is larger than that. Whole images: longest side in pixels, to which larger ones are reduced; null: chosen so that
    the median object has about 48 pixels."""
    window_size: int | None = Field(default=None, ge=32, le=4096, multiple_of=16)
    """Side in pixels of the square windows, mostly around objects, that are cut out of whole images for training; null:
    64 for segmentation, 96 for detection. For these tasks only."""
    reductions: Annotated[tuple[int, ...] | None, ADDED, Field(min_length=1)] = None
    """Factors by which whole images are reduced further, such as ``[1, 2, 4]``, so that the windows show larger
    objects: at each of them, the network learns and finds the objects of the sizes that suit its windows. Ascending
    powers of two from 1 on; null: 1, and as many more as it takes for windows to show nearly all training objects
    whole. For detection only."""
    standardize: bool | None = None
    """Standardize each image or row of pixels to mean 0 and standard deviation 1, so that brightness and contrast do
    not matter; null: yes for images and pixels, no for other columns, which have their own units."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty if they are taken from the data."""
        return tuple(each.name for each in self.classes or ())

    @field_validator("reductions")
    @classmethod
    def _reductions_halve(cls, factors: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if factors is not None and factors not in [REDUCTIONS[:end] for end in range(1, len(REDUCTIONS) + 1)]:
            largest = max(1, min(max(factors), REDUCTIONS[-1]))
            valid = [factor for factor in REDUCTIONS if factor == 1 or factor < 2 * largest]
            raise ValueError(
                f"reductions is {list(factors)}; expected powers of two from 1 to {REDUCTIONS[-1]}, each twice the one "
                f"before it; nearest valid: {valid}"
            )
        return factors

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        check_classes(self.classes or (), exclusive=not self.multi_label)
        if len(self.class_names) == 1 and not self.multi_label:
            raise ValueError(f"classes has only {self.class_names[0]!r}; expected two or more, or multi_label: true")
        return self

    @model_validator(mode="after")
    def _labels_have_one_meaning(self) -> Self:
        without_effect = [key for key in ("label_separator", "labels_of_no_class") if getattr(self, key)]
        if without_effect and not self.multi_label:
            raise ValueError(f"{without_effect[0]} has no effect without multi_label: true; leave one of them out")
        if self.class_mapping and self.multi_label:
            raise ValueError(
                "class_mapping gives a label one class, but multi_label is true; list labels as subclasses of classes"
            )
        if self.class_mapping and any(each.subclasses for each in self.classes or ()):
            raise ValueError("class_mapping and subclasses both say which labels a class has; give one of them")
        wrong = sorted(set(self.class_mapping.values()) - set(self.class_names))
        if self.classes and wrong:
            raise ValueError(f"class_mapping maps to {', '.join(wrong)}, not in classes")
        return self


def check_classes(classes: Sequence[ClassDescription], exclusive: bool) -> None:
    """Refuse classes that contradict each other.

    Args:
        classes: In the order of the outputs.
        exclusive: Whether an item belongs to exactly one class, so that no two classes may share a label.

    Raises:
        ValueError: A class or subclass is given twice, a class contains itself, or exclusive classes share a label.
    """
    names = [each.name for each in classes]
    if twice := repeated(names):
        raise ValueError(f"classes names {', '.join(twice)} twice; every class has its own name")
    for each in classes:
        if twice := repeated(each.subclasses):
            raise ValueError(f"classes: {each.name} lists {', '.join(twice)} twice among its subclasses")
    if circle := _circle({one.name: one for one in classes}):
        raise ValueError(f"classes: {' contains '.join(circle)}; a class can't contain itself")
    shared = {label: places for label, places in classes_of_labels(classes).items() if len(places) > 1}
    if exclusive and shared:
        label, places = next(iter(shared.items()))
        owners = " and to ".join(names[place] for place in places)
        raise ValueError(
            f"classes: label {label!r} belongs to {owners}, but an item has one class only; "
            "make the classes disjoint, or set multi_label: true"
        )


MOST_MEMBERS = 300_000
"""Largest number of pairs of a class and one of its labels: 20,000 classes in a chain would have 200 million."""


def classes_of_labels(classes: Sequence[ClassDescription]) -> dict[str, tuple[int, ...]]:
    """Return the indices of the classes that each label belongs to, ascending.

    A label belongs to the class of its name and to every class that has it among its subclasses, directly or through
    other classes. With the classes 0, 1, even (0, 2) and odd (1), the label 0 gives (0, 2) and the label 2 gives (2,).

    Args:
        classes: In the order of the outputs; no class contains itself.

    Raises:
        ValueError: So many classes contain each other that there are more than ``MOST_MEMBERS`` pairs of both.
    """
    by_name = {each.name: each for each in classes}
    places: dict[str, list[int]] = {}
    members = 0
    for place, each in enumerate(classes):
        for label in _all_labels(each, by_name):
            places.setdefault(label, []).append(place)
            members += 1
            if members > MOST_MEMBERS:
                raise ValueError(f"classes: they have more than {MOST_MEMBERS:,} labels with those of their subclasses")
    return {label: tuple(found) for label, found in places.items()}


def unknown_subclasses(classes: Sequence[ClassDescription], labels: Sequence[str]) -> list[str]:
    """Return one line per subclass that is neither a class nor a label of the data, with the nearest valid name.

    Args:
        classes: All classes.
        labels: Labels that occur.
    """
    known = dict.fromkeys([*(each.name for each in classes), *labels])
    missing = [(each.name, name) for each in classes for name in each.subclasses if name not in known]
    return [
        f"{owner}: {name!r}{did_you_mean(name, list(known)) if number < MAX_PROBLEMS else ''}"
        for number, (owner, name) in enumerate(missing)
    ]


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """Return ``; did you mean …?`` with the nearest choice, or an empty text if none resembles the name."""
    guess = nearest(name, choices)
    return f"; did you mean {guess!r}?" if guess else ""


def _all_labels(each: ClassDescription, by_name: Mapping[str, ClassDescription]) -> Iterator[str]:
    """Yield the labels of a class in the order of its subclasses; a class that several contain is entered once."""
    seen: set[str] = set()
    pending = [each.name]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            yield name
            pending += reversed(by_name[name].subclasses if name in by_name else ())


def _circle(by_name: Mapping[str, ClassDescription]) -> list[str]:
    """Return the chain of names from a class back to itself; empty if none contains itself.

    Every class is entered once and without recursion: classes within each other make 2^n chains, of any length.
    """
    done: set[str] = set()
    for first in by_name:
        path = {first: iter(by_name[first].subclasses)}
        while path:
            last = next(reversed(path))
            name = next(path[last], None)
            if name is None:
                del path[last]
                done.add(last)
            elif name in path:
                names = list(path)
                return [*names[names.index(name) :], name]
            elif name in by_name and name not in done:
                path[name] = iter(by_name[name].subclasses)
    return []
