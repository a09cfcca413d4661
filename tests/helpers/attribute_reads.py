"""Which attributes of which classes some code reads: types of expressions, followed from annotations.

Where nothing is known of a type, nothing counts as read: the code is annotated throughout, and a read that is not found
is a failing test, whereas one that is made up would be a test that can't fail. Belongs here: expressions and statements
within functions. Does not belong here: what annotations and names of modules mean (``types_of_names``).
"""

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.helpers.types_of_names import (
    UNKNOWN,
    Alternative,
    Callable,
    ClassInfo,
    ClassObject,
    Elements,
    Function,
    FunctionInfo,
    FunctionObject,
    Instance,
    Lookup,
    Module,
    ModuleObject,
    Program,
    Row,
    Type,
    all_arguments,
    imported_names,
)

Names = dict[str, Type]
SAME_ELEMENTS = {"sorted", "list", "tuple", "set", "frozenset", "reversed", "iter", "deque"}
ONE_ELEMENT = {"next", "min", "max"}
SAME_TYPE = {"replace", "copy", "deepcopy", "partial", "dict"}
PROPERTIES = {"property", "cached_property"}


class Reads:
    """What is read and used, by the function that does so; ``None`` stands for the top of a module."""

    def __init__(self, program: Program) -> None:
        self.attributes: dict[FunctionInfo | None, set[tuple[ClassInfo, str]]] = defaultdict(set)
        self.uses: dict[FunctionInfo | None, set[FunctionInfo]] = defaultdict(set)
        self.functions: list[FunctionInfo] = []
        for module in program.modules.values():
            Scope(self, module).block(module.tree.body)

    def of(self, functions: set[FunctionInfo | None]) -> set[tuple[ClassInfo, str]]:
        """Return what these functions read, for the class that they know the object as and all that inherit from it."""
        found = {one for function in functions for one in self.attributes[function]}
        return {(child, name) for owner, name in found for child in owner.descendants()}


