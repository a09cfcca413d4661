import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from assay.checks import ExperimentFiles, run_test
from assay.spec.exptests import ModelsSavedTest


def run_on(folder, **keys):
    return run_test(ModelsSavedTest(**keys), ExperimentFiles(model_folder=folder))


def save_model(path, weights=(1.0, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weights": np.array(weights, dtype=np.float32), "steps": np.array([7])}, path)


def save_bfloat16(path, bits):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [len(bits)], "data_offsets": [0, 2 * len(bits)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array(bits, dtype="<u2").tobytes())


def test_a_model_that_opens_and_is_finite_passes(tmp_path):
    save_model(tmp_path / "model.safetensors")
    result = run_on(tmp_path)
    assert result.passed
    assert result.measured == "1 model file, 0 problems"


@pytest.mark.defect("A13")
def test_an_empty_model_file_fails(tmp_path):
    (tmp_path / "model.safetensors").touch()
    result = run_on(tmp_path)
    assert not result.passed
    assert "model.safetensors: the file is empty" in result.description


@pytest.mark.defect("A13")
@pytest.mark.parametrize("kept", [1, 8, 60, -1])
def test_a_truncated_model_file_fails(tmp_path, kept):
    path = tmp_path / "model.safetensors"
    save_model(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "can't be opened" in run_on(tmp_path).description


def test_a_broken_model_beside_a_whole_one_fails(tmp_path):
    save_model(tmp_path / "model.safetensors")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "last.safetensors").write_bytes(b"x" * 100)
    assert "models/last.safetensors" in run_on(tmp_path).description


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_with_a_number_that_is_not_finite_fails_and_names_the_tensor(tmp_path, value):
    save_model(tmp_path / "model.safetensors", (1.0, value))
    assert "NaN or infinity in weights" in run_on(tmp_path).description


def test_bfloat16_is_read_although_numpy_does_not_know_it(tmp_path):
    save_bfloat16(tmp_path / "model.safetensors", [0x3F80, 0x7F7F])
    assert run_on(tmp_path).passed
    save_bfloat16(tmp_path / "model.safetensors", [0x3F80, 0x7FC0])
    assert not run_on(tmp_path).passed


def test_a_model_without_tensors_fails(tmp_path):
    save_file({}, tmp_path / "model.safetensors")
    assert "holds no tensor" in run_on(tmp_path).description


def test_too_few_models_fail(tmp_path):
    save_model(tmp_path / "model.safetensors")
    assert not run_on(tmp_path, min_models=2).passed
    assert not run_on(tmp_path / "nothing").passed


def test_without_a_model_folder_it_says_what_to_materialize():
    result = run_on(None)
    assert not result.passed
    assert "Materialize trained_model first" in result.description
