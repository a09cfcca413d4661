"""Plug-ins: kinds and names that installed packages add by entry points, imported only when a spec uses them.

Belongs here: the groups of entry points, finding and loading them, the sentences about those that can't be used. Does
not belong here: what a kind does, its keys (the sections of the spec).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from typing import Any

from assay.errors import AssayError, shorten

PAGE = "docs/extending.md"

SLOW_S = 1.0
"""An import that takes longer is reported: it makes every command wait."""


@dataclass(frozen=True)
class PluginGroup:
    """A group of entry points.

    Attributes:
        name: Name of the group.
        key: Where a spec names what packages register in it.
        what: What one of them is, for messages.
    """

    name: str
    key: str
    what: str


SOURCES = "assay.sources"
FEATURES = "assay.features"
MODELS = "assay.models"
LEARNERS = "assay.learners"
MODEL_LOADERS = "assay.model_loaders"
PREDICTION_FUNCTIONS = "assay.prediction_functions"
PREDICTION_HANDLERS = "assay.prediction_handlers"
RESULT_ANALYZERS = "assay.result_analyzers"
METRICS = "assay.metrics"
TESTS = "assay.tests"
LOCKS = "assay.locks"

GROUPS: dict[str, PluginGroup] = {
    group.name: group
    for group in (
        PluginGroup(SOURCES, "generated_images.source", "a source of data"),
        PluginGroup(FEATURES, "normalized.*_feature_keys", "a function that chooses columns"),
        PluginGroup(MODELS, "trained_model.model", "a network"),
        PluginGroup(LEARNERS, "trained_model.learner", "a loss or optimizer"),
        PluginGroup(MODEL_LOADERS, "predictions.model_loader", "a loader of models"),
        PluginGroup(PREDICTION_FUNCTIONS, "predictions.prediction_function", "a way to predict"),
        PluginGroup(PREDICTION_HANDLERS, "predictions.prediction_handler", "a handler of predictions"),
        PluginGroup(RESULT_ANALYZERS, "analysis.result_analyzer", "an analysis"),
        PluginGroup(METRICS, "analysis.result_analyzer.metrics", "a metric"),
        PluginGroup(TESTS, "exptests.tests", "an experiment test"),
        PluginGroup(LOCKS, "filelock_dict", "a lock"),
    )
}
"""Everything that installed packages may add, in the order of the pipeline."""


@dataclass(frozen=True)
class Plugin:
    """What one package registers under one name.

    Attributes:
        group: Its group.
        name: The kind, or the name, that a spec uses.
        value: Import path of the object.
        package: Name of the package.
        version: Version of the package; part of the fingerprint of every stage that uses it.
    """

    group: str
    name: str
    value: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.name!r} of the package {self.package} {self.version} ({self.value})"


@cache
def _installed() -> dict[str, dict[str, list[Plugin]]]:
    """Return all plug-ins by group and name; several under one name if packages disagree."""
    found: dict[str, dict[str, list[Plugin]]] = {group: {} for group in GROUPS}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            points = [point for point in distribution.entry_points if point.group in GROUPS]
            name, version = (str(distribution.name), str(distribution.version)) if points else ("", "")
        except Exception:  # noqa: S112 - damaged metadata of one package, which no experiment may use
            continue
        if not points or name.lower() in seen:
            continue  # of two copies on the path, Python imports the first
        seen.add(name.lower())
        for point in points:
            found[point.group].setdefault(point.name, []).append(_plugin(point, name, version))
    return found


def _plugin(point: EntryPoint, package: str, version: str) -> Plugin:
    return Plugin(point.group, point.name, point.value, package, version)


def forget_plugins() -> None:
    """Look for installed packages anew, and import them anew."""
    _installed.cache_clear()
    _imported.cache_clear()


def plugins(group: str) -> dict[str, Plugin]:
    """Return the plug-ins of a group, such as ``assay.metrics``, by name, without importing them."""
    return {name: found[0] for name, found in sorted(_installed()[group].items())}


def all_plugins() -> Iterator[Plugin]:
    """Yield every plug-in, in the order of the groups, without importing them; a name that two have comes twice."""
    for names in _installed().values():
        for _, found in sorted(names.items()):
            yield from found


def plugin_named(group: str, name: str) -> Plugin:
    """Return the plug-in of a name.

    Raises:
        AssayError: No package registers the name, or two do.
    """
    found = _installed()[group].get(name, [])
    if not found:
        raise AssayError(f"got {shorten(name)}; expected {not_installed(group, name)}")
    if len(found) > 1:
        several = " and ".join(f"{each.package} {each.version}" for each in found)
        raise AssayError(f"{name!r} is registered in {group!r} by {several}; uninstall one of them (pip uninstall).")
    return found[0]


def load_plugin(group: str, name: str, expected: type) -> Any:
    """Import the object that an installed package registered.

    Args:
        group: Entry point group.
        name: Name of the entry point.
        expected: Class that the object must be an instance of.

    Raises:
        AssayError: No package, or more than one, registers the name; it can't be imported, or is of another class.
    """
    plugin = plugin_named(group, name)
    loaded = _imported(plugin)
    if loaded.problem:
        raise AssayError(loaded.problem)
    if not isinstance(loaded.value, expected):
        name = f"{expected.__module__}.{expected.__qualname__}"
        raise AssayError(f"The plug-in {plugin} is a {type(loaded.value).__name__}, expected a {name}; see {PAGE}.")
    return loaded.value


@dataclass(frozen=True)
class _Imported:
    """An imported object, or why it can't be imported."""

    value: Any
    problem: str


