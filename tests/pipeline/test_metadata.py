"""Metadata of results: numbers that Dagster can plot, everything else as readable text or JSON."""

import dagster as dg
import polars as pl
import pytest
from markdown_it import MarkdownIt

from assay.spec.experiment import FoundExperiment
from assay.storage.results import Result
from assets.checks import TEST_CHECK_KEYS
from assets.common import column_lineage, from_report, lineage, linked_picture
from assets.sensors import observation

EVIL = "```\n~~~\n# out ![x](http://evil.example/x.png) <script>alert(1)</script> | `` | [a](b)\n\n- item"
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def kinds(markdown):
    """Return the kinds of elements that Markdown shows."""
    blocks = MARKDOWN.parse(markdown)
    return {each.type for each in (*blocks, *(part for block in blocks for part in block.children or ()))}


def test_numbers_are_shown_one_by_one():
    assert from_report({"rows": {"train": 3, "test": 1}, "images": 4}) == {"rows/train": 3, "rows/test": 1, "images": 4}


def test_a_metric_with_interval_and_baseline_shows_its_value():
    metric = {"value": 0.9, "ci_low": 0.8, "baseline_name": "majority class"}
    assert from_report({"metrics": {"test": {"accuracy": metric}}}) == {"metrics/test/accuracy": 0.9}


def test_undefined_numbers_are_left_out():
    assert from_report({"metrics": {"test": {"r2": {"value": None, "unit": ""}}}}) == {}


def test_lists_texts_and_large_mappings_are_json():
    many = {str(number): number for number in range(100)}
    found = from_report({"classes": ["a"], "counts": many, "spec": {"kind": "mlp"}})
    assert all(isinstance(value, dg.JsonMetadataValue) for value in found.values())
    assert set(found) == {"classes", "counts", "spec"}


def test_of_what_a_network_saw_the_first_and_the_last_sheet_are_shown(tmp_path):
    for name in ("pictures/curves.png", *(f"net_data/epoch_{epoch}.png" for epoch in ("0001", "9000", "10000"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shown = Result("trained_model", "ffff", tmp_path).shown_pictures
    assert list(shown) == ["picture/curves", "net_data/epoch_0001", "net_data/epoch_10000"]
    assert Result("crops", "ffff", tmp_path / "pictures").shown_pictures == {}


def test_numbers_are_rounded_and_counts_are_not():
    found = from_report({"a": 0.9916897506925207, "b": 0.0000123456, "c": 138123.4567, "d": 12345, "e": float("inf")})
    assert found == {"a": 0.9917, "b": 0.00001235, "c": 138123.0, "d": 12345, "e": float("inf")}


def test_a_picture_is_a_short_image_whose_name_means_nothing_in_markdown(tmp_path):
    name = "picture/x](http://evil.example) ![y"
    markdown = linked_picture(Result("analysis", "f" * 24, tmp_path), name).value
    assert kinds(markdown) == {"paragraph_open", "inline", "paragraph_close", "image", "link_open", "link_close"}
    _, image, _ = MARKDOWN.parse(markdown)[1].children
    assert image.attrs["src"].startswith(f"/assay/pictures/analysis/{'f' * 24}/picture/x")
    assert len(markdown) < 1000


def origins(metadata):
    lineage = metadata["dagster/column_lineage"].deps_by_column
    return {column: [dep.column_name for dep in deps] for column, deps in lineage.items()}


def test_a_column_comes_from_that_of_the_same_name_or_from_all_that_were_used():
    rows = pl.LazyFrame({"item": ["a"], "target": [1.0], "prediction": [1.0]})
    source = pl.LazyFrame({"item": ["a"], "price": [1.0], "area": [1.0], "city": [1], "unused": [0]})
    assert origins(column_lineage(rows, "normalized", source, ["area", "city"], {"target": "price"})) == {
        "item": ["item"],
        "target": ["price"],
        "prediction": ["area", "city"],
    }


def test_many_columns_of_a_kind_come_from_many_of_a_kind():
    pixels = pl.LazyFrame({f"px_{row}_{column}": [0.0] for row in range(8) for column in range(8)})
    assert origins(column_lineage(pixels, "tabular", pixels)) == {"px_*": ["px_*"]}


@pytest.fixture
def evil_run(lab):
    """A run whose spec holds texts that try to be Markdown."""
    tests = [{"kind": "files_exist", "name": EVIL.splitlines()[2], "files": ["![x](evil.example) `a` *b*"]}]
    lab.write("evil", description=EVIL, tags={"owner": EVIL.splitlines()[2]}, exptests={"tests": tests})
    lab.run("evil")
    return lab


@pytest.mark.system
def test_the_spec_is_one_block_of_code_whatever_its_texts(evil_run):
    for asset in ("experiment", "spec_exptests"):
        found = evil_run.instance.get_latest_materialization_event(dg.AssetKey(asset.split("/")))
        shown = [
            value
            for value in found.asset_materialization.metadata.values()
            if isinstance(value, dg.MarkdownMetadataValue)
        ]
        assert [kinds(value.value) for value in shown] == [{"fence"}]
        assert "evil.example" in shown[0].value


@pytest.mark.system
def test_the_verdict_of_a_check_is_text(evil_run):
    (key,) = [key for key in TEST_CHECK_KEYS if key.name == "files_exist"]
    (record,) = evil_run.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    evaluation = record.event.dagster_event.event_specific_data
    assert not evaluation.passed
    assert "evil.example" in evaluation.description
    assert kinds(evaluation.description) <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}


def test_a_problem_with_a_file_is_text():
    found = observation("ab12", EVIL)
    assert kinds(found.metadata["problem"].value) == {"fence"}
    assert not kinds(found.description) & {"image", "link_open", "html_inline", "html_block", "fence", "heading_open"}


def test_lineage_links_to_the_source_only():
    source = FoundExperiment(experiment_id="x](http://evil)", run_id="r", folder="a/![b](c)", model="0" * 24)
    (link,) = [
        part for part in MARKDOWN.parse(lineage(source)["evaluates"].value)[1].children if part.type == "link_open"
    ]
    assert link.attrs["href"].startswith("/assets/trained_model?view=partitions&partition=x")
