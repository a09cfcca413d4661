"""The page about an experiment: whole, self-contained, and never obeying a text that somebody else wrote."""

import base64
import io
from html.parser import HTMLParser

import polars as pl
import pytest
from PIL import Image

from assay.analysis.base import ANALYSIS_SCHEMA
from assay.dashboard.report import write_report
from assay.dashboard.report_sections import MOST_PICTURE_BYTES, SECTIONS
from assay.errors import IdError, StorageError
from assay.experiments.folders import cost_in
from assay.spec.yaml_text import to_yaml
from assay.storage.costs import Spent, cost_of, write_cost
from assay.storage.files import write_json, write_text
from assay.utils.html import STATIC_POLICY

EVIL = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>&amp;\u202e\x07'
FINGERPRINT = "0123456789abcdef01234567"
STAGES = ("generated_images", "splits", "crops", "trained_model", "predictions", "analysis")
TESTS = (
    "name,kind,passed,severity,blocking,description,measured,expected\r\n"
    "leak,split_leakage,False,error,True,2 x same file.,2,none\r\n"
)


class Reader(HTMLParser):
    """Collects what a browser would see: elements, attributes, texts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.texts = [], [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def picture(width=40):
    file = io.BytesIO()
    Image.new("RGB", (width, 30), "red").save(file, "PNG")
    return file.getvalue()


def score(subset, metric, value, class_=""):
    row = {"subset": subset, "metric": metric, "class": class_, "value": value, "ci_low": value - 0.1}
    fixed = {"ci_high": value + 0.1, "baseline": 0.2, "baseline_name": "majority class", "unit": "", "count": 60}
    return {**row, **fixed, "simple_value": 0.55, "simple_model": "HOG with a linear SVM"}


class Folder:
    """An experiment's folder as a run leaves it, made of a few small files."""

    def __init__(self, root, class_name="cat"):
        self.root, self.class_name = root, class_name
        self.path = root / "experiments" / "CLS-1"
        self.spec = {
            "task": "classification",
            "name": class_name,
            "description": f"about {class_name}",
            "tags": {"team": class_name},
            "seed": 7,
            "trained_model": {"model": {"kind": "cnn"}, "learner": {"loss": "cross_entropy", "api_key": "planted"}},
            "exptests": {"tests": [{"kind": "split_leakage"}]},
        }
        write_json(root / "experiments_index" / "cats.json", {"run_id": "r", "folder": "experiments/CLS-1"})
        write_text(self.path / "experiment_info.yaml", to_yaml({"run_id": "2026-05-03T12.00.00.000000Z-0123456789ab"}))
        self.save(*STAGES)

    def save(self, *stages):
        write_text(self.path / "configs" / "experiment.yaml", to_yaml(self.spec))
        write_json(self.path / "manifest.json", {"results": dict.fromkeys(stages, FINGERPRINT), "files": {}})

    def report(self, stage, **values):
        write_json(self.path / "results" / stage / "report.json", values)

    def finish(self):
        name = self.class_name
        counts = {"classes": {name: 9}, "counted": "items of the class"}
        self.report("trained_model", epochs=5, epoch=3, chosen_by="best loss", data={"train": counts})
        self.report("predictions", data={"test": counts})
        self.report("analysis", summary=f"accuracy 0.9, {name}", next=f"Look at {name}.")
        write_text(
            self.path / "datasetsstats" / "splits.yaml",
            to_yaml({"items_per_subset": {"train": 30, "test": 60}, "warnings": [f"few of {name}"]}),
        )
        rows = [
            score("test", "accuracy", 0.9),
            score("test", "recall", 0.8, name),
            score("validation", "accuracy", 0.7),
        ]
        self.table("analysis", pl.DataFrame(rows, ANALYSIS_SCHEMA))
        items = pl.DataFrame({"subset": ["test", "train"], "item": [f"{name}.png", "other"], "confidence": [0.75, 0.5]})
        self.table("worst_items", items)
        self.table("suspicious_labels", items)
        write_text(self.path / "exp_tests.csv", TESTS.replace("same file", f'""{name[:4]}""'))
        for stem in ("confusion_matrix", "worst_items"):
            self.picture(f"analysis/pictures/{stem}.png", picture())
        return self

    def table(self, name, frame):
        path = self.path / "analysis" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        frame.write_parquet(path)

    def picture(self, name, content):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def read(self):
        return Reader(write_report(self.root, "cats"))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_page_of_a_finished_experiment_holds_all_that_is_known(folder):
    page = folder.finish().read()
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(SECTIONS) == page.elements.count("section")
    assert {f"#{each}" for each in ids} == {value for name, value in page.attributes if name == "href"} - {"data:,"}
    for text in (
        "accuracy 0.9, cat",
        "Look at cat.",
        "started 2026-05-03 12:00 UTC",
        ["0.900", "[0.800,", "1.000]"][0],
        "0.200 (majority class)",
        "0.550 (HOG with a linear SVM)",
        "few of cat",
        "cat.png",
        "1 of 1 test failed.",
        FINGERPRINT,
    ):
        assert text in page.text, text
    assert page.elements.count("img") == 2
    assert "Not made yet" not in page.text


