"""What Python's type annotations say: classes, functions and names of modules, read from source without importing it.

A type is a set of alternatives; an empty set means that nothing is known. Belongs here: what an annotation or a name
of a module means. Does not belong here: the types of expressions within functions (``attribute_reads``).
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.helpers.imports import parse

Function = ast.FunctionDef | ast.AsyncFunctionDef

ELEMENTS = {"list", "set", "frozenset", "Sequence", "Collection", "Iterable", "Iterator", "Generator", "deque", "Set"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "defaultdict", "Counter"}
TRANSPARENT = {"Annotated", "SerializeAsAny", "Final", "ClassVar", "InitVar", "Required", "NotRequired"}


@dataclass(frozen=True)
class Instance:
    """An object of a class of ours."""

    owner: "ClassInfo"


@dataclass(frozen=True)
class ClassObject:
    """A class of ours itself: calling it gives an instance."""

    owner: "ClassInfo"


@dataclass(frozen=True)
class FunctionObject:
    """A function or method of ours."""

    info: "FunctionInfo"


@dataclass(frozen=True)
class Elements:
    """A collection, by what is in it."""

    inner: "Type"


@dataclass(frozen=True)
class Row:
    """A tuple with a type for each place."""

    places: tuple["Type", ...]


@dataclass(frozen=True)
class Lookup:
    """A mapping, by its keys and values."""

    keys: "Type"
    values: "Type"


@dataclass(frozen=True)
class Callable:
    """Something that can be called, by what it returns."""

    result: "Type"


@dataclass(frozen=True)
class ModuleObject:
    """A module of ours."""

    module: "Module"


Alternative = Instance | ClassObject | FunctionObject | Elements | Row | Lookup | Callable | ModuleObject
Type = frozenset[Alternative]
UNKNOWN: Type = frozenset()


@dataclass(eq=False)
class FunctionInfo:
    """A function with the module and the class that it is defined in."""

    node: Function
    module: "Module"
    owner: "ClassInfo | None" = None

    @cached_property
    def result(self) -> Type:
        return self.module.meaning(self.node.returns, self.owner)

    @cached_property
    def decorators(self) -> set[str]:
        called = (node.func if isinstance(node, ast.Call) else node for node in self.node.decorator_list)
        return {ast.unparse(node).split(".")[-1] for node in called}


@dataclass(eq=False)
class ClassInfo:
    """A class: its annotated attributes, its methods and its bases, as far as these are ours."""

    node: ast.ClassDef
    module: "Module"
    children: list["ClassInfo"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.module.name}.{self.node.name}"

    @cached_property
    def bases(self) -> list["ClassInfo"]:
        found = (self.module.meaning(base) for base in self.node.bases)
        return [one.owner for alternatives in found for one in alternatives if isinstance(one, Instance)]

    @cached_property
    def ancestry(self) -> list["ClassInfo"]:
        """The class and all that it inherits from."""
        return [self, *(ancestor for base in self.bases for ancestor in base.ancestry)]

    def descendants(self) -> Iterator["ClassInfo"]:
        yield self
        for child in self.children:
            yield from child.descendants()

    @cached_property
    def own_annotations(self) -> dict[str, ast.expr]:
        assigned = [node for node in self.node.body if isinstance(node, ast.AnnAssign)]
        found = {node.target.id: node.annotation for node in assigned if isinstance(node.target, ast.Name)}
        return {name: annotation for name, annotation in found.items() if "ClassVar" not in ast.unparse(annotation)}

    @cached_property
    def fields(self) -> set[str]:
        """Names of all annotated attributes but private ones, inherited ones among them."""
        names = {name for ancestor in self.ancestry for name in ancestor.own_annotations}
        return {name for name in names if not name.startswith("_")}

    @cached_property
    def functions(self) -> dict[str, FunctionInfo]:
        found = (node for node in self.node.body if isinstance(node, Function))
        return {node.name: FunctionInfo(node, self.module, self) for node in found}

    @cached_property
    def set_in_methods(self) -> dict[str, Type]:
        """Attributes that a method takes over from an annotated argument, or annotates: ``self.spec = spec``."""
        found: dict[str, Type] = {}
        for function in self.functions.values():
            arguments = {argument.arg: argument.annotation for argument in all_arguments(function.node)}
            for node in ast.walk(function.node):
                target = node.target if isinstance(node, ast.AnnAssign) else None
                annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                    target, annotation = node.targets[0], arguments.get(node.value.id)
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and annotation:
                    found[target.attr] = self.module.meaning(annotation, self)
        return found

    def attribute(self, name: str, seen_from: "ClassInfo") -> Type | FunctionInfo:
        """Return the type of an attribute, or the method or property that it is."""
        for ancestor in self.ancestry:
            if name in ancestor.own_annotations:
                return ancestor.module.meaning(ancestor.own_annotations[name], seen_from)
            if name in ancestor.functions:
                return ancestor.functions[name]
            if name in ancestor.set_in_methods:
                return ancestor.set_in_methods[name]
        return UNKNOWN


class Module:
    """One source file."""

    def __init__(self, name: str, source: str, program: "Program") -> None:
        self.name = name
        self.tree = parse(source)
        self.program = program
        self.imported = dict(self._imports())
        self.classes = {node.name: ClassInfo(node, self) for node in self.tree.body if isinstance(node, ast.ClassDef)}
        functions = (node for node in self.tree.body if isinstance(node, Function))
        self.functions = {node.name: FunctionInfo(node, self) for node in functions}
        self.assigned = dict(self._assignments())
        self._open: set[str] = set()

    def _imports(self) -> Iterator[tuple[str, tuple[str, str]]]:
        conditional = (node.body for node in self.tree.body if isinstance(node, ast.If | ast.Try))
        for node in [*self.tree.body, *(inner for body in conditional for inner in body)]:
            yield from imported_names(node)

    def _assignments(self) -> Iterator[tuple[str, ast.expr | ast.AnnAssign]]:
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                yield node.targets[0].id, node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, node

    def lookup(self, name: str) -> Type:
        """Return what a name means at the top of this module: a class, a function, a module or a value."""
        if name in self.classes:
            return frozenset({ClassObject(self.classes[name])})
        if name in self.functions:
            return frozenset({FunctionObject(self.functions[name])})
        if isinstance(found := self.assigned.get(name), ast.AnnAssign):
            return self.meaning(found.annotation)
        return self.program.member(*self.imported[name]) if name in self.imported else UNKNOWN

    def alias(self, name: str) -> "tuple[Module, ast.expr] | None":
        """Return the annotation that a name stands for, such as ``AnyModel``, and the module that it is written in."""
        if isinstance(found := self.assigned.get(name), ast.expr):
            return self, found
        module = self.program.modules.get(self.imported[name][0]) if name in self.imported else None
        return module.alias(self.imported[name][1]) if module else None

    def meaning(self, annotation: ast.expr | None, owner: ClassInfo | None = None) -> Type:
        """Return the type of what is annotated so."""
        match annotation:
            case ast.Constant(value=str(text)) if text.isidentifier():
                return self.meaning(ast.parse(text, mode="eval").body, owner)
            case ast.BinOp(left, ast.BitOr(), right):
                return self.meaning(left, owner) | self.meaning(right, owner)
            case ast.Name("Self") if owner:
                return frozenset({Instance(owner)})
            case ast.Name(name):
                return self._named(name)
            case ast.Attribute(ast.Name(name), attribute) if name in self.imported:
                return instances(self.program.member(self.imported[name][0], attribute))
            case ast.Subscript(value, inside):
                inner = inside.elts if isinstance(inside, ast.Tuple) else [inside]
                return self._parametrized(ast.unparse(value).split(".")[-1], value, inner, owner)
        return UNKNOWN

    def _named(self, name: str) -> Type:
        if found := instances(self.lookup(name)):
            return found
        alias = self.alias(name)
        if alias is None or name in self._open:
            return UNKNOWN
        self._open.add(name)
        try:
            return alias[0].meaning(alias[1])
        finally:
            self._open.discard(name)

    def _parametrized(self, word: str, value: ast.expr, inner: list[ast.expr], owner: ClassInfo | None) -> Type:
        if word == "Literal":
            return UNKNOWN
        if word in TRANSPARENT:
            return self.meaning(inner[0], owner)
        first, last = self.meaning(inner[0], owner), self.meaning(inner[-1], owner)
        if word == "Optional" or word == "Union":
            return frozenset().union(*(self.meaning(one, owner) for one in inner))
        if word in ELEMENTS or (word == "tuple" and ast.unparse(inner[-1]) == "..."):
            return frozenset({Elements(first)})
        if word == "tuple":
            return frozenset({Row(tuple(self.meaning(one, owner) for one in inner))})
        if word in MAPPINGS:
            return frozenset({Lookup(first, last)})
        if word == "Callable":
            return frozenset({Callable(last)})
        if word == "type":
            return frozenset(ClassObject(one.owner) for one in first if isinstance(one, Instance))
        return self.meaning(value, owner)


class Program:
    """All modules whose names can be looked up."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.modules: dict[str, Module] = {}
        for name, source in sources.items():
            self.modules[name] = Module(name, source, self)
        for found in self.classes():
            for base in found.bases:
                base.children.append(found)

    def classes(self) -> list[ClassInfo]:
        return [found for module in self.modules.values() for found in module.classes.values()]

    def member(self, module: str, name: str) -> Type:
        """Return what ``from module import name`` gives."""
        found = self.modules.get(f"{module}.{name}" if name else module)
        if found:
            return frozenset({ModuleObject(found)})
        return self.modules[module].lookup(name) if module in self.modules else UNKNOWN


def imported_names(node: ast.stmt) -> Iterator[tuple[str, tuple[str, str]]]:
    """Return the names that an import gives, each with the module and the name within it, empty for the module."""
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from ((alias.asname or alias.name, (node.module, alias.name)) for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name, (alias.name, "")) for alias in node.names)


def instances(found: Type) -> Type:
    """Return what is annotated with these classes."""
    return frozenset(Instance(one.owner) for one in found if isinstance(one, ClassObject))


def all_arguments(node: Function | ast.Lambda) -> list[ast.arg]:
    """Return the arguments of a function, whichever way they are passed."""
    arguments = node.args
    others = [one for one in (arguments.vararg, arguments.kwarg) if one]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *others]
