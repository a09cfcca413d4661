"""Sections of the spec that installed packages add: validating them, the functions behind them, the packages used.

Belongs here: from a kind in a spec to the package's section, function and version. Does not belong here: the groups,
finding and importing packages (``plugins``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import InitErrorDetails, core_schema

from assay.errors import AssayError
from assay.spec.base import Section, literals_in
from assay.spec.plugins import PAGE, all_plugins, import_function, load_plugin, plugin_named, plugins


class Extension:
    """What an installed package registers in most groups: a section with its own keys, and the function behind it.

    Attributes:
        section: Model of the keys, including ``kind``; its module should not import large libraries.
        run: Import path ``package.module:function`` of the function, which is imported only when it is used.
    """

    def __init__(self, section: type[Section], run: str) -> None:
        self.section = section
        self.run = run


@dataclass(frozen=True)
class OrPlugin:
    """Validates kinds of installed packages by the package's own section, and all others by the annotated type.

    Attributes:
        group: Entry point group, such as ``assay.models``; the names of its entry points are the additional kinds.
        registered: Type of the entry points' objects, with an attribute ``section``.
        base: What the section of a package must be a subclass of.
        built_in: Built-in kinds, which no package can replace.
        plain: The type to validate all else by, where it is not the annotated one.
    """

    group: str
    registered: type
    base: type[Section]
    built_in: tuple[str, ...] = ()
    plain: Any = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        inner = handler(source) if self.plain is None else handler.generate_schema(self.plain)
        return core_schema.no_info_wrap_validator_function(
            self._validated, inner, serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        added = [handler(section.__pydantic_core_schema__) for section in self.usable_sections()]
        if added and self.plain is not None:
            added.append({"enum": list(plugins(self.group))})
        own = handler(schema)
        return {"anyOf": [own, *added]} if added else own

    def usable_sections(self) -> Iterator[type[Section]]:
        """Import the installed packages of the group, and yield the section of each that can be used."""
        for name in plugins(self.group):
            with suppress(AssayError):
                yield self.section_of(name)

    def section_of(self, name: str) -> type[Section]:
        """Return the section that a package registers for a kind.

        Raises:
            AssayError: No usable package has the kind.
        """
        if name in self.built_in:
            raise AssayError(f"{name!r} is a built-in kind, which no package can replace; register another name.")
        section: type[Section] = load_plugin(self.group, name, self.registered).section
        plugin = plugin_named(self.group, name)
        if not (isinstance(section, type) and issubclass(section, self.base)):
            wanted = f"{self.base.__module__}.{self.base.__qualname__}"
            raise AssayError(f"The plug-in {plugin} has a section that is no subclass of {wanted}; see {PAGE}.")
        kinds = literals_in(section.model_fields["kind"].annotation) if "kind" in section.model_fields else [None]
        if kinds and name not in kinds:
            raise AssayError(f"The plug-in {plugin} has a section without {name!r} as its kind; see {PAGE}.")
        return section

    def _validated(self, value: Any, built_in: ValidatorFunctionWrapHandler) -> Any:
        if self.plain is not None and isinstance(value, str):
            value = {"kind": value}
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        if not isinstance(kind, str) or kind in self.built_in:
            return built_in(value)
        if self.built_in and kind not in plugins(self.group):
            return built_in(value)  # the union of built-in kinds has a message of its own
        try:
            section = self.section_of(kind)
        except AssayError as error:
            if not str(error).startswith("got "):
                raise ValueError(str(error)) from None
            columns = f". Columns are listed in brackets: [{kind}]" if self.plain is not None else ""
            raise ValueError(f"{'' if columns else 'kind: '}{error}{columns}") from None
        try:
            return section.model_validate(value)
        except ValidationError as error:
            raise _with_tag(error, kind) from None


def _with_tag(error: ValidationError, kind: str) -> ValidationError:
    """Return an error whose places begin with the kind, as those of a union do, so that its keys can be explained."""
    lines = [
        InitErrorDetails(
            type=detail["type"], loc=(kind, *detail["loc"]), input=detail["input"], ctx=detail.get("ctx", {})
        )
        for detail in error.errors(include_url=False)
    ]
    try:
        return ValidationError.from_exception_data(error.title, lines)
    except (KeyError, TypeError, ValueError):  # an error of a type that only the package knows
        return error


def plugin_types(annotation: Any, metadata: Iterable[Any] = ()) -> list[OrPlugin]:
    """Return which kinds of packages a field accepts: of its own, and as elements."""
    found = [each for each in metadata if isinstance(each, OrPlugin)]
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return found + plugin_types(inner, more)
    return found + [each for inner in get_args(annotation) for each in plugin_types(inner)]


def is_added(section: Section) -> bool:
    """Return whether an installed package defines the section."""
    return not type(section).__module__.startswith("assay.")


def added_function(group: str, section: Section) -> Callable[..., Any] | None:
    """Return the function behind a section that an installed package added; None for one of Assay's own.

    The function gets the section as its first argument, and what it raises is an error that names the package.

    Raises:
        AssayError: The package can't be used.
    """
    if not is_added(section):
        return None
    kind = str(getattr(section, "kind", ""))
    registered: Extension = load_plugin(group, kind, Extension)
    return partial(guarded(group, kind, registered.run), section)


def guarded(group: str, name: str, function: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a package's function, or that of an import path, so that its errors name the package.

    Raises:
        AssayError: It can't be imported.
    """
    plugin = plugin_named(group, name)
    function = import_function(function, f"The plug-in {plugin}") if isinstance(function, str) else function

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (AssayError, MemoryError, OSError):
            raise
        except Exception as error:
            raise AssayError(f"The plug-in {plugin} failed: {type(error).__name__}: {error}") from error

    return call


def packages_of(section: Section) -> dict[str, str]:
    """Return the version of each installed package whose kinds or names a section uses, at any depth."""
    if next(all_plugins(), None) is None:
        return {}
    used = {plugin_named(group, name) for group, name in _names_in(section)}
    return dict(sorted((plugin.package, plugin.version) for plugin in used))


def _names_in(value: Section | tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    """Yield group and name of everything that a section uses and that is not Assay's own."""
    if isinstance(value, Section):
        if is_added(value):
            yield from _names_of(value)
        yield from value.added_names()
        for inner in value.__dict__.values():
            if isinstance(inner, Section | tuple):  # texts and numbers are nearly everything
                yield from _names_in(inner)
    else:
        for inner in value:
            if isinstance(inner, Section):
                yield from _names_in(inner)


def _names_of(section: Section) -> Iterator[tuple[str, str]]:
    kind = getattr(section, "kind", None)
    for plugin in all_plugins():
        if plugin.name == kind:
            with suppress(AssayError):
                registered = load_plugin(plugin.group, plugin.name, object)
                if getattr(registered, "section", None) is type(section):
                    yield plugin.group, plugin.name
