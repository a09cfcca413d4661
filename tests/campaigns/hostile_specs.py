"""Spec files that nobody should be able to stop anything with, by hand: one file per kind, and what must be said.

Each is read by the real commands ``assay validate`` and ``assay run``: one message that names the file and holds the
expected words, no traceback, nothing that acts on a terminal, bounded memory.
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assay.errors import SpecError, printable
from assay.spec.loading import load_spec
from tests.campaigns.campaign import Tried, command

ROOT = Path(__file__).parents[2]
MOST_MB = 300
MOST_CHARACTERS = 12_000
DEADLINE_S = 60
VALID = ""


@dataclass(frozen=True)
class Case:
    """A hostile file.

    Attributes:
        kind: What is hostile about it.
        content: Its text or bytes, or a function that puts something else at its path.
        expected: Words of the message; ``VALID`` for a file that must be accepted.
    """

    kind: str
    content: str | bytes | Callable[[Path], object]
    expected: str

    def write(self, path: Path) -> None:
        """Put the file at a path whose folder exists."""
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content.encode() if isinstance(self.content, str) else self.content)


T = "task: regression\n"
CLASSES = "task: classification\ntrained_model: {data_description: {classes: %s}}\n"


def _laughs(levels: int) -> str:
    first = "tags:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    return T + first + "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels))


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has about 100 characters at most
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _sparse(size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return write


def _source(**keys: object) -> str:
    return T + f"generated_images: {{source: {{{', '.join(f'{name}: {value}' for name, value in keys.items())}}}}}\n"


NO_FILES = (
    Case("a folder", lambda path: path.mkdir(), "is a folder"),
    Case("a pipe", lambda path: os.mkfifo(path), "is a pipe"),
    Case("a socket", _socket, "is a socket"),
    Case("a link to a device without end", _link("/dev/zero"), "is a device"),
    Case("a link to a terminal", _link("/dev/tty"), "is a device"),
    Case("a link to itself", _link("bad.yaml"), "symbolic links"),
    Case("a link to nothing", _link("nowhere.yaml"), "link to what does not exist"),
    Case("a link to a folder", _link("/usr"), "is a folder"),
    Case("a file of 10 MB", b"task: regression\n# " + b"x" * 10**7, "expected at most"),
    Case("a sparse file of 1 TB", _sparse(2**40), "expected at most"),
)

NO_TEXT = (
    Case("empty", "", "is empty"),
    Case("only a comment", "# nothing\n", "is empty"),
    Case("only a byte order mark", "\ufeff", "is empty"),
    Case("null bytes", b"\0" * 1000, "is not valid YAML"),
    Case("UTF-16", T.encode("utf-16"), "is no text in utf-8"),
    Case("Latin-1", "task: régression\n".encode("latin-1"), "is no text in utf-8"),
    Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is no text in utf-8"),
    Case("a control character", "task: \x1b[31mred\n", "control characters"),
    Case("a BOM in front", "\ufefftask: regression\n", VALID),
    Case("Windows line ends", "task: regression\r\nseed: 3\r\n", VALID),
)

NO_YAML = (
    Case("half-saved", "task: regression\nsplits: {", "is not valid YAML"),
    Case("a tab", "task: regression\nsplits:\n\tseed: 1\n", "is not valid YAML"),
    Case("two documents", "task: regression\n---\ntask: detection\n", "another document"),
    Case("a list", "- task: regression\n", "holds a list"),
    Case("a text", "regression\n", "holds a str"),
    Case("a number", "42\n", "holds a int"),
    Case("a duplicate key", T + "seed: 1\nseed: 2\n", "given twice"),
    Case("a duplicate key deep inside", T + "trained_model: {learner: {loss: mse, loss: mse}}\n", "given twice"),
    Case("another YAML version", "%YAML 9.9\n---\ntask: regression\n", "incompatible"),
    Case("a directive without end", "%" * 1000, "is not valid YAML"),
)

TOO_MUCH = (
    Case("100,000 brackets", T + "tags: " + "[" * 100_000, "inside each other"),
    Case("100,000 braces", T + "tags: " + "{a: " * 100_000, "inside each other"),
    Case("100,000 dashes", "- " * 100_000, "inside each other"),
    Case("100,000 question marks", "? " * 100_000, "inside each other"),
    Case("balanced brackets", T + "tags: " + "[" * 5000 + "]" * 5000, "inside each other"),
    Case("indented 300 deep", T + "".join(f"{' ' * n}a:\n" for n in range(300)), "inside each other"),
    Case("aliases that multiply", _laughs(9), "what aliases repeat"),
    Case("aliases that multiply to a few thousand", _laughs(4), "tags"),
    Case("an alias within itself", T + "tags: &a [*a]\n", "repeats what has no end"),
    Case("a circle of keys", T + "tags: &a {x: *a}\n", "repeats what has no end"),
    Case("an alias of nothing", T + "name: *lost\n", "repeats what has no end"),
    Case("merges that multiply", T + "tags: &a {<<: [*a, *a]}\n", "repeats what has no end"),
    Case("60,000 keys", T + f"tags: [{{{', '.join(f'k{n}: 1' for n in range(60_000))}}}]\n", "tags"),
    Case("60,000 unknown keys", T + "".join(f"k{n}: 1\n" for n in range(60_000)), "unknown key"),
    Case("60,000 tags", T + f"tags: {{{', '.join(f'k{n}: v' for n in range(60_000))}}}\n", "at most 50"),
    Case("250,000 values", T + f"remove_key_list: [{'a,' * 250_000}]\n", "keys and values"),
    Case("two million characters", T + f"description: {'x' * 2_000_000}\n", "characters long"),
    Case("900,000 characters in a name", T + f"name: {'x' * 900_000}\n", "at most 200"),
    Case("a key of 900,000 characters", T + f"? {'x' * 900_000}\n: 1\n", "unknown key"),
    Case("a kind of 100,000 characters", _source(kind="x" * 100_000), "expected one of"),
    Case("a task of 100,000 characters", f"task: {'x' * 100_000}\n", "expected"),
    Case("10,000 test sections", T + f"exptests: {{tests: [{'{kind: x},' * 10_000}]}}\n", "exptests.tests.0"),
)

TAGS = (
    Case("a Python object", T + "name: !!python/object/apply:os.system ['true']\n", "is not allowed"),
    Case("a Python name", T + "name: !!python/name:os.system\n", "is not allowed"),
    Case("a tag of its own", T + "name: !secret x\n", "is not allowed"),
    Case("a tag of a set", T + "tags: !!set {a, b}\n", "is not allowed"),
    Case("a tag of bytes", T + "name: !!binary aGVsbG8=\n", "is not allowed"),
    Case("a tag of a date", T + "name: !!timestamp 2024-99-99\n", "is not allowed"),
    Case("a whole number that is none", T + "seed: !!int foo\n", "contradicts its tag"),
    Case("a whole number of nothing", T + "seed: !!int ''\n", "contradicts its tag"),
    Case("a number that is none", T + "seed: !!float foo\n", "contradicts its tag"),
    Case("a truth value that is none", T + "seed: !!bool maybe\n", "contradicts its tag"),
    Case("a list that is none", T + "tags: !!seq {a: b}\n", "is not valid YAML"),
    Case("a text that is none", T + "name: !!str [a]\n", "is not valid YAML"),
    Case("a section that is none", T + "tags: !!map a\n", "contradicts its tag"),
)


def _classes(each: Callable[[int], str], count: int) -> str:
    listed = ", ".join(each(number) for number in range(count))
    return f"task: classification\ntrained_model: {{data_description: {{multi_label: true, classes: [{listed}]}}}}\n"


CHAINS = (
    Case("500 classes in a chain", _classes(lambda n: f"{{name: c{n}, subclasses: [c{n + 1}]}}", 500), VALID),
    Case("9,000 classes in a chain", _classes(lambda n: f"{{name: c{n}, subclasses: [c{n + 1}]}}", 9000), "300,000"),
    Case(
        "classes that multiply",
        _classes(lambda n: ", ".join(f"{{name: {x}{n}, subclasses: [a{n + 1}, b{n + 1}]}}" for x in "ab"), 60),
        VALID,
    ),
    Case("a circle of 3,000 classes", _classes(lambda n: f"{{name: c{n}, subclasses: [c{-~n % 3000}]}}", 3000), "c0"),
    Case("20,000 classes", _classes(lambda n: f"c{n}", 20_000), VALID),
    Case("20,000 equal classes", _classes(lambda n: "c", 20_000), "classes names c twice"),
    Case("20,000 subsets", T + f"predictions: {{datasets: [{', '.join(f's{n}' for n in range(20_000))}]}}\n", "s0"),
)

KEYS = (
    Case("a date as a key", "2024-01-01: x\n" + T, "unknown key"),
    Case("a mistyped date as a key", "2024-99-99: x\n" + T, "unknown key"),
    Case("a number as a key", "1: x\n" + T, "which is no text"),
    Case("a truth value as a key", "true: x\n" + T, "which is no text"),
    Case("nothing as a key", "~: x\n" + T, "which is no text"),
    Case("a list as a key", "? [a]\n: x\n" + T, "a key is a list or a section"),
    Case("a section as a key", "{a: b}: x\n" + T, "a key is a list or a section"),
    Case("a number as a key of a section", T + "splits: {1: x}\n", "splits.1"),
    Case("escapes in a key", T + '"\\e[2J\\e[31mred": 1\n', "unknown key"),
    Case("a line break in a key", T + '"a\\nerror: all is lost": 1\n', "unknown key"),
    Case("text that runs backwards in a key", T + '"\\u202egnp.exe": 1\n', "unknown key"),
    Case("an empty key", T + "'': 1\n", "unknown key"),
    Case("a key of another tool", T + "trained_model: {learner: {lr: 0.1}}\n", "'learning_rate'"),
    Case("a key of another section", T + "epochs: 3\n", "belongs to trained_model.train_params.epochs"),
    Case("a key of another kind", _source(kind="yolo", path="a", target_column="b"), "for kind table"),
    Case("a misspelt key", T + "sede: 1\n", "Did you mean 'seed'?"),
)

VALUES = (
    Case("a list as a kind", _source(kind="[a]"), "generated_images.source.kind"),
    Case("a section as a kind", _source(kind="{a: b}"), "generated_images.source.kind"),
    Case("a number as a kind", _source(kind="3"), "generated_images.source.kind"),
    Case("a list as a model's kind", T + "trained_model: {model: {kind: [a]}}\n", "trained_model.model"),
    Case("a list as a test's kind", T + "exptests: {tests: [{kind: [a]}]}\n", "exptests.tests.0"),
    Case("a list as a task", "task: [regression]\n", "task"),
    Case("5,000 digits", T + f"seed: {'1' * 5000}\n", "seed"),
    Case("400 digits", T + f"trained_model: {{learner: {{learning_rate: {'9' * 400}}}}}\n", "learning_rate"),
    Case("a number beyond all", T + "trained_model: {learner: {learning_rate: 1e999}}\n", "finite"),
    Case("not a number", T + "trained_model: {learner: {learning_rate: .nan}}\n", "finite"),
    Case("infinity", T + "trained_model: {learner: {learning_rate: -.inf}}\n", "finite"),
    Case("a truth value as a number", T + "seed: true\n", "seed is true"),
    Case(
        "a number of 300 digits as a count",
        T + f"trained_model: {{train_params: {{steps_per_epoch: {'9' * 300}}}}}\n",
        "steps",
    ),
    Case("half a whole number", T + "seed: 64.5\n", "seed: got 64.5"),
    Case("a whole float", T + "seed: 64.0\ntrained_model: {train_params: {epochs: 2e0}}\n", VALID),
    Case("a number as a name", T + "name: 64\n", "in quotes"),
    Case("a date as a name", T + "name: 2024-01-01\n", VALID),
    Case("a mistyped date", T + "name: 2024-99-99\n", VALID),
    Case("a time as a whole number", T + "seed: 1:30\n", "seed: got '1:30'"),
    Case("an octal number", T + "seed: 010\n", VALID),
    Case("an octal number that is none", T + "seed: 0o99\n", "seed"),
    Case("yes and no as classes", CLASSES % "[no, yes]", VALID),
    Case("on and off as classes", CLASSES % "[on, off]", VALID),
    Case("truth values as classes", CLASSES % "[true, false]", "'true' in quotes"),
    Case("nothing as a class", CLASSES % "[~, a]", "'null' in quotes"),
    Case("numbers as classes", CLASSES % "[0, 1]", "'0' in quotes"),
    Case("off as a truth value", _source(kind="numbers", rotate="off"), VALID),
    Case("a section without keys", T + "splits:\n", "splits: got None"),
    Case("a number for a section", T + "trained_model: 3\n", "trained_model: got 3"),
    Case("a list for a section", T + "trained_model: [3]\n", "trained_model: got [3]"),
    Case("a null byte in a path", _source(kind="image_folder", path='"a\\0b"'), "expected a path"),
    Case("a path of 5,000 characters", _source(kind="image_folder", path="a/" * 2500), "expected a path"),
    Case("a name of 300 characters in a path", _source(kind="image_folder", path="a" * 300), "between two slashes"),
    Case("escapes in a name", T + 'name: "\\e[31mred"\n', "printable"),
    Case("escapes in a value", _source(kind='"\\e]0;title\\a"'), "expected one of"),
    Case("a secret", T + "name: postgres://me:secret@host/db\n", "URL with a login"),
    Case("an evaluation of itself", T + "existing_experiment: bad\n", VALID),
    Case("a list as an evaluated experiment", T + "existing_experiment: [a]\n", "existing_experiment"),
    Case("an evaluation of ../..", T + "existing_experiment: ../../etc\n", "is not valid"),
)

CASES = (*NO_FILES, *NO_TEXT, *NO_YAML, *TOO_MUCH, *TAGS, *CHAINS, *KEYS, *VALUES)


def try_loading(seed: int) -> Tried:
    """Load the file of a seed in this process."""
    case = CASES[seed % len(CASES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.yaml"
        case.write(path)
        try:
            load_spec(path)
        except SpecError as error:
            return Tried(case.kind, wrong_with(case, str(path), 1, str(error)))
    return Tried(case.kind, wrong_with(case, str(path), 0, ""))


def try_command(seed: int) -> Tried:
    """Let a real command read the file of a seed: ``validate`` for the first seeds, then ``run``."""
    case = CASES[seed % len(CASES)]
    checks = seed // len(CASES) % 2 == 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiments" / "bad.yaml"
        path.parent.mkdir()
        case.write(path)
        if case.expected == VALID:  # which would be run
            checks = True
        code, output, largest_mb = run_assay(Path(folder), *(("validate", str(path)) if checks else ("run", "bad")))
        problem = wrong_with(case, str(path), code, output)
    if largest_mb > MOST_MB:
        problem = problem or f"took {largest_mb:.0f} MB"
    return Tried(f"{'validate' if checks else 'run'}: {case.kind}", problem)


def run_assay(folder: Path, *arguments: str) -> tuple[int, str, float]:
    """Run the command line in a project; returns exit code, output, and its largest memory in MB."""
    variables = {"ASSAY_STORAGE": f"{folder}/storage", "ASSAY_EXPERIMENTS": f"{folder}/experiments"}
    program = "from assay.cli.main import script; script()"
    with tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=folder,
            env={**os.environ, **variables, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        usage = _wait(process)
        written.seek(0)
        return process.returncode, written.read().decode(errors="replace"), usage.ru_maxrss / 1024


def _wait(process: "subprocess.Popen[bytes]") -> resource.struct_rusage:
    """Wait for a process, which is killed when it takes too long; returns what it used."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if time.monotonic() > deadline:
            process.kill()
            deadline += DEADLINE_S
        time.sleep(0.01)


def wrong_with(case: Case, source: str, code: int, output: str) -> str:
    """Return what is wrong about an answer; empty if nothing is."""
    expected_code = 0 if case.expected == VALID else 1
    faults = {
        f"exit code {code} in place of {expected_code}": code != expected_code,
        "a traceback": "Traceback" in output or "unexpected" in output,
        "characters that act on a terminal": printable(output) != output,
        f"{len(output):,} characters": len(output) > MOST_CHARACTERS,
        f"lacks {case.expected!r}": case.expected not in output,
        "does not name the file": case.expected != VALID and source not in output,
    }
    found = [text for text, is_so in faults.items() if is_so]
    return f"{', '.join(found)}: {printable(output[-300:])}" if found else ""


if __name__ == "__main__":
    command(try_command, count=2 * len(CASES), deadline_s=DEADLINE_S * 3)