@pytest.mark.parametrize(("kind", "shown"), [("mlp", True), ("linear", False), ("gradient_boosting", False)])
def test_keys_of_a_training_in_steps_are_told_of_models_that_are_trained_in_steps_only(folder, kind, shown):
    learner = {"loss": "cross_entropy", "optimizer": "adamw", "learning_rate": 0.004}
    folder.spec["trained_model"] = {"model": {"kind": kind}, "learner": learner}
    folder.save(*STAGES)
    text = folder.finish().read().text
    assert ("Optimizer adamw Learning rate 0.004" in text) is shown
    assert f"5, of which {'epoch' if shown else 'fit'} 3 is used (best loss)" in text


def test_the_page_loads_nothing_and_runs_nothing(folder):
    page = folder.finish().read()
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "script" not in page.elements
    assert ("content", STATIC_POLICY) in page.attributes
    assert STATIC_POLICY.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "url(" not in (text := folder.path.joinpath("report.html").read_text())
    assert "@import" not in text


def test_the_same_experiment_gives_the_same_bytes(folder, tmp_path):
    folder.finish()
    first = write_report(tmp_path, "cats").read_bytes()
    assert write_report(tmp_path, "cats", tmp_path / "again.html").read_bytes() == first


def test_no_text_of_the_user_becomes_markup(tmp_path):
    page = Folder(tmp_path, EVIL).finish().read()
    assert "script" not in page.elements
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(value.startswith("data:image/png") for name, value in page.attributes if name == "src")
    shown = EVIL.replace("\u202e", "\\u202e").replace("\x07", "\\x07")
    assert page.text.count(shown) >= 9  # name, description, tag, classes, warning, summary, next, item
    assert "\u202e" not in page.text


def test_secrets_are_not_shown(folder, monkeypatch):
    monkeypatch.setenv("TEAM_TOKEN", "planted-in-the-environment")
    folder.spec["name"] = "uses planted-in-the-environment and https://mia:planted@example.org/x"
    folder.save(*STAGES)
    text = folder.finish().read().text
    assert "planted" not in text
    assert "https://***@example.org/x" in text


@pytest.mark.parametrize(
    ("made", "missing"),
    [
        ((), "generated_images, splits, crops, trained_model, predictions, analysis"),
        (STAGES[:3], "trained_model, predictions, analysis"),
        (STAGES[:4], "predictions, analysis"),
    ],
)
def test_an_unfinished_experiment_says_what_is_missing_and_how_to_make_it(folder, made, missing):
    folder.save(*made)
    text = folder.read().text
    assert f"Not finished: {missing} not made yet. Next: assay run cats" in text
    assert "Not made yet: analysis. Next: assay run cats" in text
    assert "Nobody has tested yet whether an item, or a copy of one, is in two subsets." in text


