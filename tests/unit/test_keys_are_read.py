"""Nothing can be configured that nobody reads: keys of the spec, variables of the environment.

A key counts as read when code outside of the spec reads this attribute of an object of the section's own type: a key of
the same name in another section proves nothing. Within ``assay.spec``, properties and resolvers count when they are
used themselves; validators don't, since a value that is only checked changes no result.
"""

import ast
import re
import sys
from pathlib import Path

import polars as pl
import pytest

from assay.datasets.schema import TableInfo
from assay.pipeline import STAGES, stage_config
from assay.spec.base import Section
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.normalized import NormalizedSection
from assay.stages.normalized import choose_columns
from assay.storage.results import ResultStore
from tests.helpers.attribute_reads import Reads
from tests.helpers.imports import parse
from tests.helpers.results import build
from tests.helpers.types_of_names import ClassInfo, FunctionInfo, Program

ROOT = Path(__file__).parents[2]
PACKAGES = ("assay", "assets", "resources", "partitions")
FILES = {path: path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
ASKING = {"os.environ.get", "os.getenv", "dg.EnvVar"}
VALIDATORS = {"field_validator", "model_validator", "field_serializer", "model_serializer"}

READ_ELSEWHERE = {
    "assay.spec.experiment.FoundExperiment.run_id": "written by Assay, not by users: a record, saved whole",
    **dict.fromkeys(
        (
            "assay.spec.experiment.ExperimentSpec.remove_key_list",
            "assay.spec.trained_model.TrainedModelSection.remove_key_list",
            "assay.spec.predictions.PredictionsSection.remove_key_list",
            "assay.spec.analysis.AnalysisSection.remove_key_list",
            "assay.spec.exptests.ExptestsSection.remove_key_list",
        ),
        "followed by assay.spec.secrets.without_removed_keys, in the plain values of specs of any version",
    ),
}
"""Keys that no code reads one by one, each with the reason."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def program() -> Program:
    return Program({module_name(path): text for path, text in FILES.items()})


@pytest.fixture(scope="module")
def read_keys(program) -> set[tuple[ClassInfo, str]]:
    return keys_read_outside(program, "assay.spec")


def sections_of(program: Program, package: str) -> list[ClassInfo]:
    """Return the sections that users write: those that no other section inherits from."""
    everything = program.modules[f"{package}.base"].classes["Section"].descendants()
    return [one for one in everything if not one.children and one.name.startswith(f"{package}.")]


def keys_read_outside(program: Program, package: str) -> set[tuple[ClassInfo, str]]:
    """Return all class and attribute pairs that code outside of a package reads, or lets the package's code read."""
    reads = Reads(program)
    counted: set[FunctionInfo | None] = {None}
    pending = [None, *(one for one in reads.functions if not is_within(one, package))]
    while pending:
        counted.add(function := pending.pop())
        usable = {one for one in reads.uses[function] if not (is_within(one, package) and only_checks(one))}
        pending += usable - counted
    return reads.of(counted)


def is_within(function: FunctionInfo, package: str) -> bool:
    return function.module.name.startswith(f"{package}.")


def only_checks(function: FunctionInfo) -> bool:
    returns = function.node.returns
    return bool(function.decorators & VALIDATORS) or (returns is not None and ast.unparse(returns) == "None")


def unread(sections: list[ClassInfo], read: set[tuple[ClassInfo, str]]) -> set[str]:
    """Return the keys that are not read; ``kind`` is pydantic's, which chooses the section by it."""
    return {f"{one.name}.{key}" for one in sections for key in one.fields - {"kind"} if (one, key) not in read}


@pytest.mark.defect("C8")
def test_every_key_of_the_spec_is_read_by_code_that_knows_its_section(program, read_keys, read_by_computed_names):
    sections = sections_of(program, "assay.spec")
    assert unread(sections, read_keys) - read_by_computed_names == set(READ_ELSEWHERE)


def test_the_sections_read_from_source_are_those_of_pydantic(program):
    for section in sections_of(program, "assay.spec"):
        model = getattr(sys.modules[section.module.name], section.node.name)
        assert set(model.model_fields) == section.fields, section.name


def test_no_read_is_made_up(program, read_keys):
    """Mypy holds that no code reads what a class lacks; so such a read would be a wrong guess of this very test."""
    sections = sections_of(program, "assay.spec")
    names = {name for one in sections for name in one.fields}
    wrong = [(one, name) for one in sections for name in names - one.fields if (one, name) in read_keys]
    assert [f"{one.name}.{name}" for one, name in wrong if not one.attribute(name, one)] == []


@pytest.fixture
def read_by_computed_names(monkeypatch, tmp_path) -> set[str]:
    """Keys that are read by a name that is computed, or of an object of type Any: recorded while that code runs."""
    folder = tmp_path / "storage"
    spec = spec_from({"task": "regression"}, "recorded")
    recorded: set[str] = set()
    get = Section.__getattribute__

    def record(section: Section, name: str) -> object:
        caller = sys._getframe(1).f_globals["__name__"]
        if name in type(section).model_fields and not caller.startswith("pydantic"):
            recorded.add(f"{type(section).__module__}.{type(section).__name__}.{name}")
        return get(section, name)

    with monkeypatch.context() as patched:
        patched.setattr(Section, "__getattribute__", record)
        build_every_stage(spec, ResultStore(folder))
        schema = {"number": pl.Float64()}
        choose_columns(schema, TableInfo("target", ("number",)), NormalizedSection())
    return recorded


def build_every_stage(spec: ExperimentSpec, store: ResultStore) -> None:
    """Do with every section what all stages have in common."""
    for name in SECTION_NAMES:
        part = stage_config(spec, "ab12", name)
        if name in STAGES:
            build(store, part, {}, lambda folder: {})


FAKE = {
    "fake.spec.base": "class Section:\n    pass\n",
    "fake.spec.parts": """
from fake.spec.base import Section

class Training(Section):
    epochs: int
    rate: float
    checked: int

    @property
    def slow_rate(self) -> float:
        return self.rate / 10

    @model_validator(mode="after")
    def _check(self) -> "Training":
        if self.checked < 0:
            raise ValueError
        return self

class Table(Section):
    epochs: int
    columns: tuple[str, ...]

class Spec(Section):
    training: Training
    source: Table | None
""",
    "fake.use": """
from fake.spec.parts import Spec, Table, Training

def train(spec: Spec) -> int:
    training = spec.training
    return training.epochs + training.slow_rate

def read(values: dict[str, list[Spec | Table]]) -> list[str]:
    found = [each for several in values.values() for each in several if isinstance(each, Table)]
    return [name for table in found for name in table.columns]
""",
}


def unread_in_fake(**changes: str) -> set[str]:
    """Return the unread keys of the fake program, with lines replaced in any of its modules."""
    sources = dict(FAKE)
    for module, (old, new) in changes.items():
        name = f"fake.{module.replace('__', '.')}"
        assert old in sources[name]
        sources[name] = sources[name].replace(old, new)
    program = Program(sources)
    found = unread(sections_of(program, "fake.spec"), keys_read_outside(program, "fake.spec"))
    return {name.removeprefix("fake.spec.parts.") for name in found}


ALWAYS = {"Training.checked", "Table.epochs", "Spec.source"}


def test_a_key_of_the_same_name_elsewhere_and_a_key_that_is_only_checked_do_not_count():
    assert unread_in_fake() == ALWAYS


def test_a_new_key_that_nobody_reads_is_found_in_any_section():
    for first in ("epochs: int\n    rate", "epochs: int\n    columns", "training: Training"):
        added = unread_in_fake(spec__parts=(first, f"extra: int\n    {first}")) - ALWAYS
        assert len(added) == 1
        assert added.pop().endswith(".extra")


def test_a_property_that_nobody_uses_reads_nothing():
    assert unread_in_fake(use=(" + training.slow_rate", "")) == ALWAYS | {"Training.rate"}


def test_what_isinstance_excludes_is_not_read():
    read_of_neither = ("return [name for table in found for name in table.columns]", "return []")
    assert unread_in_fake(use=read_of_neither) == ALWAYS | {"Table.columns"}


@pytest.mark.defect("C8")
def test_variables_of_the_environment_are_documented_and_read():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    documented = set(re.findall(r"ASSAY_[A-Z_]+", "\n".join(page.read_text() for page in pages)))
    mentioned = set(re.findall(r"ASSAY_[A-Z_]+", "\n".join(FILES.values())))
    profiles = [path.read_text() for path in (ROOT / "assay" / "templates" / "profiles").iterdir()]
    by_dagster = set(re.findall(r"\{env: (ASSAY_[A-Z_]+)\}", "\n".join(profiles)))
    assert {name for text in FILES.values() for name in variables_read(text)} | by_dagster == documented == mentioned


def variables_read(source: str) -> set[str]:
    """Return the variables that some code asks the environment for: to name one in a sentence is not to read it."""
    tree = parse(source)
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
    constants = {ast.unparse(node.targets[0]): node.value.value for node in assigned}
    read = set()
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ASKING:
            name = node.args[0]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            name = node.slice if isinstance(node.ctx, ast.Load) else None
        value = name.value if isinstance(name, ast.Constant) else constants.get(ast.unparse(name)) if name else None
        read |= {value} if str(value).startswith("ASSAY_") else set()
    return read


def test_to_mention_or_set_a_variable_is_not_to_read_it():
    source = """
NAME = "ASSAY_A"
first, second = os.environ.get(NAME), dg.EnvVar("ASSAY_B") or os.environ["ASSAY_C"]
os.environ["ASSAY_D"] = "$ASSAY_E"
"""
    assert variables_read(source) == {"ASSAY_A", "ASSAY_B", "ASSAY_C"}