class Scope:
    """Names and their types in one function, or at the top of a module."""

    def __init__(
        self, reads: Reads, module: Module, function: FunctionInfo | None = None, names: Names | None = None
    ) -> None:
        self.reads = reads
        self.module = module
        self.function = function
        self.names: Names = dict(names or {})
        self.narrowed: Names = {}

    # Statements

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.define(node)
            case ast.ClassDef():
                self.define_class(node)
            case ast.Import() | ast.ImportFrom():
                program = self.module.program
                self.names |= {name: program.member(*origin) for name, origin in imported_names(node)}
            case ast.If(test, body, orelse):
                self.branch(test, body, orelse)
            case ast.Match(subject, cases):
                self.cases(subject, cases)
            case ast.Assign() | ast.AnnAssign() | ast.For() | ast.With():
                self.assignment(node)
            case _:
                self.others(node)

    def assignment(self, node: ast.stmt) -> None:
        """Follow a statement that gives types to names."""
        match node:
            case ast.Assign(targets, value):
                found = self.infer(value)
                for target in targets:
                    self.bind(target, found)
            case ast.AnnAssign(target, annotation, value):
                found = self.infer(value)
                self.bind(target, self.meaning(annotation) or found)
            case ast.For(target, iterated, body, orelse):
                self.bind(target, element(self.infer(iterated)))
                self.block([*body, *orelse])
            case ast.With(items, body):
                for item in items:
                    self.bind(item.optional_vars, entered(self.infer(item.context_expr)))
                self.block(body)

    def others(self, node: ast.AST) -> None:
        """Follow whatever is in a statement, in the order in which it is written."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.infer(child)
            elif isinstance(child, ast.stmt):
                self.statement(child)
            elif isinstance(child, ast.excepthandler):
                self.block(child.body)

    def define(self, node: Function, owner: ClassInfo | None = None) -> None:
        """Follow the body of a function; one within another counts as part of it."""
        outermost = self.function is None
        info = owner.functions[node.name] if owner else FunctionInfo(node, self.module)
        if outermost and not owner:
            info = self.module.functions.get(node.name, info)
        for expression in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.infer(expression)
        inner = Scope(self.reads, self.module, info if outermost else self.function, self.names)
        if outermost:
            self.reads.functions.append(info)
        inner.names |= {one.arg: self.meaning(one.annotation, owner) for one in all_arguments(node)}
        if node.args.vararg:
            inner.names[node.args.vararg.arg] = frozenset({Elements(inner.names[node.args.vararg.arg])})
        arguments = [*node.args.posonlyargs, *node.args.args]
        if owner and arguments and "staticmethod" not in info.decorators:
            first = ClassObject(owner) if "classmethod" in info.decorators else Instance(owner)
            inner.names[arguments[0].arg] = frozenset({first})
        if not owner:
            self.names[node.name] = frozenset({FunctionObject(info)})
        inner.block(node.body)

    def define_class(self, node: ast.ClassDef) -> None:
        owner = self.module.classes.get(node.name)
        for inner in node.body:
            if isinstance(inner, Function) and owner and owner.node is node:
                self.define(inner, owner)
            else:
                self.statement(inner)

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        """Follow both ways of an ``if``; after one that leaves, only the other is known to hold."""
        before = self.narrowed
        self.infer(test)
        yes, no = self.learned(test)
        self.narrowed = before | yes
        self.block(body)
        self.narrowed = before | no
        self.block(orelse)
        self.narrowed = before | no if leaves(body) else before

    def cases(self, subject: ast.expr, cases: list[ast.match_case]) -> None:
        before, matched = self.narrowed, self.infer(subject)
        for case in cases:
            self.narrowed = dict(before)
            self.pattern(case.pattern, ast.unparse(subject), matched)
            if case.guard:
                self.infer(case.guard)
            self.block(case.body)
        self.narrowed = before

    def pattern(self, pattern: ast.pattern, key: str, matched: Type) -> None:
        match pattern:
            case ast.MatchClass(cls, _, attributes, inner):
                of_class = frozenset(Instance(one.owner) for one in self.infer(cls) if isinstance(one, ClassObject))
                self.narrowed[key] = of_class
                for name, sub in zip(attributes, inner, strict=True):
                    self.pattern(sub, f"{key}.{name}", self.attribute(of_class, name))
            case ast.MatchAs(inner, name):
                if inner:
                    self.pattern(inner, key, matched)
                if name:
                    self.names[name] = self.narrowed.get(key, matched)

    def bind(self, target: ast.expr | None, found: Type) -> None:
        match target:
            case ast.Name(name):
                self.names[name] = found
                self.narrowed = {key: one for key, one in self.narrowed.items() if key.split(".")[0] != name}
            case ast.Tuple(elts) | ast.List(elts):
                for place, inner in enumerate(elts):
                    self.bind(inner, at(found, place))
            case ast.Starred(inner):
                self.bind(inner, frozenset({Elements(element(found))}))
            case ast.Attribute(value) | ast.Subscript(value):
                self.infer(value)

    # Expressions

    def meaning(self, annotation: ast.expr | None, owner: ClassInfo | None = None) -> Type:
        return self.module.meaning(annotation, owner or (self.function.owner if self.function else None))

    def infer(self, node: ast.expr | None) -> Type:
        """Return the type of an expression, and note all that it reads."""
        if node is None:
            return UNKNOWN
        found = self.infer_anew(node)
        if self.narrowed and isinstance(node, ast.Name | ast.Attribute):
            return self.narrowed.get(ast.unparse(node), found)
        return found

    def infer_anew(self, node: ast.expr) -> Type:
        match node:
            case ast.Name(name):
                return self.used(self.names[name]) if name in self.names else self.used(self.top_level(name))
            case ast.Attribute(value, name):
                return self.attribute(self.infer(value), name)
            case ast.Call():
                return self.call(node)
            case ast.Subscript(value, index):
                return self.subscript(self.infer(value), index)
            case ast.NamedExpr(target, value):
                found = self.infer(value)
                self.bind(target, found)
                return found
            case ast.IfExp(test, body, orelse):
                return self.choice(test, body, orelse)
            case ast.BoolOp(op, values):
                return self.conditions(isinstance(op, ast.And), values)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self.comprehension(node)
        return self.display(node)

    def display(self, node: ast.expr) -> Type:
        """Return the type of a collection that is written out, or of a lambda; follow what is within all others."""
        match node:
            case ast.Tuple(elts) if not any(isinstance(one, ast.Starred) for one in elts):
                return frozenset({Row(tuple(self.infer(one) for one in elts))})
            case ast.List(elts) | ast.Set(elts) | ast.Tuple(elts):
                return frozenset({Elements(union([self.infer(one) for one in elts]))})
            case ast.Starred(value):
                return element(self.infer(value))
            case ast.Dict(keys, values):
                found = [self.infer(value) for value in values]
                single = [one for key, one in zip(keys, found, strict=True) if key is not None]
                return frozenset({Lookup(union([self.infer(key) for key in keys]), union(single))})
            case ast.Lambda():
                inner = Scope(self.reads, self.module, self.function, self.names)
                inner.narrowed = self.narrowed
                inner.names |= {one.arg: UNKNOWN for one in all_arguments(node)}
                return frozenset({Callable(inner.infer(node.body))})
        self.others(node)
        return UNKNOWN

    def top_level(self, name: str) -> Type:
        if found := self.module.lookup(name):
            return found
        alias = self.module.alias(name)
        return Scope(Reads(Program({})), alias[0]).infer_once(name, alias[1]) if alias else UNKNOWN

    def infer_once(self, name: str, value: ast.expr) -> Type:
        """Return the type of a value that is assigned at the top of a module."""
        self.names[name] = UNKNOWN  # what refers to itself has no end
        return self.infer(value)

    def used(self, found: Type) -> Type:
        """Note the functions and classes of ours that are named: whoever names them may call them."""
        for one in found:
            if isinstance(one, FunctionObject):
                self.reads.uses[self.function].add(one.info)
        return found

    def attribute(self, base: Type, name: str) -> Type:
        return union(self.attribute_of(one, name) for one in base)

    def attribute_of(self, base: Alternative, name: str) -> Type:
        if isinstance(base, ModuleObject):
            return self.used(base.module.lookup(name))
        if not isinstance(base, Instance | ClassObject):
            return UNKNOWN
        if isinstance(base, Instance):
            self.reads.attributes[self.function].add((base.owner, name))
        found = base.owner.attribute(name, base.owner)
        if not isinstance(found, FunctionInfo):
            return found
        # An object that is known as its base class may be of any class that inherits from it.
        for child in base.owner.descendants():
            if name in child.functions:
                self.reads.uses[self.function].add(child.functions[name])
        self.reads.uses[self.function].add(found)
        if found.decorators & PROPERTIES:
            return found.module.meaning(found.node.returns, base.owner)
        result = found.module.meaning(found.node.returns, base.owner)
        return frozenset({Callable(result)})

    def call(self, node: ast.Call) -> Type:
        passed = [self.infer(one) for one in [*node.args, *(keyword.value for keyword in node.keywords)]]
        if isinstance(node.func, ast.Attribute):
            word, base = node.func.attr, self.infer(node.func.value)
            if found := method_of_collection(base, word):
                return found
            called = self.attribute(base, word)
        else:
            word = node.func.id if isinstance(node.func, ast.Name) else ""
            called = self.infer(node.func)
        return union([result_of(one) for one in called]) if called else self.built_in(word, node, passed)

    def built_in(self, word: str, node: ast.Call, passed: list[Type]) -> Type:
        """Return what a function of Python itself gives, as far as it hands on what it gets."""
        first = passed[0] if passed else UNKNOWN
        match word:
            case "getattr" if isinstance(node.args[1], ast.Constant):
                name = node.args[1].value
                return self.attribute(frozenset(one for one in first if has(one, name)), name)
            case "enumerate":
                return frozenset({Elements(frozenset({Row((UNKNOWN, element(first)))}))})
            case "zip":
                return frozenset({Elements(frozenset({Row(tuple(element(one) for one in passed))}))})
            case "map" | "imap":
                return frozenset({Elements(union([result_of(one) for one in first]))})
            case "cast":
                return self.meaning(node.args[0])
            case "chain":
                return frozenset({Elements(union([element(one) for one in passed]))})
        if word in SAME_ELEMENTS:
            return frozenset({Elements(element(first))})
        if word in ONE_ELEMENT:
            return element(first)
        return first if word in SAME_TYPE else UNKNOWN

    def subscript(self, base: Type, index: ast.expr) -> Type:
        self.infer(index)
        if isinstance(index, ast.Slice):
            return base
        if isinstance(index, ast.Constant) and isinstance(index.value, int):
            return at(base, index.value)
        values = union(one.values for one in base if isinstance(one, Lookup))
        return values | element(frozenset(one for one in base if not isinstance(one, Lookup)))

    def choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Type:
        before = self.narrowed
        self.infer(test)
        yes, no = self.learned(test)
        self.narrowed = before | yes
        found = self.infer(body)
        self.narrowed = before | no
        found |= self.infer(orelse)
        self.narrowed = before
        return found

    def conditions(self, are_all: bool, values: list[ast.expr]) -> Type:
        """Follow ``a and b``, where b is only looked at when a holds, or ``a or b``."""
        before, found = self.narrowed, UNKNOWN
        for value in values:
            found |= self.infer(value)
            self.narrowed = self.narrowed | self.learned(value)[0 if are_all else 1]
        self.narrowed = before
        return found

    def learned(self, test: ast.expr) -> tuple[Names, Names]:
        """Return what is known of types where ``isinstance`` holds, and where it does not."""
        match test:
            case ast.UnaryOp(ast.Not(), inner):
                yes, no = self.learned(inner)
                return no, yes
            case ast.BoolOp(ast.And(), values):
                return {key: one for value in values for key, one in self.learned(value)[0].items()}, {}
            case ast.BoolOp(ast.Or(), values):
                return {}, {key: one for value in values for key, one in self.learned(value)[1].items()}
            case ast.Call(ast.Name("isinstance"), [subject, classes]):
                key, known = ast.unparse(subject), self.infer(subject)
                named = self.class_objects(classes)
                wide = frozenset(Instance(one) for one in named)
                kept = frozenset(one for one in known if isinstance(one, Instance) and set(one.owner.ancestry) & named)
                return {key: kept or wide}, {key: known - kept}
            case ast.Compare(ast.Attribute(value, tag), [ast.Eq() | ast.NotEq() as op], [ast.Constant(wanted)]):
                known = self.infer(value)
                kept = frozenset(one for one in known if wanted in tags_of(one, tag, wanted))
                rest = frozenset(one for one in known if {wanted} != tags_of(one, tag, wanted))
                key = ast.unparse(value)
                learned = {key: kept or known}, {key: rest or known}
                return learned if isinstance(op, ast.Eq) else learned[::-1]
        return {}, {}

    def class_objects(self, node: ast.expr) -> set[ClassInfo]:
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        found = union(self.infer(part) | self.meaning(part) for part in parts)
        return {one.owner for one in found if isinstance(one, ClassObject | Instance)}

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Type:
        names, narrowed = dict(self.names), self.narrowed
        for generator in node.generators:
            self.bind(generator.target, element(self.infer(generator.iter)))
            for test in generator.ifs:
                self.infer(test)
                self.narrowed = self.narrowed | self.learned(test)[0]
        if isinstance(node, ast.DictComp):
            found: Alternative = Lookup(self.infer(node.key), self.infer(node.value))
        else:
            found = Elements(self.infer(node.elt))
        self.names, self.narrowed = names, narrowed
        return frozenset({found})


def method_of_collection(base: Type, word: str) -> Type:
    """Return the type of ``mapping.items()`` and its like, and of pydantic's own methods of a section."""
    found = UNKNOWN
    for one in base:
        if isinstance(one, Lookup):
            pair = frozenset({Row((one.keys, one.values))})
            known = {"items": frozenset({Elements(pair)}), "values": frozenset({Elements(one.values)})}
            found |= known.get(word, one.values if word in ("get", "pop", "setdefault") else UNKNOWN)
        elif isinstance(one, Instance) and word == "model_copy":
            found |= {one}
        elif isinstance(one, ClassObject) and word.startswith("model_validate"):
            found |= {Instance(one.owner)}
        elif isinstance(one, Elements) and word == "pop":
            found |= one.inner
    return found


