"""Exported models give the trained model's numbers, run without Assay, and are absent where they would not."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from typer.testing import CliRunner

import assay
from assay.cli.main import app, explained
from assay.datasets.filling import FilledInfo
from assay.datasets.scaling import CategoricalInfo
from assay.errors import DataError
from assay.experiments.contents import stage_results
from assay.inference.export import export_model
from assay.inference.model import Model
from assay.inference.parity import Parity, compare_predictions, own_items, predicted_by
from assay.training.model_file import save_model
from tests.helpers.trained import FAMILIES, TABLES

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[3]
FORMATS = {"onnx": "model.onnx", "safetensors": "model.safetensors", "torch": "model.pt2"}


def export(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    message = "" if done.exception is None or isinstance(done.exception, SystemExit) else explained(done.exception)
    return done.exit_code, done.stdout + done.stderr + message


@pytest.fixture(scope="session")
def onnx_folders(trained_families, tmp_path_factory):
    """Give the folder of each family's ONNX model."""
    folder = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as patch:
        trained_families.enter(patch)
        for name in FAMILIES:
            code, told = export(name, "--format", "onnx", "--to", folder / name)
            assert code == 0, told
    return folder


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    """Give the script of the documentation as a file."""
    text = (ROOT / "docs" / "using-models.md").read_text(encoding="utf-8")
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in each]
    path = tmp_path_factory.mktemp("docs") / "use_onnx.py"
    path.write_text(block)
    assert len(block.splitlines()) <= 55
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_the_documented_script_runs_every_family_with_onnxruntime_alone(families, onnx_folders, script, name, tmp_path):
    model = assay.load_model(name)
    model = model.with_network(model.loaded.network)
    if name in TABLES:
        rows = own_items(model.stored)
        rows.select(model.stored.columns).write_csv(tmp_path / "rows.csv")
        paths, expected = [tmp_path / "rows.csv"], model.predict(rows)
    else:
        source = stage_results(families.storage, "detection")["generated_images"].folder
        paths = [*sorted(source.rglob("*.png"))[:3], tmp_path / "deep.png", tmp_path / "clear.png"]
        grey = Image.open(paths[0]).convert("L")
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 200 + 9).save(paths[3])
        Image.merge("RGBA", (grey, grey, grey, ImageOps.invert(grey))).save(paths[4])
        expected = model.predict(paths)
    end = "; sys.exit(any(each in sys.modules for each in ('assay', 'torch', 'polars')))"
    arguments = ["script", str(onnx_folders / name), *map(str, paths)]
    code = f"import sys, runpy; sys.argv = {arguments!r}; runpy.run_path({str(script)!r}){end}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(paths)
    if name in ("regression", *TABLES):
        numbers = [number for each in found for number in each["prediction"]]
        assert numbers == pytest.approx(expected["prediction"].to_list(), rel=1e-5)
        return
    for path, each in zip(paths, found, strict=True):
        own = expected.filter(pl.col("item") == str(path))
        if name == "segmentation":
            shown = own.filter(pl.col("predicted_class") != "background")
            assert each["mask"] == dict(shown.select("predicted_class", "pixels").iter_rows())
        elif name == "detection":
            assert each["class_index"] == own["predicted_class"].to_list()
            assert np.array(each["boxes"])[:, 0] == pytest.approx(own["x_px"].to_numpy(), abs=1e-2)
        else:
            probabilities = own.select("^prob_.*$").to_numpy()
            assert np.array(each["probabilities"]) == pytest.approx(probabilities, abs=1e-6)


def test_the_exported_model_is_described(families, onnx_folders):
    about = json.loads((onnx_folders / "multilabel" / "model.json").read_text())
    assert about["task"] == "multi_label"
    assert about["classes"] == [*"0123456789", "even"]
    assert about["parity"]["items"] == len(own_items(assay.load_model("multilabel").stored))
    assert about["parity"]["largest_difference"] <= 1e-4
    assert about["after_the_network"]["target"]["thresholds"]
    assert sorted(path.name for path in (onnx_folders / "multilabel").iterdir()) == ["model.json", "model.onnx"]


@pytest.mark.parametrize("format", ["safetensors", "torch"])
@pytest.mark.parametrize("name", ["table", "gaps", "softmax", "detection"])
def test_weights_and_programs_are_checked_too(families, name, format, tmp_path):
    code, told = export(name, "--format", format, "--to", tmp_path / "out")
    assert code == 0, told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", FORMATS[format]]
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["parity"]["other_decisions"] == 0