def test_an_interval_that_is_not_there_says_why_and_the_verdict_is_careful(folder):
    folder.finish()
    row = {**score("test", "accuracy", 0.9), "ci_low": None, "ci_high": None}
    folder.table("analysis", pl.DataFrame([row], ANALYSIS_SCHEMA))
    assert "too few items" not in folder.read().text
    folder.spec["analysis"] = {"result_analyzer": {"bootstrap_samples": 1000}}
    folder.save(*STAGES)
    text = folder.read().text
    assert "accuracy on test 0.900 too few items baseline (majority class) 0.200 HOG with a linear SVM 0.550" in text
    assert "0.550 (HOG with a linear SVM) not surely 60" in text


def test_objects_are_counted_beside_the_images_that_hold_them(folder):
    folder.finish()
    folder.report("predictions", data={"test": {"items": 99}})
    assert "Subset Items Objects train 30 – test 60 99" in folder.read().text


def test_a_test_that_the_spec_does_not_ask_for_is_offered(folder):
    folder.spec["exptests"] = {"tests": []}
    folder.save(*STAGES)
    text = folder.finish().read().text
    assert "- kind: split_leakage" not in text  # it ran once
    (folder.path / "exp_tests.csv").unlink()
    text = folder.read().text
    assert "Next: add '- kind: split_leakage' to exptests.tests." in text
    assert "The spec asks for no tests (exptests.tests)." in text


def test_pictures_that_are_too_large_are_named_and_what_is_no_picture_is_left_out(folder):
    folder.finish()
    folder.picture("analysis/pictures/huge.png", picture() + bytes(MOST_PICTURE_BYTES))
    folder.picture("analysis/pictures/page.png", b"<script>alert(1)</script>")
    page = folder.read()
    assert page.elements.count("img") == 2
    assert "Huge: 3.5 MB, too large for this page: " in page.text
    assert (folder.path / "report.html").stat().st_size < 5_000_000


def test_pictures_are_embedded_as_they_are(folder):
    folder.finish()
    page = folder.read()
    content = [base64.b64decode(value.partition(",")[2]) for name, value in page.attributes if name == "src"]
    assert content == [picture(), picture()]


def test_long_tables_and_texts_are_cut_and_say_so(folder):
    folder.finish()
    names = [f"item-{number}" for number in range(100)]
    folder.table("worst_items", pl.DataFrame({"subset": ["test"] * 100, "item": names}))
    folder.report("analysis", summary="x" * 9000)
    text = folder.read().text
    assert "… and 60 more rows" in text
    assert "item-39" in text
    assert "item-40" not in text
    assert f"{'x' * 2000}… (9,000 characters)" in text
    assert "x" * 2001 not in text


@pytest.mark.parametrize("value", [[1], "text", {"classes": 3}, None, 1.5], ids=str)
def test_reports_of_any_shape_are_shown(folder, value):
    folder.finish()
    keys = ("data", "target", "summary", "next", "epochs", "rows", "validation_loss", "stopped", "input_shape")
    for stage in ("trained_model", "predictions", "analysis"):
        folder.report(stage, **dict.fromkeys(keys, value))
    for name in ("splits", "generated_images"):
        keys = ("items_per_subset", "warnings", "labels_per_subset", "share_per_subset")
        write_text(folder.path / "datasetsstats" / f"{name}.yaml", to_yaml(dict.fromkeys(keys, value)))
    assert folder.read().elements.count("section") == len(SECTIONS)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"subset": ["test"], "value": [1.0]}, "analysis.parquet has no column 'metric'"),
        ({name: ["x"] for name in ANALYSIS_SCHEMA}, "analysis.parquet has columns of other types"),
    ],
)
def test_tables_of_another_version_are_one_sentence(folder, tmp_path, columns, told):
    folder.finish()
    folder.table("analysis", pl.DataFrame(columns))
    with pytest.raises(StorageError, match=rf"{told}; it was made by another version.*Next: assay run cats"):
        write_report(tmp_path, "cats")
    assert not (folder.path / "report.html").exists()


