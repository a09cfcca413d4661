"""What the values of the user's masks mean: classes, background, unknown.

Belongs here: values and names. Does not belong here: files.
"""

from collections.abc import Sequence

import polars as pl

from assay.datasets.schema import BACKGROUND, CLASS, IGNORE, MASK_CLASS_COLUMNS
from assay.own_data.mask_contents import MaskContent
from assay.spec.annotated_images import MaskFolderSource, mask_number

MOST_CLASSES = 254
"""More different values than this are no classes, but the traces of smoothing."""

Meanings = dict[int, tuple[str | None, str]]
"""Label and role by value."""


def meanings_of(source: MaskFolderSource, contents: Sequence[MaskContent]) -> Meanings:
    """Return what each value means: as the spec says, or each found value as a class of that name."""
    is_colour = any(content.is_colour for content in contents)
    meanings: Meanings = {mask_number(value): (name, CLASS) for name, value in source.classes.items()}
    if source.background is not None:
        meanings[mask_number(source.background)] = (None, BACKGROUND)
    if source.ignore is not None and (isinstance(source.ignore, str) or not is_colour):
        meanings[mask_number(source.ignore)] = (None, IGNORE)  # as a colour, 255 would be pure blue
    if not source.classes:
        found = {value for content in contents for value, _ in content.counts}
        meanings |= {value: (shown(value, is_colour), CLASS) for value in sorted(found - meanings.keys())}
    return meanings


def shown(value: int, is_colour: bool) -> str:
    """Return a value as people write it."""
    return f"#{value:06x}" if is_colour else str(value)


def table_of(meanings: Meanings) -> pl.DataFrame:
    """Return mask_classes.parquet."""
    rows = [(value, label, role) for value, (label, role) in sorted(meanings.items())]
    return pl.DataFrame(rows, schema=dict(MASK_CLASS_COLUMNS), orient="row")


def problems_of(source: MaskFolderSource, names: Sequence[str], contents: Sequence[MaskContent]) -> list[str]:
    """Return one line per mask whose values mean nothing.

    Args:
        source: Says what values mean.
        names: Of the masks, for messages.
        contents: Of the usable ones among them, in the same order.
    """
    kinds = {content.is_colour for content in contents}
    if len(kinds) > 1:
        odd = next(name for name, content in zip(names, contents, strict=True) if content.is_colour)
        return [f"{odd}: holds colours, but other masks hold grey levels or indices; save all in one way"]
    meanings = meanings_of(source, contents)
    classes = sum(role == CLASS for _, role in meanings.values())
    if not source.classes and classes > MOST_CLASSES:
        return [f"the masks hold {classes} different values; name the classes in source.classes, or save sharp masks"]
    return [
        problem
        for name, content in zip(names, contents, strict=True)
        if (problem := _unknown_values(name, content, meanings))
    ]


def _unknown_values(name: str, content: MaskContent, meanings: Meanings) -> str | None:
    unknown = [(value, count) for value, count in content.counts if value not in meanings]
    if not unknown:
        return None
    few = ", ".join(f"{shown(value, content.is_colour)} ({count} px)" for value, count in unknown[:5])
    known = ", ".join(shown(value, content.is_colour) for value in sorted(meanings)[:30])
    kind = "colours" if content.is_colour else "grey levels or indices"
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return f"{name}: holds {few}{more}, which mean nothing; known {kind}: {known} (source.classes, background, ignore)"
