"""A storage in a bucket of a real S3 server, and machines with a cache each: shared data, kills, a server that is away.

One server, and one reference on a single machine, for the file.
"""

import json
import os
import random
import re
import signal
import threading
import time
from dataclasses import dataclass

import pytest

from tests.helpers.buckets import SECRET, S3Server, s3_server
from tests.helpers.projects import TINY, Project, digests

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("ASSAY_KILLS", "1"))

OTHER = TINY.replace("name: tiny", "name: other").replace("epochs: 2", "epochs: 1")
"""Shares all data with ``tiny``, and is trained otherwise."""

KILLED_AT_REQUEST = """
import os, signal, sys
from assay.storage.bucket import Bucket
left, write = [int(sys.argv.pop(1))], Bucket._put
def counted(self, name, *arguments):
    if name.startswith(("results/", "experiments/")):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return write(self, name, *arguments)
Bucket._put = counted
from assay.cli.main import script
script()
"""


@dataclass(frozen=True)
class Machine(Project):
    """A machine with a disk of its own, whose storage is in a bucket."""

    server: S3Server | None = None
    url: str = ""

    @property
    def environment(self):
        own = {"ASSAY_STORAGE": self.url, "ASSAY_CACHE": str(self.storage)}
        return {**super().environment, **self.server.variables, **own}

    def hurry(self):
        """Let locks of dead holders be taken over sooner than a busy server needs."""
        code, output = self.assay("show", "nobody")
        assert code == 1, output
        marker = self.storage / "locks" / "s3" / "shared.yaml"
        marker.write_text(re.sub("stale_after_s: .*", "stale_after_s: 11.0", marker.read_text()))


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        yield started


@pytest.fixture
def machine(server, tmp_path):
    """Give ``machine(name)``: one with the experiments ``tiny`` and ``other``, all of them with one storage."""
    url = server.new_prefix()

    def make(name):
        (tmp_path / name).mkdir()
        made = Machine(tmp_path / name, server, url)
        made.write("tiny", TINY)
        made.write("other", OTHER)
        return made

    return make


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What one machine makes of both experiments: the hash of each file."""
    project = Project(tmp_path_factory.mktemp("reference"))
    for name, text in (("tiny", TINY), ("other", OTHER)):
        project.write(name, text)
        code, output = project.assay("run", name)
        assert code == 0, output
    return digests(project.storage)


def built(output):
    return set(re.findall(r"^(\w+) +[\d.]+ s  built", output, re.MULTILINE))


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def problems(machine):
    output = machine.assay("doctor", "--json")[1]
    assert SECRET not in output
    return [
        each for each in json.loads(output) if each["level"] == "problem" and each["area"] not in ("packages", "disk")
    ]


def test_two_machines_share_data_and_see_each_others_experiments(machine, server, reference):
    one, two = machine("one"), machine("two")
    runs = [one.start("assay", "run", "tiny"), two.start("assay", "run", "other")]
    outputs = [finish(run) for run in runs]
    data = {"generated_images", "splits", "crops", "tabular", "normalized"}
    assert (built(outputs[0]) | built(outputs[1])) & data == data & {name.split("/")[1] for name in reference}
    assert built(outputs[0]) & built(outputs[1]) == {"trained_model", "predictions", "analysis"}
    code, output = two.assay("compare", "tiny", "other")
    assert code == 0, output
    assert {"tiny", "other"} <= set(re.findall(r"\w+", output))
    code, output = two.assay("sql", "select distinct experiment_id from analysis")
    assert code == 0, output
    assert {"tiny", "other"} <= set(re.findall(r"\w+", output))
    assert built(finish(two.start("assay", "run", "tiny"))) == set()
    both = {**digests(one.storage), **digests(two.storage)}
    assert both == reference
    assert {name: each for name, each in digests(two.storage).items() if reference[name] != each} == {}
    assert problems(one) == problems(two) == []
    assert not any(SECRET.encode() in path.read_bytes() for path in one.folder.rglob("*") if path.is_file())


def test_a_machine_that_was_killed_while_it_published_is_taken_over(machine, reference):
    one, two = machine("one"), machine("two")
    two.hurry()
    one.hurry()
    for kill in range(KILLS):
        process = one.start("python", "-c", KILLED_AT_REQUEST, str(random.Random(kill).randrange(3, 30)), "run", "tiny")
        output, _ = process.communicate(timeout=600)
        assert process.returncode in (-signal.SIGKILL, 0), output
    output = finish(two.start("assay", "run", "tiny"))
    assert "waits for the write lock on experiments/tiny by process" in output or KILLS > 1
    finish(one.start("assay", "run", "tiny"))
    for each in (one, two):
        found = digests(each.storage)
        assert found == {name: reference[name] for name in found}
        assert problems(each) == []
    assert one.assay("show", "tiny") == one.assay("show", "tiny")


def test_a_server_that_is_killed_and_comes_back_costs_nothing(machine, server, reference):
    one, two = machine("one"), machine("two")
    process = one.start("assay", "run", "tiny")
    for kill in range(KILLS):
        time.sleep(random.Random(kill).uniform(2, 6))
        server.kill()
        threading.Event().wait(3)
        server.start()
    finish(process)
    assert built(finish(two.start("assay", "run", "tiny"))) == set()
    found = digests(two.storage)
    assert found == {name: reference[name] for name in found}
    assert problems(two) == []


def test_what_can_not_be_used_is_one_sentence_with_the_next_step(machine, server):
    one = machine("one")
    told = {
        "gs://team/a": "expected a folder, or s3://BUCKET/PREFIX",
        "s3://nowhere-at-all/a": "The bucket 'nowhere-at-all' does not exist there.",
    }
    for url, expected in told.items():
        code, output = Machine(one.folder, server, url).assay("run", "tiny")
        assert (code, output.count("\n")) == (1, 1), output
        assert expected in output
    code, output = Machine(one.folder, server, "s3://nowhere-at-all/a").assay("doctor")
    assert code == 1
    assert "problem  bucket" in output
