"""The page: self-contained, whatever texts users choose, small with a hundred experiments."""

import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from assay.comparison.figures import (
    MAX_EPOCHS,
    cost_panels,
    curve_panels,
    key_importances,
    key_panels,
    parallel_plot,
)
from assay.comparison.html import comparison_page, inline_svg, write_comparison
from assay.comparison.load import HISTORY, STOP_AFTER, ComparisonData, ExperimentCost
from assay.comparison.ranking import rank
from assay.plots.common import Curve, Panel
from assay.plots.comparison import draw_panels, draw_parallel
from assay.utils.html import element, write_page

EVIL = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>&amp;'
PAGE = Path("/storage/compare/x.html")


class Reader(HTMLParser):
    """Collects what a browser would see: elements, and attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.texts.append(data)


def page_of(collection, name="lr-grid"):
    return write_page(comparison_page(PAGE, name, rank(collection), collection))


@pytest.mark.system
def test_the_page_shows_table_and_curves_and_loads_nothing(compare):
    text = page_of(compare(3))
    page = Reader(text)
    assert page.elements.count("tr") == 4
    assert ("href", "../experiments/CLS-2") in page.attributes
    assert {"loss, training", "loss, validation", "accuracy, validation", "accuracy by learning_rate"} <= set(
        page.texts
    )
    addresses = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(address.startswith(("../experiments/", "#")) for address in addresses)
    assert "default-src 'none'" in text
    assert "@import" not in text


@pytest.mark.system
def test_no_text_of_the_user_becomes_markup(compare, entry):
    evil = [entry(n, experiment_id=f"{EVIL}{n}", name=f"{EVIL}{n}", note=EVIL, keys={f"a.{EVIL}": n}) for n in (0, 1)]
    waiting = entry(2, scores={}, note=EVIL)
    page = Reader(page_of(compare(0, *evil, waiting), EVIL))
    assert page.elements.count("script") == 1
    assert "img" not in page.elements
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert EVIL in page.texts


@pytest.mark.system
def test_every_set_of_test_items_has_a_section_of_its_own_with_a_reason(compare, entry):
    entries = [
        entry(number, 4, tested=("aaaaaaaa", "bbbbbbbb")[number % 2], keys={f"splits.{EVIL}": number})
        for number in range(4)
    ]
    page = Reader(page_of(compare(0, *entries)))
    assert page.elements.count("section") == 2
    headings = [text for text in page.texts if "higher is better" in text]
    assert [name for text in headings for name in ("aaaaaa", "bbbbbb") if name in text] == ["aaaaaa", "bbbbbb"]
    reasons = [text for text in page.texts if text.startswith("Tested on different items: 4 experiments on 2 sets")]
    assert len(reasons) == 1
    assert f"they differ in splits.{EVIL}" in reasons[0]
    assert [text for text in page.texts if text.startswith("Best: ")] == [
        text for text in page.texts if ", not compared with other sets" in text
    ]


def test_long_curves_are_thinned_and_keep_their_last_epoch(compare):
    collection = compare(10, epochs=1000)
    (ranking,) = rank(collection)
    panels = curve_panels(ranking, collection.history)
    longest = max(len(curve.epochs) for panel in panels for curve in panel.content)
    assert longest <= MAX_EPOCHS + 1
    assert all(curve.epochs[-1] == 1000 for panel in panels for curve in panel.content)


def test_a_key_that_nobody_or_everybody_lacks_has_no_panel(compare, entry):
    (ranking,) = rank(compare(0, entry(0), entry(1, keys={"only.here": 5})))
    assert "accuracy by here" not in [panel.title for panel in key_panels(ranking)]
    assert "accuracy by kind" in [panel.title for panel in key_panels(ranking)]


def searched(entry, score, number, stop_after=None):
    """Return one of many experiments, whose accuracy depends on the learning rate and hardly on the kind."""
    value = 0.9 - abs(number - 6) / 20 + 0.001 * (number % 3)
    keys = {STOP_AFTER: stop_after, "trained_model.learner.clip_norm": number % 2}
    return entry(number, 12, keys=keys, scores={"accuracy": score(value)})


@pytest.mark.system
def test_all_keys_at_once_are_a_line_per_experiment_the_important_keys_first(compare, entry, score):
    entries = [searched(entry, score, number, stop_after=3 if number == 11 else None) for number in range(12)]
    (ranking,) = rank(compare(0, *entries))
    shares = key_importances(ranking)
    assert sum(shares.values()) == pytest.approx(1)
    plot = parallel_plot(ranking, shares)
    names = [axis.name for axis in plot.axes]
    assert re.fullmatch(r"learning_rate \(\d\d%\)", names[0])
    assert names[-1] == "accuracy"
    assert STOP_AFTER not in shares
    assert [line.is_partial for line in plot.lines].count(True) == 1
    by_id = {ranking.ranked[line.rank].experiment_id: line.places for line in plot.lines}
    assert by_id["lr-00"][0] == 0
    assert by_id["lr-06"][-1] == 1
    assert all(0 <= place <= 1 for places in by_id.values() for place in places)
    svg = draw_parallel(plot, [each.experiment_id for each in ranking.ranked])
    assert set(re.findall(r'id="(row-\d+)"', svg)) == {f"row-{rank}" for rank in range(12)}


def test_experiments_that_were_ended_early_tell_nothing_of_importance(compare, entry, score):
    entries = [searched(entry, score, number, stop_after=3) for number in range(8)]
    assert key_importances(rank(compare(0, *entries))[0]) == {}


def test_few_experiments_or_one_key_are_no_lines_across_axes(compare, entry):
    (two,) = rank(compare(2))
    one_key = [entry(number, 4, keys={"trained_model.model.kind": "cnn"}) for number in range(4)]
    for ranking in (two, *rank(compare(0, *one_key))):
        assert (key_importances(ranking), parallel_plot(ranking, {})) == ({}, None)


def test_an_axis_has_its_values_as_ticks_or_five_between_its_ends(compare, entry):
    entries = [entry(number, 7, keys={"a.few": [1, 10, None][number % 3]}) for number in range(7)]
    plot = parallel_plot(rank(compare(0, *entries))[0], {})
    ticks = {axis.name: axis.ticks for axis in plot.axes}
    assert ticks["few"] == [(0.0, "1"), (0.5, "10"), (1.0, "null")]
    assert ticks["kind"] == [(0.0, "cnn"), (1.0, "mlp")]
    places, labels = zip(*ticks["learning_rate"], strict=True)
    assert labels[0] == "0.0001"
    assert places == pytest.approx([0, 0.25, 0.5, 0.75, 1])


@pytest.mark.system
def test_a_page_of_experiments_without_results_or_history_is_complete(compare, entry, score):
    collection = compare(0, entry(0, scores={"accuracy": score(None)}, folder=None), entry(1, scores={}))
    assert page_of(collection).endswith("</html>\n")


def test_writing_replaces_the_whole_page(entry, tmp_path):
    collection = ComparisonData("test", (entry(0),), pl.DataFrame(schema=HISTORY))
    path = tmp_path / "new" / "x.html"
    for name in ("first", "second"):
        write_comparison(path, name, rank(collection), collection)
    assert "<h1>second</h1>" in path.read_text(encoding="utf-8")
    assert [found.name for found in path.parent.iterdir()] == ["x.html"]


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.system
def test_drawing_is_repeatable_and_every_curve_can_be_found_by_its_experiments_place(count):
    curves = [Curve(place, [1, 2], [1.0, 0.5]) for place in range(count)]
    drawing = [draw_panels([Panel("loss", "epoch", curves)], [f"$x^{n}$" for n in range(count)]) for _ in range(2)]
    assert drawing[0] == drawing[1]
    svg = inline_svg(drawing[0])
    assert sorted(int(part.get("data-row")) for part in svg.iter("g") if part.get("data-row")) == list(range(count))
    assert "{" not in svg.tag


def test_content_keeps_its_order():
    tree = element("p", "a", element("b", "c"), "d", element("i"), "e", class_="x", data_row="1")
    assert write_page(tree) == '<!doctype html>\n<p class="x" data-row="1">a<b>c</b>d<i></i>e</p>\n'


def costly(entry, number, wall_s):
    return entry(number, 3, cost=ExperimentCost(wall_s, wall_s, 0.0, 100.0, 1000))


def test_quality_is_drawn_against_cost_where_at_least_two_are_known(compare, entry):
    (ranking,) = rank(compare(0, costly(entry, 0, 1.0), costly(entry, 1, 50.0), entry(2, 3)))
    (panel,) = cost_panels(ranking)
    assert panel.title == "accuracy by seconds of all stages"
    assert [(point.rank, point.x) for point in panel.content] == [(1, 50.0), (2, 1.0)]
    assert all(point.low < point.value < point.high for point in panel.content)
    (few,) = rank(compare(0, costly(entry, 0, 1.0), entry(1, 3)))
    assert cost_panels(few) == []


@pytest.mark.system
def test_the_page_shows_costs_where_they_are_known(compare, entry):
    page = Reader(page_of(compare(0, costly(entry, 0, 1.0), costly(entry, 1, 50.0))))
    assert {"wall (s)", "peak memory (MB)", "size (MB)", "Quality against cost"} <= set(page.texts)
    assert "wall (s)" not in Reader(page_of(compare(2))).texts
