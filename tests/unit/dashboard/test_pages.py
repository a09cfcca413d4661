"""The pages, run by Streamlit's own test runner, and their charts: what they show, and what the address chooses."""

import shutil
from datetime import date
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

import assay.dashboard
from assay.dashboard.charts import curve_chart, history_charts, key_chart, parallel_chart
from assay.dashboard.filters import MAX_CHOICES
from assay.dashboard.views.common import plain
from assay.experiments.costs import record_costs
from assay.plots.common import Curve, Panel, ParallelAxis, ParallelLine, ParallelPlot, Point
from assay.storage.parquet import write_parquet
from tests.helpers.comparison_cases import run, start, values
from tests.helpers.dashboard_storage import CHECKS, draw, folder_of, make_storage

pytestmark = pytest.mark.system

APP = Path(assay.dashboard.__file__).with_name("app.py")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make_storage(tmp_path_factory.mktemp("storage")).root
    folder = folder_of(root, "ran")
    (folder / "exp_tests.csv").write_text(CHECKS)
    for name in ("pictures/curves", "net_data/epoch_0001", "net_data/epoch_0002"):
        draw(folder / f"{name}.png")
    return root


@pytest.fixture
def look(root, monkeypatch):
    """Give ``look(page, address)``: what a browser would show there."""

    def show(page: str = "", storage: Path = root, **address: str | list[str]) -> AppTest:
        monkeypatch.setenv("ASSAY_STORAGE", str(storage))
        shown = AppTest.from_file(APP, default_timeout=120)
        for name, value in address.items():
            shown.query_params[name] = value
        if page:
            shown.switch_page(f"views/{page}.py")
        shown.run()
        assert not shown.exception
        return shown

    return show


def ids(shown: AppTest) -> list[str]:
    return list(shown.dataframe[0].value["experiment"])


def texts(elements) -> str:
    return "\n".join(each.value for each in elements)


def test_the_overview_counts_ranks_and_lists_all_experiments(look):
    shown = look()
    assert shown.caption[0].value == "4 of 4 experiments · 2 with results on test"
    assert ids(shown) == ["started", "failed", "ran", "other"]
    (best,) = shown.metric
    assert (best.label, best.value, best.delta) == (plain("regression: best MAE on test"), "0.500 mm", "[0.400, 0.600]")


def test_filters_select_rows(look):
    shown = look()
    shown.text_input(key="q").input("rates").run()
    assert ids(shown) == ["ran", "other"]
    shown.multiselect(key="key").select("trained_model.learner.learning_rate").run()
    shown.multiselect(key="is.trained_model.learner.learning_rate").select("0.01").run()
    assert ids(shown) == ["other"]
    assert list(shown.dataframe[0].value["key trained_model.learner.learning_rate"]) == [0.01]
    shown.text_input(key="q").input("nothing").run()
    assert "No experiment meets all of these conditions" in shown.info[0].value


def test_days_and_epochs_select_rows(look):
    shown = look()
    shown.select_slider(key="epochs").set_range(5, 5).run()
    assert ids(shown) == ["other"]
    shown = look()
    shown.date_input(key="started").set_value((date(2026, 5, 3), date(2026, 5, 31))).run()
    assert ids(shown) == ["other"]
    assert ids(look(epochs=["5", "5"])) == ["other"]


def test_many_numbers_are_chosen_by_a_range(look, tmp_path):
    store = make_storage(tmp_path)
    for number in range(1, MAX_CHOICES):
        store.create(values(number / 10), f"more{number}")
        start(store, f"more{number}")
    shown = look(storage=tmp_path, key=["learning_rate in trained_model.learner"])
    shown.select_slider(key="in.trained_model.learner.learning_rate").set_range(0.01, 0.03).run()
    assert ids(shown) == ["started", "other"]


def test_the_address_keeps_the_filters(look):
    assert ids(look(q="rates")) == ["ran", "other"]
    assert ids(look(key=["sweep in tags"], **{"is.tags.sweep": ["–"]})) == ["started", "failed"]
    assert len(ids(look(task="no such task", model="; drop table experiments"))) == 4


