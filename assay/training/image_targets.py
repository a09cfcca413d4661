"""Targets of whole images: the class of every pixel, or boxes with their classes; stored with the weights.

Belongs here: the targets, and fitting their classes to the labels of the training images. Does not belong here: reading
masks and boxes (``annotations``), losses.
"""

from collections.abc import Sequence
from typing import Literal

from assay.errors import DataError
from assay.spec.base import Section
from assay.spec.classes import ClassDescription, DataDescription, classes_of_labels, unknown_subclasses


class ImageTarget(Section):
    """Classes of the objects in an image."""

    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    mapping: dict[str, str]
    """Class of each label; objects with other labels are ignored."""

    @property
    def column(self) -> str:
        """Column of the labels."""
        return "label"

    def index_of(self, label: str | None) -> int | None:
        """Return the index of a label's class, None for labels of no class."""
        name = self.mapping.get(label or "")
        return None if name is None else self.classes.index(name)


class MaskTarget(ImageTarget):
    """The class of every pixel; class 0 of the outputs is the background."""

    kind: Literal["masks"] = "masks"
    """masks."""
    least_middle: float = 0.0
    """Center threshold: least probability of an object's center near a foreground pixel; 0: none. The name is stored in
    model files."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs for each pixel: the background, and one per class."""
        return 1 + len(self.classes)


class BoxTarget(ImageTarget):
    """Boxes and their classes."""

    kind: Literal["boxes"] = "boxes"
    """boxes."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs for each cell: one per class, and the distances to four edges."""
        return len(self.classes) + 4


def fit_image_classes(description: DataDescription, labels: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the classes, and the class of each label in the training data that belongs to one.

    Args:
        description: Classes and mapping of the spec; without both, every label is a class.
        labels: Labels of the training data, in order.

    Raises:
        DataError: The training data have no label, a class has none in them, or a subclass does not exist.
    """
    if not labels:
        raise DataError("The training data show no object of any class. Look at the labels of generated_images.")
    if description.class_mapping:
        mapping = {label: description.class_mapping[label] for label in labels if label in description.class_mapping}
        names = tuple(each.name for each in described(description)) or tuple(dict.fromkeys(mapping.values()))
    elif description.classes:
        classes = described(description)
        if wrong := unknown_subclasses(classes, labels):
            raise DataError("data_description.classes: these are neither classes nor labels of the data.", wrong)
        names = tuple(each.name for each in classes)
        places = classes_of_labels(classes)
        mapping = {label: names[places[label][0]] for label in labels if label in places}
    else:
        names, mapping = tuple(labels), {label: label for label in labels}
    missing = [name for name in names if name not in mapping.values()]
    if missing or not names:
        shown = ", ".join(labels)
        raise DataError(
            f"data_description: the training data show nothing of these classes; they show {shown}.", missing
        )
    return names, mapping


def described(description: DataDescription) -> list[ClassDescription]:
    """Return the classes of a spec, an empty list when it names none."""
    return [ClassDescription.model_validate(each) for each in description.classes or ()]
