"""What COCO files and YOLO folders say, before anybody has looked into the images.

Belongs here: the common form of both. Does not belong here: reading either, judging boxes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from assay.datasets.geometry import Edges
from assay.own_data.polygons import Polygons
from assay.own_data.runs import Runs

Outline = Polygons | Runs


@dataclass(frozen=True)
class Annotation:
    """One object.

    Attributes:
        where: File and entry or line, for messages.
        label: Name of its class.
        edges: Its box; None where only the outline says where it is.
        outline: Its shape, if that is known.
        crowd: Whether it is a region of many objects.
    """

    where: str
    label: str
    edges: Edges | None
    outline: Outline | None = None
    crowd: bool = False


@dataclass
class AnnotatedImage:
    """One image and what is said about it.

    Attributes:
        file: Path relative to the root of all images.
        where: File and entry that name it, for messages.
        given_subset: Our name of the subset that it comes in.
        stated_size: Width and height as the annotations' file states them.
        labelled: Whether its objects are known; without any it is empty then.
        in_shares: Whether boxes and polygons are in shares of the upright image's sides rather than in pixels.
        annotations: Its objects.
    """

    file: str
    where: str
    given_subset: str | None
    stated_size: tuple[int, int] | None = None
    labelled: bool = True
    in_shares: bool = False
    annotations: list[Annotation] = field(default_factory=list)


@dataclass
class Listing:
    """All images of a source.

    Attributes:
        root: Folder that the images' files are relative to.
        images: Those that exist, sorted by file.
        classes: Names in the order of their numbers.
        problems: What must be mended before anything can be computed.
        bad: Annotations that can't be right; the rest can be used without them.
        counts: Statistics for the report.
    """

    root: Path
    images: list[AnnotatedImage]
    classes: list[str]
    problems: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
