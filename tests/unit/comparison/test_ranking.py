"""Rankings: best first, one per task, and only the keys that differ."""

from dataclasses import replace

import pytest

from assay.comparison.ranking import differing_keys, rank
from assay.comparison.terminal import note_on_items, title, verdict_on_best
from assay.errors import AssayError

RATE = "trained_model.learner.learning_rate"


def ids(entries):
    return [entry.experiment_id for entry in entries]


def test_the_highest_accuracy_is_first_and_the_lowest_loss_too(compare):
    (by_accuracy,) = rank(compare(3))
    (by_loss,) = rank(compare(3), "log_loss")
    assert ids(by_accuracy.ranked) == ids(by_loss.ranked) == ["lr-02", "lr-01", "lr-00"]
    assert by_accuracy.metric_names == ["accuracy", "log_loss"]
    assert by_loss.metric_names == ["log_loss", "accuracy"]


def test_equal_values_are_ordered_by_id_and_undefined_ones_are_last(compare, entry, score):
    entries = [
        entry(number, experiment_id=name, scores={"accuracy": score(value)})
        for number, (name, value) in enumerate({"c": None, "b": 0.5, "a": 0.5}.items())
    ]
    (ranking,) = rank(compare(0, *entries))
    assert ids(ranking.ranked) == ["a", "b", "c"]


def test_experiments_without_results_are_not_ranked(compare, entry):
    (ranking,) = rank(compare(0, entry(0, scores={}, note="no results yet"), entry(1)))
    assert (ids(ranking.ranked), ids(ranking.others)) == (["lr-01"], ["lr-00"])


def test_without_any_results_the_ranking_is_empty(compare, entry):
    (ranking,) = rank(compare(0, entry(0, scores={})), "mae")
    assert (ranking.ranked, ids(ranking.others)) == ((), ["lr-00"])


def test_tasks_are_not_mixed(compare, entry, score):
    other = entry(1, task="regression", scores={"mae": score(0.1), "rmse": score(0.2)})
    first, second = rank(compare(0, entry(0), other), "rmse")
    assert (first.task, first.metric_name) == ("classification", "accuracy")
    assert (second.task, second.metric_name) == ("regression", "rmse")


def on_items(entry, *tested, **keys):
    """Return one experiment per set of items, the later ones better."""
    return [entry(number, len(tested), tested=each, keys=keys.get(each, {})) for number, each in enumerate(tested)]


def test_experiments_tested_on_different_items_are_not_ranked_together(compare, entry):
    first, second = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "bbbbbbbb", "bbbbbbbb")))
    assert ids(first.ranked) == ["lr-04", "lr-03", "lr-01"]
    assert ids(second.ranked) == ["lr-02", "lr-00"]
    assert first.apart == second.apart
    assert (first.apart.sets, first.apart.experiments) == (2, 5)
    assert {entry.tested for entry in first.ranked} == {first.tested}
    assert first.metric_name == second.metric_name == "accuracy"


def test_the_same_items_are_one_ranking_without_a_note(compare, entry):
    (ranking,) = rank(compare(0, *on_items(entry, "aaaaaaaa", "aaaaaaaa")))
    assert ranking.apart is None
    assert note_on_items(ranking) == ""
    assert "items aaaaaa" not in verdict_on_best(ranking) + title(ranking, "test")


def test_it_is_said_once_how_many_sets_there_are_and_why(compare, entry):
    keys = {"aaaaaaaa": {"splits.seed": 1}, "bbbbbbbb": {"splits.seed": 2}}
    first, second = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb", "aaaaaaaa", **keys)))
    assert "3 experiments on 2 sets of items (they differ in splits.seed)" in note_on_items(first)
    assert note_on_items(second) == ""
    assert "of set aaaaaa, not compared with other sets" in verdict_on_best(first)
    assert [title(each, "test").count(f"on test (items {each.tested[:6]})") for each in (first, second)] == [1, 1]


def test_experiments_that_were_each_tested_on_items_of_their_own_are_not_called_best(compare, entry):
    first, second = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb")))
    assert "was tested on items of its own (the data changed between their runs): nothing to rank" in note_on_items(
        first
    )
    assert note_on_items(second) == ""
    assert verdict_on_best(first).startswith("lr-00: ")


