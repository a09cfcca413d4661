"""Models on a frozen network that others have trained: from its folder to predictions, exports and shared features."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import AssayError, DataError, StorageError
from assay.experiments.copying import pack_experiment
from assay.experiments.garbage import collect_garbage, find_garbage
from assay.experiments.importing import import_pack
from assay.inference.export import export_model
from assay.inference.mlflow_flavour import save_flavour
from assay.inference.model import open_model
from assay.inference.stored import find_model
from assay.pipeline import digest_of, stage_config
from assay.storage.results import Result, verify
from assay.training.annotations import Annotations
from assay.training.data import data_source
from assay.training.inputs import fitted_pixels
from assay.training.models.pretrained import read_backbone
from assay.training.prepare import prepare_training
from assay.training.tasks.base import TrainingRequest
from tests.helpers.backbones import SIZE, save_backbone, save_efficientnet_lite0
from tests.helpers.trained import TrainedProject

pytestmark = pytest.mark.system

COLOURS = {"red": (200, 60, 50), "green": (60, 180, 70), "blue": (50, 70, 210)}


def write_pictures(folder: Path, count: int = 16) -> None:
    """Write pictures of three colours, of several shapes and modes."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = generator.integers(30, 60, 2)
            pixels = np.clip(colour + generator.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
            image = Image.fromarray(pixels)
            image = image.convert("RGBA") if number == 0 else image.quantize(64) if number == 1 else image
            image.save(folder / name / f"{number}.png")


def values(head: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return an experiment on these pictures."""
    model = {"kind": "pretrained", "weights": "backbones/resnet", **({"head": head} if head else {})}
    return {
        "task": "classification",
        "generated_images": {"source": {"kind": "image_folder", "path": "pictures"}},
        "trained_model": {"model": model, **changes},
        "analysis": {"result_analyzer": {"bootstrap_samples": 20}},
    }


MLP = {"kind": "mlp", "width": 16}

EXPERIMENTS = {
    "linear": values(),
    "network": values(MLP, train_params={"epochs": 4, "least_steps": 40}),
    "wide": values({**MLP, "width": 24}, train_params={"epochs": 2}, learner={"learning_rate": 0.001}),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> TrainedProject:
    project = TrainedProject(tmp_path_factory.mktemp("pretrained"))
    write_pictures(project.folder / "pictures")
    save_backbone(project.folder / "backbones" / "resnet")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(patch)
        for name, spec in EXPERIMENTS.items():
            project.write(name, spec)
            project.run(name)
    return project


@pytest.fixture(autouse=True)
def _in_project(project, monkeypatch):
    project.enter(monkeypatch)


def stored(project: TrainedProject, stage: str) -> list[Path]:
    return sorted((project.storage / "data" / stage).glob("[0-9a-f]*"))


def result_of(project: TrainedProject, name: str, stage: str = "trained_model") -> Result:
    return project.run(name, until=stage)[stage]


def test_all_heads_share_one_result_of_features(project):
    (features,) = stored(project, "features")
    assert verify(Result("features", features.name, features)) == []
    assert len(stored(project, "trained_model")) == len(EXPERIMENTS)
    reports = [result_of(project, name).report for name in EXPERIMENTS]
    assert {report["features"] for report in reports} == {features.name}
    assert {report["model"] for report in reports} == {"pretrained"}


@pytest.mark.parametrize("name", ["linear", "network"])
def test_colours_are_told_apart(project, name):
    metrics = pl.read_parquet(project.run(name)["analysis"].folder / "analysis.parquet")
    accuracy = metrics.filter((pl.col("metric") == "accuracy") & (pl.col("subset") == "test"))["value"].item()
    assert accuracy > 0.8


def test_the_sentence_of_the_analysis_compares_with_a_simple_model(project):
    assert "HOG" in project.run("linear")["analysis"].report["summary"]


@pytest.mark.parametrize("name", ["linear", "network"])
def test_new_pictures_get_the_predictions_of_the_stage(project, name):
    """The stage predicts from shared features, a loaded model from pictures, and without the folder of the weights."""
    made = project.run(name)
    predictions = pl.read_parquet(made["predictions"].folder / "predictions.parquet").sort("item")
    hidden = (project.folder / "backbones").rename(project.folder / "elsewhere")
    try:
        model = open_model(made["trained_model"].folder)
        crops = pl.read_parquet(made["crops"].folder / "crops.parquet").sort("item")
        crops = crops.filter(pl.col("item").is_in(predictions["item"].implode()))
        again = model.predict([made["crops"].folder / file for file in crops["file"]])
    finally:
        hidden.rename(project.folder / "backbones")
    columns = [f"prob_{colour}" for colour in COLOURS]
    assert np.abs(again.select(columns).to_numpy() - predictions.select(columns).to_numpy()).max() < 1e-4
    assert model.card.inputs["image_size"] == SIZE


def test_the_features_are_those_of_the_package(project):
    """Of one picture by hand: fitted into a square, normalized as the folder says, pooled by the network itself."""
    import transformers

    (folder,) = stored(project, "features")
    crops = project.run("linear", until="crops")["crops"].folder
    row = pl.read_parquet(crops / "crops.parquet").row(5, named=True)
    with Image.open(crops / row["file"]) as image:
        square = ImageOps.pad(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = (np.asarray(square) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]
    network = transformers.AutoModel.from_pretrained(project.folder / "backbones" / "resnet")
    with torch.no_grad():
        wanted = network(pixel_values=torch.tensor(pixels).permute(2, 0, 1)[None].float()).pooler_output.flatten()
    table = pl.read_parquet(folder / "features.parquet").filter(pl.col("item") == row["item"])
    assert np.abs(table.drop("item").to_numpy()[0] - wanted.numpy()).max() < 1e-4


def test_the_linear_head_is_logistic_regression_on_standardized_features(project):
    project.write("fixed", values({"kind": "linear", "penalty": 1.0}))
    made = project.run("fixed", until="predictions")
    rows = pl.read_parquet(made["crops"].folder / "crops.parquet")
    features = pl.read_parquet(stored(project, "features")[0] / "features.parquet").drop("item").to_numpy()
    is_train, is_test = (rows["subset"] == name for name in ("train", "test"))
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    by_hand.fit(features[is_train.to_numpy()], rows.filter(is_train)["label"].to_numpy())
    probabilities = by_hand.predict_proba(features[is_test.to_numpy()])
    predictions = pl.read_parquet(made["predictions"].folder / "predictions.parquet")
    predictions = rows.filter(is_test).select("item").join(predictions, on="item", maintain_order="left")
    ours = predictions.select(f"prob_{name}" for name in by_hand.classes_).to_numpy()
    assert np.abs(ours - probabilities).max() < 5e-3


@pytest.mark.parametrize("format", ["onnx", "safetensors", "torch"])
def test_an_exported_model_gives_the_same(project, tmp_path, format):
    parity = export_model(open_model(result_of(project, "linear").folder), format, tmp_path / "exported")
    assert parity.passed


def test_the_same_spec_gives_the_same_bytes(project, tmp_path, monkeypatch):
    first = project.run("network", until="trained_model")["trained_model"]
    again = TrainedProject(tmp_path)
    for name in ("pictures", "backbones"):
        shutil.copytree(project.folder / name, tmp_path / name)
    again.write("network", EXPERIMENTS["network"])
    again.enter(monkeypatch)
    second = again.run("network", until="trained_model")["trained_model"]
    assert second.fingerprint == first.fingerprint
    assert second.manifest["files"] == first.manifest["files"]
    pairs = zip(stored(project, "features"), stored(again, "features"), strict=True)
    files = [[Result("features", each.name, each).manifest["files"] for each in pair] for pair in pairs]
    assert all(one == other for one, other in files)


def test_features_that_are_gone_are_made_again_from_the_model_itself(project):
    (folder,) = stored(project, "features")
    table = (folder / "features.parquet").read_bytes()
    shutil.rmtree(folder)
    project.write("later", {**EXPERIMENTS["linear"], "predictions": {"datasets": ["test", "validation"]}})
    hidden = (project.folder / "backbones").rename(project.folder / "elsewhere")
    try:
        with pytest.raises(DataError, match="there is no folder"):
            read_backbone("backbones/resnet", "", None)
        spec = project.specs.load("linear")
        digest = stage_config(spec, "linear", "trained_model").digest
    finally:
        hidden.rename(project.folder / "backbones")
    assert digest != stage_config(spec, "linear", "trained_model").digest
    project.run("later", until="predictions")
    assert (folder / "features.parquet").read_bytes() == table


def test_features_are_garbage_once_no_model_was_trained_on_them(project, tmp_path, monkeypatch):
    place = TrainedProject(tmp_path / "project")
    shutil.copytree(project.folder, place.folder)
    place.enter(monkeypatch)
    names = [path.stem for path in (place.folder / "experiments").glob("*.yaml")]
    for name in names[1:]:
        place.specs.path(name).unlink()
    assert collect_garbage(place.storage, place.specs, find_garbage(place.storage, place.specs), settled_s=0) == []
    assert len(stored(place, "trained_model")) == 1
    assert len(stored(place, "features")) == 1
    place.specs.path(names[0]).unlink()
    collect_garbage(place.storage, place.specs, find_garbage(place.storage, place.specs), settled_s=0)
    collect_garbage(place.storage, place.specs, find_garbage(place.storage, place.specs), settled_s=0)
    assert stored(place, "features") == []


@pytest.mark.parametrize("kind", ["convnext", "vit"])
def test_other_architectures_learn_and_are_exported(project, tmp_path, kind):
    folder = save_backbone(project.folder / "backbones" / kind, kind)
    if kind == "vit":
        (folder / "preprocessor_config.json").unlink()
    spec = values()
    spec["trained_model"]["model"]["weights"] = f"backbones/{kind}"
    project.write(kind, spec)
    result = result_of(project, kind)
    assert ("preprocessor_config.json: the network got pictures of 32 px" in str(result.report)) == (kind == "vit")
    assert export_model(open_model(result.folder), "onnx", tmp_path / "exported").passed


def test_pictures_that_were_reduced_further_than_the_network_reads_them_are_told(project):
    for name, most, told in (("small", 16, True), ("large", 64, False)):
        project.write(name, {**values(), "crops": {"max_size": most}})
        warnings = str(result_of(project, name).report.get("warnings"))
        assert ("48 pictures were reduced to 16 px (crops.max_size) before. Set crops.max_size: 32" in warnings) == told


def test_numbers_and_several_labels_are_learned(project):
    for place, name in enumerate(COLOURS):
        shutil.copytree(project.folder / "pictures" / name, project.folder / "numbers" / str(10 * place))
    number = {**values(), "task": "regression"}
    number["generated_images"] = {"source": {"kind": "image_folder", "path": "numbers"}}
    project.write("number", number)
    metrics = pl.read_parquet(project.run("number")["analysis"].folder / "analysis.parquet")
    assert metrics.filter((pl.col("metric") == "mae") & (pl.col("subset") == "test"))["value"].item() < 5
    classes = [*COLOURS, {"name": "warm", "subclasses": ["red"]}]
    labels = values(data_description={"multi_label": True, "classes": classes}, train_params={"decision": "tuned"})
    project.write("labels", labels)
    metrics = pl.read_parquet(project.run("labels")["analysis"].folder / "analysis.parquet")
    assert metrics.filter((pl.col("metric") == "macro_f1") & (pl.col("subset") == "test"))["value"].item() > 0.8


CONFIGS: dict[str, dict[str, Any]] = {
    "text": {"model_type": "bert"},
    "unknown": {"model_type": "resnetx"},
    "grey": {"num_channels": 1},
    "shape": {"embedding_size": 12},
    "around": {"backbone": "somebody/network"},
    "fetched": {"model_type": "detr", "backbone": "microsoft/resnet-50", "use_timm_backbone": False},
    "deep inside": {"further": [{"inner": {"model_type": "timm_backbone", "backbone": "resnet18"}}]},
    "quantized": {"quantization_config": {"quant_method": "fp8"}},
    "activation": {"hidden_act": "nothing"},
    "layers": {"hidden_sizes": [8]},
}
"""What a config.json wrongly says."""


def broken(folder: Path, problem: str) -> Path:
    """Return the folder of a network with a problem."""
    save_backbone(folder, "vit" if problem == "size" else "resnet")
    config, tensors = folder / "config.json", folder / "model.safetensors"
    if problem in CONFIGS:
        config.write_text(json.dumps({**json.loads(config.read_text()), **CONFIGS[problem]}))
    match problem:
        case "pickle":
            tensors.rename(folder / "pytorch_model.bin")
        case "no tensors":
            tensors.unlink()
        case "no config":
            config.unlink()
        case "damaged":
            tensors.write_bytes(b"damaged")
        case "damaged config":
            config.write_text("{")
        case "missing":
            weights = load_file(tensors)
            del weights["resnet.embedder.embedder.convolution.weight"]
            save_file(weights, tensors)
        case "pixels":
            (folder / "preprocessor_config.json").write_text('{"size": "large"}')
    return folder


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("pickle", r"has no model.safetensors: only pytorch_model.bin, which may run code .*save_pretrained"),
        ("no tensors", "has no model.safetensors: fetch it again"),
        ("no config", "has no config.json; expected a folder of Hugging Face"),
        ("damaged", "is no safetensors file"),
        ("damaged config", "is no JSON, or cut off"),
        ("text", "pictures are not what the architecture 'bert' reads"),
        ("unknown", "has no architecture 'resnetx'"),
        ("grey", "reads pictures of 1 channels; expected 3"),
        ("around", "is built around another network"),
        ("fetched", "the architecture 'detr' is built around another network"),
        ("deep inside", "is built around another network"),
        ("quantized", "config.json says that the weights are quantized"),
        ("activation", "nothing.*Fetch the folder again"),
        ("layers", r"more layers than its config.json says, such as .*encoder.stages.1.layers.0"),
        ("shape", r"convolution.weight: 8x3x7x7 in the file, 12x3x7x7 in the network"),
        ("missing", r"convolution.weight: the file lacks it; the network needs 8x3x7x7"),
        ("size", r"does not read pictures of 48x48 px .* Leave out data_description.image_size"),
        ("pixels", "save_pretrained"),
    ],
)
def test_weights_that_cannot_be_used_are_told(tmp_path, problem, message):
    folder = broken(tmp_path / "net", problem)
    with pytest.raises(DataError, match=message):
        read_backbone(str(folder), "", 48 if problem == "size" else None)


def test_what_is_not_there_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for weights, message in [
        (tmp_path / "none" / "at" / "all", "does not exist; give a folder"),
        (tmp_path / "file", "is a file; give the folder that has it"),
        ("nobody/nothing", "nobody/nothing is not in the hub's cache on this machine; Assay never downloads. Next"),
    ]:
        with pytest.raises(DataError, match=message):
            read_backbone(str(weights), "", None)


def test_features_that_are_no_numbers_are_told(project):
    folder = save_backbone(project.folder / "backbones" / "damaged")
    weights = {name: value * float("nan") for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    spec = values()
    spec["trained_model"]["model"]["weights"] = "backbones/damaged"
    project.write("damaged", spec)
    with pytest.raises(DataError, match="features of 48 pictures are not finite"):
        project.run("damaged", until="trained_model")
    project.specs.path("damaged").unlink()


def test_damaged_features_say_what_to_do(project, tmp_path, monkeypatch):
    place = TrainedProject(shutil.copytree(project.folder, tmp_path / "project", symlinks=True))
    place.enter(monkeypatch)
    for folder in stored(place, "features"):
        (folder / "backbone.safetensors").write_bytes(b"damaged")
    place.write("again", values({"kind": "linear", "penalty": 0.5}))
    with pytest.raises(StorageError, match=r"features.* is damaged .*Delete it: it is made anew by the next run"):
        place.run("again", until="trained_model")


def test_a_missing_package_is_told(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AssayError, match=r"needs transformers. Next: pip install 'assay\[pretrained\]'"):
        read_backbone("backbones/resnet", "", None)


def test_a_model_needs_no_code_of_the_folder(project, tmp_path):
    """A config.json may name Python files beside it; they are not read."""
    folder = save_backbone(tmp_path / "net")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Net", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    found, _ = read_backbone(str(folder), "", None)
    assert "auto_map" not in found.config


def test_a_pack_predicts_where_neither_folder_nor_features_are(project, tmp_path, monkeypatch):
    pack_experiment(project.specs, "linear", tmp_path / "linear.zip")
    picture = project.folder / "pictures" / "red" / "3.png"
    elsewhere = TrainedProject(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.enter(monkeypatch)
    import_pack(elsewhere.specs, tmp_path / "linear.zip")
    assert open_model("linear").predict(picture)["predicted_class"].to_list() == ["red"]


def test_mlflow_is_told_of_the_package_that_the_model_needs(project, tmp_path):
    save_flavour(find_model("linear"), tmp_path / "model")
    assert "transformers==" in (tmp_path / "model" / "requirements.txt").read_text()
    found = open_model(tmp_path / "model" / "data" / "assay")
    assert found.predict(project.folder / "pictures" / "blue" / "3.png")["predicted_class"].to_list() == ["blue"]


def test_weights_learned_from_imagenet_name_photos(tmp_path):
    """A cat and a cup of espresso, by the features that are read and the last layer that is left out."""
    import skimage.data

    folder = save_efficientnet_lite0(tmp_path / "network")
    _, network = read_backbone(str(folder), "", None)
    layer = load_file(folder / "model.safetensors")
    photos = Path(skimage.data.__file__).parent
    named = []
    for name in ("chelsea.png", "coffee.png"):
        with Image.open(photos / name) as image:
            pixels = torch.from_numpy(fitted_pixels(image, 224)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            named.append((network(pixels) @ layer["classifier.weight"].T + layer["classifier.bias"]).argmax().item())
    assert named == [285, 967]


def test_a_head_never_goes_on_from_one_on_other_features(project):
    """Two networks with as many features: what identifies the state of an unfinished training differs."""
    save_backbone(project.folder / "backbones" / "other", seed=1)
    section, crops = project.specs.load("network").trained_model, project.run("network", until="crops")["crops"]
    owners = set()
    for weights in ("backbones/resnet", "backbones/other"):
        asked = section.model_copy(update={"model": section.model.model_copy(update={"weights": weights})})
        request = TrainingRequest(asked, "classification", 42, Annotations(data_source(crops)))
        owners.add(digest_of(prepare_training(request).card.as_dict()))
    assert len(owners) == 2
