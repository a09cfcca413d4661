"""Every (op, key) of niceml changes something that can be seen: files, rows, numbers, places, refusals.

A base experiment and one that differs in a single key are run by the real jobs, as far as the key's asset; what is
looked at is never a fingerprint or a saved configuration, which any key changes.
"""

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.spec.loading import merged
from assay.storage.locks.acquire import hold
from tests.helpers.niceml_cases import BASES, CASES, EVALUATION, FOLDER, NUMBERS, STAGES, TABLE, folder
from tests.pipeline.conftest import Lab
from tests.pipeline.test_job_page import keys_of_niceml

pytestmark = pytest.mark.system

BY_HAND = {
    ("acquire_locks", "filelock_dict"),
    ("copy_exp", "experiment_id"),
    ("copy_exp", "input_loc_name"),
    ("copy_exp", "output_loc_name"),
}
"""Keys with tests of their own below."""


def write_photos(path):
    """Write 2 classes of 12 images, and 3 more of one class in a folder below; names like s1_2_7.png."""
    noise = np.random.default_rng(0)
    places = [f"{label}/s{number % 6}_{number % 3}_{number}.png" for label in ("cat", "dog") for number in range(12)]
    for name in [*places, *(f"cat/old/s9_{number}_9.png" for number in range(3))]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path / name)


def write_houses(path):
    lines = [f"{50 + n},{'ab'[n % 2]},{str(n % 3 == 0).lower()},{100 + 2 * n}" for n in range(40)]
    path.write_text("\n".join(["area,place,garden,price", *lines]))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The base experiments, each run as a whole or as far as its cases need it."""
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path_factory.mktemp("keys"), instance)
        write_photos(lab.folder / "photos")
        write_houses(lab.folder / "houses.csv")
        for name in ("numbers", "other", "houses"):
            pattern = {"exp_folder_pattern": "HOUSES-$RUN_ID-id_$SHORT_ID"} if name == "houses" else {}
            write(lab, name, {**NUMBERS, "seed": len(name), **pattern})
            assert lab.run(name).success
        write(lab, "folder", FOLDER)
        assert run_until(lab, "folder", "normalized").success
        write(lab, "table", TABLE)
        assert lab.run("table", "job_data_generation").success
        write(lab, "evaluation", EVALUATION)
        assert lab.run("evaluation", "job_eval").success
        yield lab


def write(lab, name, keys):
    lab.write_plain(name, **with_places(keys, {"PHOTOS": lab.folder / "photos", "HOUSES": lab.folder / "houses.csv"}))


def with_places(value, places):
    """Put real paths where their names stand."""
    if isinstance(value, dict):
        return {key: with_places(each, places) for key, each in value.items()}
    return str(places.get(value, value)) if isinstance(value, str) else value


def run_until(lab, name, asset):
    chain = () if asset == "experiment" else STAGES[: STAGES.index(asset) + 1]
    sections = ["experiment", *(f"spec_{each}" for each in (*STAGES, "exptests"))]
    history = ["training_history"] if "trained_model" in chain else []
    assets = [*sections, *chain, *history]
    # By hand, because a job leaves out what the experiment's task doesn't read.
    return lab.run(name, assets=assets) if history else lab.materialize(name, assets)


def test_every_key_has_its_case():
    assert set(CASES) | BY_HAND == {(op, key) for _, op, key in keys_of_niceml()}
    assert not set(CASES) & BY_HAND


@pytest.mark.parametrize(("op", "key"), CASES)
def test_a_key_changes_what_can_be_seen(lab, op, key):
    case = CASES[op, key]
    before = case.see(lab, case.base)
    name = f"{op}-{key}".replace("_", "-").lower()
    write(lab, name, merged(BASES[case.base], case.keys))
    outcome = run_until(lab, name, case.until)
    assert outcome.success, lab.failure(outcome)
    seen = case.see(lab, name)
    assert not same(seen, before)
    assert case.wanted is ... or seen == case.wanted


def same(one, other):
    return one.equals(other) if isinstance(one, pl.DataFrame) else one == other


def test_acquire_locks_filelock_dict(lab):
    lock = {"photos": {"kind": "read", "location": "photos", "timeout_s": 0.2}}
    write(lab, "locked", {**NUMBERS, "filelock_dict": lock})
    with hold(lab.store.path / "locks" / "named", "photos", "write", "by a test"):
        refused = run_until(lab, "locked", "generated_images")
    assert not refused.success
    assert "photos" in lab.failure(refused)
    assert run_until(lab, "locked", "generated_images").success


@pytest.fixture
def archives(lab, tmp_path):
    for name in ("archive", "attic"):
        (tmp_path / name).mkdir()
    lab.locate(archive=tmp_path / "archive", attic=tmp_path / "attic")
    return tmp_path


def copied(lab, archives, place, **config):
    assert lab.operate("job_copy_exp", copy_exp={"experiment_id": "numbers", **config}).success
    return [path.name for path in (archives / place).iterdir()]


def test_copy_exp_experiment_id(lab, archives):
    assert copied(lab, archives, "archive", experiment_id="other", output_loc_name="archive") == [
        folder(lab, "other").name
    ]


def test_copy_exp_input_loc_name(lab, archives):
    assert copied(lab, archives, "archive", output_loc_name="archive") == [folder(lab, "numbers").name]
    (archives / "archive" / folder(lab, "numbers").name / "mine.txt").write_text("only here")
    (name,) = copied(lab, archives, "attic", input_loc_name="archive", output_loc_name="attic")
    assert (archives / "attic" / name / "mine.txt").read_text() == "only here"


def test_copy_exp_output_loc_name(lab, archives):
    assert copied(lab, archives, "attic", output_loc_name="attic") == [folder(lab, "numbers").name]
    assert list((archives / "archive").iterdir()) == []