def test_an_empty_storage_says_what_to_do_next(look, tmp_path):
    for page in ("", "experiment", "compare"):
        shown = look(page, storage=tmp_path)
        assert shown.title[0].value == "Nothing here yet"
        assert "assay run first" in shown.code[0].value


def test_one_experiment_shows_its_metrics_and_no_markup_of_its_name(look):
    shown = look("experiment", id="ran")
    assert shown.title[0].value == "ran"
    assert [(each.label, each.value) for each in shown.metric] == [("MAE on test", "0.500 mm")]
    assert r"\<b\>bold" in shown.caption[0].value
    assert r"\!\[x\]" in shown.caption[0].value
    assert "sweep" in texts(shown.markdown)
    assert "planted" not in texts(shown.markdown)
    assert shown.dataframe[0].value["Value"].to_list() == [0.5]


@pytest.mark.parametrize(
    ("view", "expected"), [("Learning", 1), ("Pictures", 2), ("Checks", 1), ("Spec", 1)], ids=lambda value: str(value)
)
def test_every_view_of_an_experiment_shows_its_part(look, view, expected):
    shown = look("experiment", id="ran", view=view)
    parts = {
        "Learning": shown.get("vega_lite_chart"),
        "Pictures": shown.image,
        "Checks": shown.dataframe,
        "Spec": shown.code,
    }
    assert len(parts[view]) == expected


@pytest.mark.parametrize("view", ["Metrics", "Learning", "Pictures", "Checks", "Spec"])
def test_an_experiment_that_has_only_started_shows_what_there_is(look, view):
    shown = look("experiment", id="started", view=view)
    assert "no results yet" in shown.warning[0].value.replace("\\", "")


def test_an_invalid_or_unknown_id_gives_a_warning_and_another_experiment_is_shown(look):
    assert "is not valid" in look("experiment", id="../../etc").warning[0].value
    shown = look("experiment", id="nobody")
    assert shown.warning[0].value == "Experiment nobody never ran in this storage."
    assert shown.title[0].value == "started"


def test_the_inputs_of_the_network_are_shown_by_epoch_as_an_image_or_as_rows(look, root, tmp_path):
    own = Path(shutil.copytree(root, tmp_path / "storage", symlinks=True))
    rows = pl.DataFrame({"rooms": [1.5], "price": [300.0]})
    write_parquet(rows, folder_of(own, "ran") / "net_data/epoch_0010.parquet")
    shown = look("experiment", own, id="ran", view="Pictures")
    assert "What the network saw" in texts(shown.subheader)
    shown.select_slider(key="epoch").set_value(10).run()
    assert shown.dataframe[0].value.to_dict("records") == [{"rooms": 1.5, "price": 300.0}]


def test_a_comparison_shows_what_differs_best_first(look):
    shown = look("compare", ids=["other", "ran"])
    assert ids(shown) == ["ran", "other"]
    assert list(shown.dataframe[0].value["key trained_model.learner.learning_rate"]) == [0.001, 0.01]
    assert shown.subheader[0].value == plain("regression: MAE in mm on test, lower is better")
    assert len(shown.get("vega_lite_chart")) == 2
    assert "Choose at least two" in look("compare", ids=["ran"]).info[0].value


def test_a_comparison_shows_quality_against_cost_where_costs_are_known(look, tmp_path):
    store = make_storage(tmp_path)
    for name in ("other", "ran"):
        record_costs(store.root, name)
    shown = look("compare", storage=tmp_path, ids=["other", "ran"])
    assert list(shown.dataframe[0].value["cost"].notna()) == [True, True]
    assert len(shown.get("vega_lite_chart")) == 3
    assert "#### Quality against cost" in [each.value for each in shown.markdown]


@pytest.fixture
def elsewhere(tmp_path):
    """A storage with one more experiment, whose data are divided otherwise."""
    store = make_storage(tmp_path)
    store.create(values(0.5, seed=7), "elsewhere")
    run(store, "elsewhere", mae=0.1)
    return tmp_path