def test_an_analysis_that_looked_for_no_wrong_labels_says_so(folder):
    folder.finish()
    (folder.path / "analysis" / "suspicious_labels.parquet").unlink()
    assert "did not look for wrong labels. Next: assay run cats" in folder.read().text


@pytest.mark.parametrize("content", ["", "a,b\r\n1,2\r\n", "name\r\nx\r\n", "\xff\xfe"])
def test_a_list_of_tests_that_is_none_is_an_error_or_empty(folder, tmp_path, content):
    folder.finish()
    (folder.path / "exp_tests.csv").write_bytes(content.encode("latin-1"))
    if not content:
        assert "Nobody has tested yet" in folder.read().text
        return
    with pytest.raises(StorageError, match=r"exp_tests\.csv"):
        write_report(tmp_path, "cats")


def test_what_is_no_report_is_not_replaced(folder, tmp_path):
    folder.finish()
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    (tmp_path / "folder.html").mkdir()
    for name, told in (
        ("mine.html", "exists and is no report"),
        ("folder.html", "is a folder. Name a file"),
        ("page.pdf", r"does not end in .html.*--out .*page.html"),
    ):
        with pytest.raises(StorageError, match=told):
            write_report(tmp_path, "cats", tmp_path / name)
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"
    assert write_report(tmp_path, "cats", tmp_path / "new" / "page.html").is_file()
    assert write_report(tmp_path, "cats", tmp_path / "new" / "page.html").is_file()


def test_an_experiment_without_folder_or_spec_is_refused(folder, tmp_path):
    with pytest.raises(StorageError, match=r"Experiment 'dogs' has no folder\. Next: assay run dogs"):
        write_report(tmp_path, "dogs")
    with pytest.raises(IdError):
        write_report(tmp_path, "../cats")
    (folder.path / "configs" / "experiment.yaml").unlink()
    with pytest.raises(StorageError, match=r"has no configs/experiment\.yaml"):
        write_report(tmp_path, "cats")


def test_names_that_are_no_text_are_written_as_escapes(folder):
    folder.finish()
    folder.table("analysis", pl.DataFrame([score("test", "recall", 0.5, "\x00caf\u00e9")], ANALYSIS_SCHEMA))
    assert "\\x00café" in folder.read().text


def test_statistics_that_are_no_yaml_hide_nothing_else(folder):
    folder.finish()
    for content in ("7: 8", "[", "x" * 2_000_000):
        (folder.path / "datasetsstats" / "splits.yaml").write_text(content)
        (folder.path / "datasetsstats" / "generated_images.yaml").write_text(content)
        assert "accuracy 0.9, cat" in folder.read().text


def test_what_results_cost_is_told_as_far_as_it_was_recorded(folder):
    assert "What its results cost was not recorded." in folder.finish().read().text
    spent = Spent(wall_s=12.34, cpu_s=23.0, peak_memory_mb=812.0, attempts=2)
    write_cost(cost_in(folder.path, "trained_model"), cost_of(spent, "trained_model", FINGERPRINT, "dogs", 4_200_000))
    write_text(cost_in(folder.path, "analysis"), f'{{"wall_s": "{EVIL[:4]}"}}')
    text = folder.read().text
    assert "trained_model 12 s, CPU 23 s, memory 812 MB, 4.2 MB in 2 attempts; made for dogs" in text
    assert "All of it: 12 s, CPU 23 s, memory 812 MB, 4.2 MB, on " in text
    assert "; without generated_images, splits, crops, predictions, analysis: not recorded." in text
