"""The page of jobs is up to date and has every job, op and key of niceml's page."""

import re
from pathlib import Path

import pytest

from definitions import defs
from docs.job_page import job_page

ROOT = Path(__file__).parents[2]
NICEML = ROOT / "tests" / "data" / "dagster-jobs.txt"
PAGE = ROOT / "docs" / "jobs.md"


def keys_of_niceml():
    """Return (job, op, key) of every row of niceml's page."""
    job = op = ""
    in_table, found = False, []
    for line in NICEML.read_text(encoding="utf-8").splitlines():
        if line.startswith("Job: "):
            job, in_table = line[5:], False
        elif line.startswith("Op: "):
            op, in_table = line[4:], False
        elif line.startswith("ConfigKey"):
            in_table = True
        elif in_table and line:
            found.append((job, op, line.split()[0]))
    return found


def ops_of_niceml():
    text = NICEML.read_text(encoding="utf-8")
    parts = re.split(r"^Job: (\w+)$", text, flags=re.M)[1:]
    return {
        job: re.findall(r"^Op: (\w+)$", body, flags=re.M) for job, body in zip(parts[::2], parts[1::2], strict=True)
    }


def keys_of_page():
    """Return (job, op, key) of every row that stands under the name of an op of niceml."""
    found = set()
    for job, body in _parts(r"^## Job: (\w+)$", PAGE.read_text(encoding="utf-8")):
        for _, section in _parts(r"^### (.+)$", body):
            named = re.search(r"^Ops of niceml: (.+)\.$", section, flags=re.M)
            ops = re.findall(r"`(\w+)`", named[1]) if named else []
            keys = re.findall(r"^\| (\w+) \|", section, flags=re.M)
            found |= {(job, op, key) for op in ops for key in keys} | {(job, op, "") for op in ops}
    return found


def _parts(pattern, text):
    parts = re.split(pattern, text, flags=re.M)[1:]
    return zip(parts[::2], parts[1::2], strict=True)


def test_every_row_of_the_page_of_niceml_is_read():
    rows = keys_of_niceml()
    assert len(rows) == 66
    assert len({(op, key) for _, op, key in rows}) == 55
    assert len({op for ops in ops_of_niceml().values() for op in ops}) == 15
    assert len(ops_of_niceml()) == 4


@pytest.mark.parametrize(("job", "op", "key"), keys_of_niceml())
def test_every_key_of_niceml_is_on_the_page(job, op, key):
    assert (job, op, key) in keys_of_page()


@pytest.mark.parametrize("job", ops_of_niceml())
def test_every_op_of_niceml_is_on_the_page(job):
    assert {(job, op, "") for op in ops_of_niceml()[job]} <= keys_of_page()


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == job_page(defs), "Next: make docs"


def test_everything_on_the_page_has_a_description():
    rows = re.findall(r"^\| (\w+) \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert len(rows) > 200
    assert [key for key, text, place in rows if len(text) < 10 or not place] == []


def test_every_op_and_key_has_its_line_in_the_guide_for_users_of_niceml():
    guide = (ROOT / "docs" / "coming-from-niceml.md").read_text(encoding="utf-8")
    missing = {op for ops in ops_of_niceml().values() for op in ops if f"`{op}`" not in guide}
    assert missing == set()
    assert {key for _, _, key in keys_of_niceml() if f"`{key}`" not in guide} == set()
