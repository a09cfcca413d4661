"""Sections chosen by ``kind``: the built-in ones, and those that installed packages add.

Belongs here: choosing the section. Does not belong here: any section, or finding packages (``assay.spec.plugins``).
"""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from assay.spec.plugins import load_plugin, plugins


def or_plugin(group: str, built_in: Collection[str], registered: type) -> WrapValidator:
    """Return a validator that hands kinds of installed packages to the package's own section.

    Args:
        group: Entry point group, such as ``assay.models``; its names are the further kinds.
        built_in: Kinds that no package can replace.
        registered: Type of the entry points' objects; has the attribute ``section``.
    """

    def validate(value: Any, built_in_section: ValidatorFunctionWrapHandler) -> Any:
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        if kind in built_in or kind not in plugins(group):
            return built_in_section(value)
        return load_plugin(group, kind, registered).section.model_validate(value)

    return WrapValidator(validate)