_TOOK: dict[Plugin, float] = {}
"""Seconds that imports took in this process."""


@cache
def _imported(plugin: Plugin) -> _Imported:
    """Import a plug-in once, also if that fails: thousands of experiments may name it."""
    start = time.perf_counter()
    try:
        value, problem = EntryPoint(plugin.name, plugin.value, plugin.group).load(), ""
    except (Exception, SystemExit) as error:  # the module of a package may do anything
        reason = f"{type(error).__name__}: {error}"
        value, problem = None, f"The plug-in {plugin} can't be imported: {reason}. Repair or uninstall the package."
    _TOOK[plugin] = time.perf_counter() - start
    return _Imported(value, problem)


def slow_plugins() -> Iterator[Plugin]:
    """Yield the plug-ins that this process imported and that took longer than ``SLOW_S``."""
    return (plugin for plugin in all_plugins() if _TOOK.get(plugin, 0.0) > SLOW_S)


def import_seconds(plugin: Plugin) -> float:
    """Return how long importing a plug-in took in this process, or takes now."""
    _imported(plugin)
    return _TOOK[plugin]


def import_function(path: str, what: str) -> Callable[..., Any]:
    """Import the function that ``package.module:function`` names.

    Args:
        path: Import path, from the code of a package, never from a spec.
        what: What the function belongs to, for the message.

    Raises:
        AssayError: It can't be imported.
    """
    module, _, name = path.partition(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:
        raise AssayError(f"{what}: {path!r} can't be imported: {type(error).__name__}: {error}.") from error
    return function


def group_at(key: str) -> PluginGroup | None:
    """Return the group from which packages add to what stands at a dotted key of the spec; None if none does."""
    parts = key.split(".")
    matching = [group for group in GROUPS.values() if _is_at(group.key.split("."), parts)]
    return max(matching, key=lambda group: len(group.key), default=None)


def _is_at(wanted: list[str], parts: list[str]) -> bool:
    pairs = zip(wanted, parts, strict=False)
    return len(parts) >= len(wanted) and all(
        one == other or (one.startswith("*") and other.endswith(one[1:])) for one, other in pairs
    )


def not_installed(group: str, name: str) -> str:
    """Return what was expected in place of a name that no installed package registers, and what to do."""
    if is_import_path(name):
        return f"a name: {import_path_refused(group)}"
    here = ", ".join(plugins(group)) or "none"
    return (
        f"the name of {GROUPS[group].what} that an installed package registers in {group!r} (here: {here}); if one has "
        f"{shorten(name)}: pip install PACKAGE, see {PAGE}"
    )


def is_import_path(name: str) -> bool:
    """Return whether a text looks like the import path of a function or class."""
    return all(part.isidentifier() for part in name.replace(":", ".").split(".")) and ("." in name or ":" in name)


def import_path_refused(group: str | None) -> str:
    """Return why a spec that names code is refused, and how code of one's own is named instead."""
    refused = "a spec names no code, which anybody could slip in with a file"
    if group is None:
        return f"{refused}; leave it out. What packages can add: {PAGE}"
    return (
        f"{refused}. Put it into a package that registers it by an entry point in {group!r}, and write that name here: "
        f"see {PAGE}"
    )


CODE_KEYS = frozenset(("_target_", "_partial_", "_args_", "_convert_", "_recursive_", "class_path", "init_args"))
"""Keys by which configurations of other programs name code."""


def code_in(value: Any) -> bool:
    """Return whether a value is a section of another program's configuration that names code."""
    return isinstance(value, Mapping) and not CODE_KEYS.isdisjoint(map(str, value))