def test_keys_that_all_have_are_named_before_those_of_one_kind_of_source(compare, entry):
    kinds = [{"splits.a": 1, "splits.kind": "numbers"}, {"splits.b": 1, "splits.kind": "coco"}]
    keys = dict(zip(("aaaaaaaa", "bbbbbbbb"), kinds, strict=True))
    first, _ = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb", **keys)))
    assert first.apart.keys == ("splits.kind", "splits.a", "splits.b")


def test_experiments_without_results_are_listed_once(compare, entry):
    waiting = entry(9, experiment_id="waiting", scores={})
    rankings = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb", "cccccccc"), waiting))
    assert [ids(ranking.others) for ranking in rankings] == [["waiting"], [], []]


def test_an_unknown_metric_names_the_nearest(compare):
    with pytest.raises(AssayError, match=r"Metric 'acuracy' does not exist\. Did you mean 'accuracy'\?"):
        rank(compare(2), "acuracy")


def test_only_keys_that_differ_are_shown_by_their_shortest_ends():
    same = {"seed": 1, "splits.seed": 1, "a.b.width": 3}
    specs = [{**same, RATE: 0.1, "x.kind": "mlp", "name": "n"}, {**same, RATE: 0.2, "name": "m"}]
    assert differing_keys(specs) == {RATE: "learning_rate", "x.kind": "kind"}


def test_an_experiment_without_tags_does_not_differ_from_one_with_some():
    assert differing_keys([{"tags": {}, "x": 1}, {"tags.sweep": "lr", "x": 1}]) == {}


def test_seeds_that_only_follow_the_experiments_own_are_not_repeated():
    following = [{"seed": seed, "splits.seed": seed} for seed in (1, 2)]
    assert list(differing_keys(following)) == ["seed"]
    assert list(differing_keys([{"seed": 1, "splits.seed": seed} for seed in (1, 2)])) == ["splits.seed"]


def test_the_verdict_says_whether_the_order_is_certain(compare, entry, score):
    def ranking(*ends):
        entries = [entry(number, scores={"accuracy": score(sum(end) / 2, *end)}) for number, end in enumerate(ends)]
        return rank(compare(0, *entries))[0]

    assert "overlaps with no other's" in verdict_on_best(ranking((0.8, 0.9), (0.5, 0.7)))
    assert "overlaps with the other's" in verdict_on_best(ranking((0.8, 0.9), (0.5, 0.81)))
    assert "overlaps with 1 of 2 others'" in verdict_on_best(ranking((0.8, 0.9), (0.5, 0.81), (0.2, 0.3)))
    unknown = entry(3, scores={"accuracy": score(0.4)})
    few = rank(compare(0, entry(0, scores={"accuracy": score(0.85, 0.8, 0.9)}), unknown))[0]
    assert verdict_on_best(few).endswith("1 of the others has no interval.")
    assert "overlaps" not in verdict_on_best(few)
    assert "'assay diff' tells, item by item, whether it is better" in verdict_on_best(ranking((0.8, 0.9), (0.5, 0.81)))
    assert "reaches the majority class" in verdict_on_best(ranking((0.05, 0.9)))
    assert (
        verdict_on_best(ranking((0.8, 0.9)))
        == "lr-00: 0.850 [0.800, 0.900] on 200 items; baseline (majority class) 0.100."
    )


def test_the_verdict_of_the_test_item_by_item_goes_before_intervals(compare):
    (ranking,) = rank(compare(3))

    def verdict(**worse):
        return verdict_on_best(
            replace(ranking, surely_worse={name.replace("_", "-"): it for name, it in worse.items()})
        )

    assert verdict(lr_01=True, lr_00=True).endswith("It is surely better than all 2 others, item by item.")
    assert verdict(lr_01=False, lr_00=True).endswith(
        "It is not surely better than lr-01 (1 of 2 others), item by item: see assay diff."
    )
    assert verdict(lr_01=True).endswith("It is surely better than the next best one, item by item.")
    assert "overlaps" not in verdict(lr_01=False)


def test_keys_of_experiments_that_are_not_in_the_table_make_no_columns(compare, entry):
    many = {f"trained_model.model.key{number}": number for number in range(40)}
    waiting = entry(9, experiment_id="waiting", scores={}, keys=many)
    alone, *_ = rank(compare(0, *on_items(entry, "aaaaaaaa", "bbbbbbbb", bbbbbbbb=many), waiting))
    assert alone.keys == {}
    both, *_ = rank(compare(0, *on_items(entry, "aaaaaaaa", "aaaaaaaa", "bbbbbbbb"), waiting))
    assert len(both.keys) < len(many)