def test_without_to_the_folder_has_the_experiments_name(families, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export("table", "--format", "safetensors")[0] == 0
    assert (tmp_path / "table-safetensors" / "model.safetensors").is_file()


class Liar(torch.nn.Module):
    """A network whose exported form is another one."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        outputs = self.network(batch)
        return outputs * 2 if torch.compiler.is_exporting() else outputs


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_model_that_differs_is_not_written(families, format, tmp_path):
    model = assay.load_model("softmax")
    with pytest.raises(DataError, match="differs from the trained one on 9 test items"):
        export_model(model.with_network(Liar(model.loaded.network)), format, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def in_bfloat16(name, folder, **predictions):
    """Return a model as if its training had computed in bfloat16, with these keys of the section ``predictions``."""
    model = assay.load_model(name)
    params = model.stored.card.section.train_params.model_copy(update={"precision": "bf16"})
    card = model.stored.card.model_copy(
        update={"section": model.stored.card.section.model_copy(update={"train_params": params})}
    )
    section = model.stored.predictions.model_copy(update=predictions)
    return Model(replace(with_card(model, card, folder).stored, predictions=section))


def with_card(model, card, folder):
    """Return a model with another card."""
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_model(path, load_file(model.stored.weights), card)
    return Model(replace(model.stored, card=card, weights=path))


def test_a_detector_with_reductions_is_exported_with_them(families, tmp_path):
    plain = assay.load_model("detection")
    card, inputs = plain.stored.card, plain.stored.card.inputs.model_copy(update={"reductions": (1, 2, 4)})
    description = card.section.data_description.model_copy(update={"window_size": 32})  # few boxes suit the first one
    section = card.section.model_copy(update={"data_description": description})
    handler = plain.stored.predictions.prediction_handler.model_copy(update={"max_boxes": 40})
    model = with_card(plain, card.model_copy(update={"inputs": inputs, "section": section}), tmp_path)
    predictions = plain.stored.predictions.model_copy(update={"prediction_handler": handler})
    model = Model(replace(model.stored, predictions=predictions))
    assert export_model(model, "onnx", tmp_path / "out").passed
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["before_the_network"]["reductions"] == [1, 2, 4]


@pytest.mark.parametrize("name", ["softmax", "detection"])
def test_a_model_trained_in_bfloat16_gives_the_exports_numbers_where_the_spec_says_float32(families, name, tmp_path):
    model = assay.load_model(name)
    items = own_items(model.stored)
    plain = model.with_network(model.loaded.network).predict(items)
    as_trained, exact = in_bfloat16(name, tmp_path), in_bfloat16(name, tmp_path, precision="fp32")
    assert not as_trained.predict(items).equals(plain)  # as its stored predictions were computed
    assert exact.predict(items).equals(plain)
    for model, predicts in ((as_trained, "bf16"), (exact, "fp32")):
        assert export_model(model, "safetensors", tmp_path / predicts).passed
        about = json.loads((tmp_path / predicts / "model.json").read_text())
        assert (about["trained_in"], about["predicted_in"], about["precision"]) == ("bf16", predicts, "fp32")


@pytest.mark.parametrize("name", FAMILIES)
def test_parity_sees_other_numbers(families, name):
    model = assay.load_model(name)
    ours = predicted_by(model, own_items(model.stored))
    assert compare_predictions(model, ours, ours) == Parity(len(ours[2]), 0.0, 0)
    table, masks, items = ours
    if name == "segmentation":
        theirs = (
            table,
            {item: np.where(np.arange(mask.shape[1]) == 3, 1, mask) for item, mask in masks.items()},
            items,
        )
    elif name == "detection":
        theirs = (table.with_columns(pl.col("x_px") + 1), masks, items)
    else:
        theirs = (table.with_columns(pl.selectors.float() * 1.01 + 0.001), masks, items)
    assert not compare_predictions(model, ours, theirs).passed
    if name == "detection":
        assert not compare_predictions(model, ours, (table.head(3), masks, items)).passed


def test_decisions_may_differ_only_in_doubt(families):
    model = assay.load_model("softmax")
    table, masks, items = predicted_by(model, own_items(model.stored))
    other = table.with_columns(predicted_class=pl.lit("0"))
    assert compare_predictions(model, (table, masks, items), (other, masks, items)).other_decisions > 0
    even = table.with_columns(pl.col("^prob_.*$") * 0 + 0.1)
    assert compare_predictions(
        model, (even, masks, items), (even.with_columns(predicted_class=pl.lit("0")), masks, items)
    ).passed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["softmx", "--format", "onnx"], "Did you mean 'softmax'"),
        (["softmax", "--format", "onnx", "--like", "classes.txt"], "--like is for boxes and masks"),
        (["detection", "--format", "coco"], "--to detection-coco"),
        (["table", "--format", "onnx", "--to", "experiments"], "is not an empty folder"),
        (["softmax", "--format", "tflite"], "is not one of"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(families, arguments, told):
    code, said = export(*arguments)
    assert code in (1, 2)
    assert told in said


def test_an_average_over_random_copies_can_not_be_said_in_onnx(families, tmp_path):
    families.write(
        "augmented",
        {
            **FAMILIES["softmax"],
            "predictions": {"prediction_function": {"kind": "augmented", "copies": 2}},
        },
    )
    families.run("augmented")
    code, told = export("augmented", "--format", "onnx", "--to", tmp_path / "out")
    assert code == 1
    assert "averages 2 random copies" in told
    assert "--format safetensors or torch" in told
    assert list(tmp_path.iterdir()) == []
    assert export("augmented", "--format", "torch", "--to", tmp_path / "out")[0] == 0


def test_without_its_test_items_a_model_is_not_exported(families, tmp_path):
    folder = stage_results(families.storage, "detection")["trained_model"].folder
    (tmp_path / "alone.safetensors").write_bytes((folder / "models" / "model.safetensors").read_bytes())
    code, told = export(tmp_path / "alone.safetensors", "--format", "safetensors", "--to", tmp_path / "out")
    assert code == 1
    assert "test items are not in this storage" in told
    assert not (tmp_path / "out").exists()


def test_tall_and_large_pictures_are_resized_to_the_same_bytes(families, onnx_folders):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_folders / "softmax" / "model.onnx")
    model, rng = assay.load_model("softmax"), np.random.default_rng(5)
    for width, height in ((8, 250), (100, 256), (1000, 333), (3, 5), (700, 513), (1, 90), (24, 24)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))
        image = np.clip(np.asarray(coarse) + rng.integers(-9, 9, (height, width, 3)), 0, 255).astype(np.uint8)
        _, probabilities = session.run(None, {"images": image[None]})
        assert probabilities == pytest.approx(model.predict(image).select("^prob_.*$").to_numpy(), abs=2e-7)


def test_several_pictures_of_one_size_go_through_at_once(families, onnx_folders):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_folders / "regression" / "model.onnx")
    images = np.random.default_rng(1).integers(0, 256, (4, 50, 40, 3), dtype=np.uint8)
    (together,) = session.run(None, {"images": images})
    alone = [session.run(None, {"images": image[None]})[0][0] for image in images]
    assert together == pytest.approx(alone, rel=1e-6)


def test_an_unseen_category_is_predicted_as_the_trained_model_does(families, onnx_folders):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_folders / "table" / "model.onnx")
    rows = {"size": np.array([80.0, 80.0]), "rooms": np.array([3.0, 3.0]), "garden": np.array([True, True])}
    (prices,) = session.run(None, {**rows, "town": np.array(["Ulm", "Rom"])})
    frame = pl.DataFrame({**rows, "town": ["Ulm", "Rom"]})
    assert prices == pytest.approx(assay.load_model("table").predict(frame)["prediction"].to_numpy(), rel=1e-5)


@pytest.mark.parametrize("name", ["table", "linear", "boosted"])
def test_an_infinite_number_is_predicted_by_no_number(families, onnx_folders, name):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_folders / name / "model.onnx")
    wanted = {each.name: each.type for each in session.get_inputs()}
    rows = {"rooms": [3.0] * 3, "town": ["Ulm"] * 3, "garden": [True] * 3, "size": [80.0, np.inf, -np.inf]}
    kinds = {"tensor(string)": object, "tensor(bool)": np.bool_, "tensor(double)": np.float64}
    parts_of_dates = dict.fromkeys((key for key in wanted if key.startswith("sold_")), [1.0] * 3)
    values = {**rows, **parts_of_dates}
    (prices,) = session.run(None, {key: np.array(values[key], kinds[kind]) for key, kind in wanted.items()})
    assert np.isfinite(prices).tolist() == [True, False, False]
    assert np.isnan(prices[1:]).all()


def test_a_column_with_empty_texts_and_missing_values_is_refused_by_its_name(families):
    from assay.inference.onnx_model import onnx_model

    model = assay.load_model("gaps")
    (town,) = [info for info in model.stored.scaling.norm_infos if info.name == "town"]
    both = town.model_copy(update={"values": ("", *town.values)})
    scaling = model.stored.scaling.model_copy(update={"norm_infos": (both,)})
    with pytest.raises(DataError, match="column 'town' had both empty texts and missing values in train"):
        onnx_model(Model(replace(model.stored, scaling=scaling), model.loaded), {})


@pytest.mark.parametrize(("values", "codes"), [(("", "a"), [0, 1, 2]), (("a", "b"), [3, 0, 2])])
def test_the_empty_text_is_a_missing_value_unless_it_is_a_category(values, codes):
    import onnxruntime
    from onnx import TensorProto, helper

    from assay.inference.onnx_graph import Nodes, scaled_column

    info = CategoricalInfo(name="x", dtype="String", values=values, unseen_code=2, missing_code=3)
    nodes = Nodes()
    result = nodes.op("Identity", scaled_column(nodes, "x", info, FilledInfo(name="x")))
    given = helper.make_tensor_value_info("x", TensorProto.STRING, ("n",))
    made = helper.make_tensor_value_info(result, TensorProto.DOUBLE, ("n",))
    graph = helper.make_graph(nodes.nodes, "column", [given], [made], nodes.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": np.array(["", "a", "other"], object)})
    assert found.tolist() == codes