def test_experiments_tested_on_different_items_have_tables_of_their_own(look, elsewhere):
    shown = look("compare", storage=elsewhere, ids=["other", "ran", "elsewhere"])
    assert [list(table.value["experiment"]) for table in shown.dataframe] == [["ran", "other"], ["elsewhere"]]
    assert len({each.value for each in shown.subheader}) == 2
    notes = [each.value.replace("\\", "") for each in shown.warning]
    assert ["3 experiments on 2 sets of items (they differ in seed)" in note for note in notes] == [True]


def test_the_overview_claims_a_best_for_every_set_of_items(look, elsewhere):
    shown = look(storage=elsewhere)
    assert [each.value for each in shown.metric] == ["0.500 mm", "0.100 mm"]
    assert all("items" in each.label for each in shown.metric)
    assert "3 on 2 sets" in texts(shown.caption)
    rows = shown.dataframe[0].value
    sets = dict(zip(rows["experiment"], rows["items"], strict=True))
    assert sets["ran"] == sets["other"] != sets["elsewhere"]
    assert not isinstance(sets["started"], str)
    assert "items" not in look().dataframe[0].value


def test_experiments_without_results_can_be_compared_too(look):
    shown = look("compare", ids=["started", "failed"])
    assert ids(shown) == ["started", "failed"]
    assert shown.get("vega_lite_chart") == []


def test_curves_of_many_experiments_are_drawn_whole():
    names = [f"x{number}" for number in range(30)]
    curves = [Curve(place, range(1, 201), [1 / (epoch + place) for epoch in range(1, 201)]) for place in range(30)]
    with alt.data_transformers.disable_max_rows():  # as Streamlit does
        drawn = curve_chart(Panel("loss, training", "epoch", curves), names).to_dict()
    (rows,) = drawn["datasets"].values()
    assert len(rows) == 6000
    colours = drawn["layer"][0]["encoding"]["color"]["scale"]
    assert colours["domain"] == names
    assert len(set(colours["range"])) == 7


@pytest.mark.parametrize(
    ("values", "kind", "scale"),
    [([1, 2, 3], "quantitative", "linear"), ([1e-4, 1e-2], "quantitative", "log"), (["a", "b"], "nominal", None)],
)
def test_a_varied_key_is_drawn_as_what_it_is(values, kind, scale):
    points = [Point(place, value, 0.5, 0.4, 0.6) for place, value in enumerate(values)]
    drawn = key_chart(Panel("accuracy by rate", "", points), [f"x{place}" for place in range(3)], "accuracy").to_dict()
    x = drawn["layer"][0]["encoding"]["x"]
    assert (x["type"], x.get("scale", {}).get("type"), x["title"]) == (kind, scale, "rate")


def test_experiments_are_lines_across_all_keys_and_dashed_where_they_were_ended_early():
    axes = [ParallelAxis("rate (80%)", [(0.0, "0.1"), (1.0, "1")]), ParallelAxis("accuracy", [(0.5, "0.9")])]
    plot = ParallelPlot(axes, [ParallelLine(0, [0.0, 1.0]), ParallelLine(1, [0.5, 0.0], True)])
    drawn = parallel_chart(plot, ["best", "other"]).to_dict()
    lines, labels = (drawn["datasets"][drawn["layer"][place]["data"]["name"]] for place in (1, 2))
    assert [(row["axis"], row["place"]) for row in lines if row["experiment"] == "best"] == [
        ("rate (80%)", 0.0),
        ("accuracy", 1.0),
    ]
    assert {row["experiment"]: row["ended early"] for row in lines} == {"best": False, "other": True}
    assert [row["label"] for row in labels] == ["0.1", "1", "0.9"]


def test_a_history_is_one_chart_per_metric_with_a_line_per_subset():
    rows = [
        (epoch, subset, metric, 1.0) for epoch in (1, 2) for subset in ("train", "mine") for metric in ("loss", "mae")
    ]
    history = pl.DataFrame(rows, ["epoch", "subset", "metric", "value"], orient="row")
    charts = history_charts(history)
    assert list(charts) == ["loss", "MAE"]
    assert charts["MAE"].to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["train", "mine"]
    assert history_charts(history.clear()) == {}
