"""What the classes are: their names, the labels that belong to each, and how much each counts.

The only place that says which label belongs to which class; training, prediction and analysis all ask here. Belongs
here: the keys of a class, rules on all of them together, from labels to classes. Does not belong here: tables, tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from assay.errors import nearest
from assay.spec.base import Section


class ClassDescription(Section):
    """A class: its name alone, or with what belongs to it and how much it counts."""

    name: str = Field(min_length=1)
    """Name of the class; a label of this name belongs to it."""
    subclasses: tuple[str, ...] = ()
    """Labels, or other classes with all their labels, that belong to this class too."""
    weight: float = Field(default=1.0, gt=0)
    """How much the class counts in the loss; multiplies learner.class_weights."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping | cls):
            return value
        raise ValueError(
            f"got {value!r}; expected a name such as {str(value)!r} in quotes, or {{name: …, subclasses: …}}"
        )

    @model_serializer(mode="wrap")
    def _as_written(self, plain: SerializerFunctionWrapHandler) -> Any:
        return self.name if not self.subclasses and self.weight == 1.0 else plain(self)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of both spellings: a name, or an object."""
        written = handler.resolve_ref_schema(handler(schema))
        name = {"type": "string", "minLength": 1, "description": "Name of a class without subclasses."}
        return {"anyOf": [name, dict(written)], "description": cls.__doc__ or ""}


def check_classes(classes: Sequence[ClassDescription], exclusive: bool) -> None:
    """Refuse classes that contradict each other.

    Args:
        classes: In the order of the outputs.
        exclusive: Whether an item belongs to one class only, so that no two classes may share a label.

    Raises:
        ValueError: A class or subclass is given twice, a class contains itself, or exclusive classes share a label.
    """
    names = [each.name for each in classes]
    if twice := _repeated(names):
        raise ValueError(f"classes names {', '.join(twice)} twice; every class has its own name")
    for each in classes:
        if twice := _repeated(each.subclasses):
            raise ValueError(f"classes: {each.name} lists {', '.join(twice)} twice among its subclasses")
        if circle := _circle(each.name, {one.name: one for one in classes}):
            raise ValueError(f"classes: {' contains '.join(circle)}; a class can't contain itself")
    shared = {label: places for label, places in classes_of_labels(classes).items() if len(places) > 1}
    if exclusive and shared:
        label, places = next(iter(shared.items()))
        owners = " and to ".join(names[place] for place in places)
        raise ValueError(
            f"classes: label {label!r} belongs to {owners}, but an item has one class only; "
            "make the classes disjoint, or set multi_label: true"
        )


def classes_of_labels(classes: Sequence[ClassDescription]) -> dict[str, tuple[int, ...]]:
    """Return the indices of the classes that each label belongs to, ascending.

    A label belongs to the class of its name and to every class that has it, directly or through other classes, among
    its subclasses. With the classes 0, 1, even (0, 2) and odd (1), the label 0 gives (0, 2) and the label 2 gives (2,).

    Args:
        classes: In the order of the outputs; without circles.
    """
    by_name = {each.name: each for each in classes}
    places: dict[str, list[int]] = {}
    for place, each in enumerate(classes):
        for label in dict.fromkeys(_all_labels(each, by_name)):
            places.setdefault(label, []).append(place)
    return {label: tuple(found) for label, found in places.items()}


def unknown_subclasses(classes: Sequence[ClassDescription], labels: Sequence[str]) -> list[str]:
    """Return one line per subclass that is neither a class nor a label of the data, with the nearest that is.

    Args:
        classes: All classes.
        labels: Labels that occur.
    """
    known = [*(each.name for each in classes), *labels]
    return [
        f"{each.name}: {name!r}{did_you_mean(name, known)}"
        for each in classes
        for name in each.subclasses
        if name not in known
    ]


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """Return the question for the nearest choice, or nothing when none resembles the name."""
    guess = nearest(name, choices)
    return f"; did you mean {guess!r}?" if guess else ""


def _all_labels(each: ClassDescription, by_name: Mapping[str, ClassDescription]) -> Iterator[str]:
    yield each.name
    for name in each.subclasses:
        if name in by_name:
            yield from _all_labels(by_name[name], by_name)
        else:
            yield name


def _circle(name: str, by_name: Mapping[str, ClassDescription], path: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names from a class back to itself, nothing when there is no such way."""
    if name in path:
        return (*path[path.index(name) :], name)
    inner = by_name[name].subclasses if name in by_name else ()
    return next((found for sub in inner if (found := _circle(sub, by_name, (*path, name)))), ())


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