def union(found: Iterator[Type] | list[Type]) -> Type:
    """Return all alternatives of some types."""
    return frozenset(one for alternatives in found for one in alternatives)


def has(one: Alternative, name: str) -> bool:
    """Return whether a class declares an attribute."""
    return isinstance(one, Instance | ClassObject) and (
        name in one.owner.fields or bool(one.owner.attribute(name, one.owner))
    )


def tags_of(one: Alternative, name: str, unknown: object) -> set[object]:
    """Return the texts that an attribute such as ``kind`` may be; where it may be anything, ``unknown`` and more."""
    ancestry = one.owner.ancestry if isinstance(one, Instance) else []
    annotations = [each.own_annotations[name] for each in ancestry if name in each.own_annotations]
    if annotations and ast.unparse(annotations[0]).startswith("Literal["):
        return {node.value for node in ast.walk(annotations[0]) if isinstance(node, ast.Constant)}
    return {unknown, None}


def element(found: Type) -> Type:
    """Return what one gets by going through a collection."""
    return union(inner_of(one) for one in found)


def inner_of(one: Alternative) -> Type:
    match one:
        case Elements(inner):
            return inner
        case Row(places):
            return union(list(places))
        case Lookup(keys):
            return keys
    return UNKNOWN


def at(found: Type, place: int) -> Type:
    """Return what is at one place of a tuple or list, or under a key that is a number."""
    rows = [one.places[place] for one in found if isinstance(one, Row) and place < len(one.places)]
    others = [one.values if isinstance(one, Lookup) else inner_of(one) for one in found if not isinstance(one, Row)]
    return union([*rows, *others])


def entered(found: Type) -> Type:
    """Return what ``with`` gives: what a generator yields, or the object itself."""
    return union([one.inner if isinstance(one, Elements) else frozenset({one}) for one in found])


def result_of(one: Alternative) -> Type:
    match one:
        case FunctionObject(info):
            return info.result
        case ClassObject(owner):
            return frozenset({Instance(owner)})
        case Callable(result):
            return result
    return UNKNOWN


def leaves(body: list[ast.stmt]) -> bool:
    """Return whether what follows is not reached after these statements."""
    return isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
