"""Plug-ins: kinds that installed packages add by entry points, imported only when a spec names them.

Belongs here: finding and loading entry points. Does not belong here: what a kind does.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from assay.errors import AssayError


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group, such as ``assay.metrics``, by kind, without importing them."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.value)}


def load_plugin(group: str, kind: str, expected: type) -> Any:
    """Import the object that an installed package registered.

    Args:
        group: Entry point group.
        kind: Name of the entry point.
        expected: Class that the object must be an instance of.

    Raises:
        AssayError: The package can't be imported, or registers an object of another class.
    """
    point = plugins(group)[kind]
    try:
        loaded = point.load()
    except (ImportError, AttributeError) as error:
        raise AssayError(f"The plugin {kind!r} ({point.value}) can't be imported: {error}.") from error
    if not isinstance(loaded, expected):
        name = f"{expected.__module__}.{expected.__qualname__}"
        raise AssayError(f"The plugin {kind!r} ({point.value}) is a {type(loaded).__name__}, expected a {name}.")
    return loaded
