"""Experiments on a real object store on loopback: there and back, cut off by SIGKILL at any moment, without secrets."""

import logging
import os
import random
import re
import signal

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.helpers.projects import TINY, digests, make_project

pytestmark = pytest.mark.system

KEY, SECRET = "AKIAPLANTEDKEY000001", "planted/secret+key0123456789"
KILLS = int(os.environ.get("ASSAY_KILLS", "3"))

KILLED_AT_OPERATION = """
import os, signal, sys
from assay.storage.locations.filesystem import Tree
left = [int(sys.argv.pop(1))]
def counting(operation):
    def counted(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(self, *arguments)
    return counted
for name in ("copy_from", "move", "write"):
    setattr(Tree, name, counting(getattr(Tree, name)))
from assay.cli.main import script
script()
"""

LOCATIONS = """\
team:
  url: s3://bucket/experiments
  options: {{key: "${{TEAM_ACCESS_KEY}}", secret: "${{TEAM_SECRET_KEY}}", endpoint_url: "{endpoint}"}}
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket of an S3 server, and the environment with its credentials."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    credentials = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **credentials)
    client.create_bucket(Bucket="bucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEAM_ACCESS_KEY", KEY)
        patch.setenv("TEAM_SECRET_KEY", SECRET)
        yield client, endpoint
    server.stop()


@pytest.fixture(scope="module")
def home(bucket, tmp_path_factory):
    """A project with a finished experiment."""
    project = make_project(tmp_path_factory.mktemp("home"))
    (project.folder / "locations.yaml").write_text(LOCATIONS.format(endpoint=bucket[1]))
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    return project


def another(folder, endpoint):
    """A project without experiments."""
    folder.mkdir(exist_ok=True)
    project = make_project(folder)
    (project.folder / "experiments" / "tiny.yaml").unlink()
    (project.folder / "locations.yaml").write_text(LOCATIONS.format(endpoint=endpoint))
    return project


def keys(client):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def moments(seed, count):
    """Return after how many further files a command is killed, again and again, before it has copied all of them."""
    return [random.Random(seed + kill).randrange(count // KILLS - 1) for kill in range(KILLS)]


def killed(project, operation: int, *command: str) -> None:
    """Run a command that is killed when it copies, moves or writes its n-th file."""
    process = project.start("python", "-c", KILLED_AT_OPERATION, str(operation), *command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, output


def finished(client):
    """Return the folders in the bucket that look finished."""
    names = keys(client)
    folders = {name.split("/")[1] for name in names if name.endswith("/manifest.json") and name.count("/") == 2}
    return {each for each in folders if f"experiments/{each}/.incoming/pending.json" not in names}


def read(client, key):
    return client.get_object(Bucket="bucket", Key=key)["Body"].read()


def stored(client, folder):
    """Return every object of an experiment by name, without the sums that a copy keeps of itself."""
    prefix = f"experiments/{folder}/"
    names = [key for key in keys(client) if key.startswith(prefix) and not key.endswith("/.sha256.json")]
    return {key[len(prefix) :]: read(client, key) for key in names}


def local(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def experiment_folder(project):
    return next((project.storage / "experiments").glob("*-id_tiny"))


def test_a_copy_that_is_killed_goes_on_and_never_looks_finished_before(home, bucket):
    client, _ = bucket
    wanted = local(experiment_folder(home))
    for operation in moments(1, len(wanted)):
        killed(home, operation, "copy", "tiny", "--to", "team")
        assert finished(client) == set()
    code, output = home.assay("copy", "tiny", "--to", "team")
    assert code == 0, output
    assert stored(client, experiment_folder(home).name) == wanted
    code, output = home.assay("copy", "tiny", "--to", "team")
    assert "all there already" in output


def test_an_import_that_is_killed_goes_on_and_brings_everything(home, bucket, tmp_path):
    _, endpoint = bucket
    home.assay("copy", "tiny", "--to", "team")
    away = another(tmp_path, endpoint)
    count = len(local(experiment_folder(home)))
    for operation in moments(2, count):
        killed(away, operation, "import", "tiny", "--from", "team")
        assert not (away.folder / "experiments" / "tiny.yaml").exists()
    code, output = away.assay("import", "tiny", "--from", "team")
    assert code == 0, output
    ours, theirs = digests(away.storage), digests(home.storage)
    assert ours.keys() <= theirs.keys()
    assert ours == {name: theirs[name] for name in ours}
    assert len([name for name in ours if name.endswith(".parquet") and name.startswith("tables/")]) == 5
    query = "select metric, subset, value from analysis order by all"
    assert away.assay("sql", query) == home.assay("sql", query)
    code, output = away.assay("run", "tiny")
    assert (code, "trained_model" in output and "found, nothing to do" in output) == (0, True), output


def test_an_evaluation_that_is_killed_while_it_fetches_goes_on(home, bucket, tmp_path):
    _, endpoint = bucket
    home.assay("copy", "tiny", "--to", "team")
    away = another(tmp_path, endpoint)
    code, output = away.assay("eval", "tiny", "--from", "team", "--id", "judge")
    assert code == 0, output
    for operation in (0, 2, 3):
        killed(away, operation, "run", "judge", "--job", "job_eval")
        assert not list(away.storage.glob("data/predictions/*/manifest.json"))
    code, output = away.assay("run", "judge", "--job", "job_eval")
    assert code == 0, output
    ours, theirs = digests(away.storage), digests(home.storage)
    names = [name for name in theirs if name.startswith("data/trained_model/")]
    assert len(names) > 5
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
    assert not any((away.storage / "adopted" / ".fetched").iterdir())


def test_an_experiment_may_live_in_a_bucket(home, bucket, tmp_path):
    client, endpoint = bucket
    project = another(tmp_path, endpoint)
    project.write("lives-there", f"exp_out_location: team\n{TINY}")
    code, output = project.assay("run", "lives-there")
    assert code == 0, output
    folder = next((project.storage / "team").iterdir())
    assert stored(client, folder.name) == local(folder)


@pytest.mark.defect("B7")
def test_the_source_in_a_bucket_goes_only_after_the_copy_was_read_back(home, bucket, tmp_path):
    client, _ = bucket
    home.assay("copy", "tiny", "--to", "team")
    (tmp_path / "attic").mkdir()
    with (home.folder / "locations.yaml").open("a") as file:
        file.write(f"attic: {{url: {tmp_path / 'attic'}}}\n")
    name = experiment_folder(home).name
    before = stored(client, name)
    code, output = home.assay("copy", "tiny", "--from", "team", "--to", "attic", "--delete-source", "--yes")
    assert code == 0, output
    assert {n: c for n, c in local(tmp_path / "attic" / name).items() if n != ".sha256.json"} == before
    assert stored(client, name) == {}


def test_a_server_that_is_away_is_one_sentence_without_secrets(home):
    path = home.folder / "locations.yaml"
    text = path.read_text()
    path.write_text(re.sub(r"http://[^\"]+", "http://127.0.0.1:9", text))
    try:
        code, output = home.assay("copy", "tiny", "--to", "team")
    finally:
        path.write_text(text)
    assert code == 1
    assert output.startswith("error: Location 'team' can't be used: ")
    assert SECRET not in output
    assert KEY not in output


def test_planted_secrets_are_nowhere(home, bucket):
    client, _ = bucket
    home.assay("copy", "tiny", "--to", "team")
    home.assay("locations")
    texts = [path for path in home.folder.rglob("*") if path.is_file()]
    assert len(texts) > 50
    for secret in (KEY.encode(), SECRET.encode()):
        assert [path for path in texts if secret in path.read_bytes()] == []
        assert [key for key in keys(client) if secret in read(client, key)] == []
