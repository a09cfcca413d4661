"""Keys of the data sections that can have no effect, given the kind of source or another section.

Belongs here: combinations across sections. Does not belong here: what one section can check by itself.
"""

from collections.abc import Iterator, Mapping, Sequence

from assay.spec.base import Section

_WITHOUT_CLASS_FOLDERS: dict[str, tuple[str, ...]] = {name: ("recursive",) for name in ("splits", "crops", "tabular")}

WITHOUT_EFFECT: dict[str, dict[str, tuple[str, ...]]] = {
    "table": {
        "splits": ("name_delimiter", "max_split", "recursive", "sub_dir"),
        "crops": ("margin", "square", "max_size", "name_delimiter", "recursive", "sub_dir"),
        "tabular": ("target_image_size", "border", "name_delimiter", "recursive", "sub_dir"),
    },
    "numbers": {
        "splits": ("name_delimiter", "max_split", "recursive", "use_given_subsets"),
        "crops": ("recursive",),
        "tabular": ("name_delimiter", "recursive"),
    },
    "image_folder": {"crops": ("margin", "square", "name_delimiter")},
    **dict.fromkeys(("coco", "yolo", "masks"), _WITHOUT_CLASS_FOLDERS),
}
"""By kind of source and section: keys that mean nothing there. Images of class folders have no boxes, annotated ones
no class folders, generated ones no folders and no labels in their names, rows of a table no files."""


def keys_without_effect(source_kind: str, sections: Mapping[str, Section]) -> Iterator[str]:
    """Yield one sentence per key that is set, differs from its default and can have no effect.

    Args:
        source_kind: ``generated_images.source.kind``.
        sections: Sections by name; those that are not concerned may be there as well.
    """
    for name, keys in WITHOUT_EFFECT.get(source_kind, {}).items():
        for key in _changed(sections[name], keys):
            yield (
                f"{name}.{key} ({getattr(sections[name], key)!r}) has no effect with generated_images.source.kind "
                f"{source_kind!r}; leave it out"
            )


def _changed(section: Section, keys: Sequence[str]) -> list[str]:
    """Return the keys whose value is not the default; a spec that spells defaults out stays valid."""
    fields = type(section).model_fields
    return [key for key in keys if getattr(section, key) != fields[key].default]
