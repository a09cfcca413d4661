"""Repeats: folds of one division, and seeds; their mean, spread, and what is said of them."""

import numpy as np
import pytest

from assay.comparison.html import comparison_page, write_page
from assay.comparison.ranking import rank
from assay.comparison.repeats import interval_of_mean, repeats_in, without_repeats
from assay.comparison.terminal import repeats_text, verdict_on_repeats
from tests.unit.comparison.conftest import RATE, made_up_entry, made_up_score


def fold(number, value, count=3, rate=0.1, seed=42, **changes):
    """Return the experiment of one fold, tested on items of its own."""
    keys = {"splits.folds": count, "splits.fold": number, RATE: rate, "seed": seed, "trained_model.seed": seed}
    name = f"r{rate}-s{seed}-f{number}"
    scores = {"accuracy": made_up_score(value), "log_loss": made_up_score(1 - value)} if value is not None else {}
    return made_up_entry(0, 1, experiment_id=name, keys=keys, scores=scores, tested=f"fold-{number}", **changes)


def seed(number, value, **keys):
    return made_up_entry(
        0,
        1,
        experiment_id=f"s{number}",
        keys={"trained_model.seed": number, **keys},
        tested="same",
        scores={"accuracy": made_up_score(value)},
    )


def groups_of(compare, *entries):
    collection = compare(0, *entries)
    rankings = rank(collection)
    repeats = repeats_in(collection, rankings)
    return repeats.get("classification", []), rankings, without_repeats(rankings, repeats)


def test_folds_are_one_line_with_mean_and_spread_instead_of_a_ranking_each(compare):
    (group,), rankings, shown = groups_of(compare, *(fold(number, 0.8 + 0.05 * number) for number in (2, 0, 1)))
    assert (len(rankings), shown) == (3, [])
    lines = repeats_text([group], "classification", "test", 200)
    assert lines[0] == "classification: mean accuracy on test over repeats, higher is better"
    assert lines[2].startswith("1  r0.1-s42-f0 … r0.1-s42-f2  3 folds          0.850      0.050")
    assert lines[3] == "r0.1-s42-f0 … r0.1-s42-f2: 0.850 on average over 3 folds, standard deviation 0.050."
    assert lines[4] == "  r0.1-s42-f0 0.800, r0.1-s42-f1 0.850, r0.1-s42-f2 0.900"
    assert group.mean("log_loss") == pytest.approx(0.15)


def test_the_interval_of_the_mean_knows_that_folds_share_what_they_learn_from(compare):
    values = [0.8, 0.85, 0.9]
    (folds,), _, _ = groups_of(compare, *(fold(number, value) for number, value in enumerate(values)))
    (seeds,), _, _ = groups_of(compare, *(seed(number, value) for number, value in enumerate(values)))
    half = 4.302653 * 0.05  # Student's quantile of two degrees of freedom, and the deviation
    assert np.allclose(seeds.interval, (0.85 - half / 3**0.5, 0.85 + half / 3**0.5))
    assert np.allclose(folds.interval, (0.85 - half * (1 / 3 + 1 / 2) ** 0.5, 0.85 + half * (1 / 3 + 1 / 2) ** 0.5))
    assert interval_of_mean([0.8, 0.9], 0.0) is None
    assert interval_of_mean([0.8, 0.8, 0.8], 0.0) is None
    assert interval_of_mean(values, None) is None


def test_seeds_on_the_same_items_are_ranked_and_summed_up(compare):
    (group,), rankings, shown = groups_of(compare, *(seed(number, value) for number, value in enumerate((0.8, 0.9))))
    assert (group.extent, group.interval, shown) == ("2 seeds", None, rankings)


def test_experiments_that_differ_in_the_seed_of_everything_are_repeats_on_other_items(compare):
    sets = [{"set_name": "train", "probability": 0.8}, {"set_name": "test", "probability": 0.2}]
    entries = [
        made_up_entry(
            0,
            1,
            experiment_id=f"e{number}",
            tested=f"t{number}",
            scores={"accuracy": made_up_score(0.8 + number / 100)},
            keys={"seed": number, "splits.seed": number, "splits.set_infos": sets},
        )
        for number in range(3)
    ]
    (group,), _, shown = groups_of(compare, *entries)
    assert (group.extent, group.shared, shown) == ("3 seeds", 0.25, [])


def test_missing_and_repeated_experiments_count_once_or_not(compare):
    entries = [fold(0, 0.8), fold(0, 0.8, name="again"), fold(1, 0.9), fold(2, None, note="no results yet")]
    (group,), _, shown = groups_of(compare, *entries)
    assert group.extent == "2 of 3 folds"
    assert [len(ranking.others) for ranking in shown] == [1]
    assert [ranking.ranked for ranking in shown] == [()]


def test_folds_and_seeds_are_counted_together(compare):
    entries = [fold(number, 0.8 + number / 100 + each / 100, seed=each) for number in range(3) for each in (1, 2)]
    (group,), _, _ = groups_of(compare, *entries)
    assert (group.extent, len(group.values()), group.seeds) == ("3 folds x 2 seeds", 6, 2)


def test_a_single_experiment_and_those_of_other_keys_are_no_repeats(compare):
    assert groups_of(compare, seed(1, 0.8))[0] == []
    assert groups_of(compare, seed(1, 0.8, **{RATE: 0.1}), seed(2, 0.8, **{RATE: 0.2}))[0] == []


def test_other_keys_are_compared_fold_by_fold(compare):
    good = [fold(number, value, rate=0.1) for number, value in enumerate((0.60, 0.80, 0.95))]
    worse = [fold(number, value - 0.05 + number / 500, rate=0.2) for number, value in enumerate((0.60, 0.80, 0.95))]
    groups, _, _ = groups_of(compare, *worse, *good)
    assert [group.mean() for group in groups] == sorted((group.mean() for group in groups), reverse=True)
    assert groups[0].interval[0] < groups[1].interval[1]  # the folds differ more from each other than the experiments
    assert verdict_on_repeats(groups).endswith("It is surely better than the other, compared repeat by repeat.")
    assert "learning_rate" in "\n".join(repeats_text(groups, "classification", "test", 200))
    mixed = [fold(number, value, rate=0.3) for number, value in enumerate((0.75, 0.80, 0.75))]
    assert "Not surely better than r0.3" in verdict_on_repeats(groups_of(compare, *mixed, *good)[0])
    some = groups_of(compare, *worse[:2], *good)[0]
    assert "Not all repeats of r0.2-s42-f0 … r0.2-s42-f1 have results" in verdict_on_repeats(some)


def test_the_page_has_the_repeats_and_every_ranking(compare, tmp_path):
    collection = compare(0, *(fold(number, 0.8 + 0.05 * number, folder=None) for number in range(3)))
    rankings = rank(collection)
    page = write_page(comparison_page(tmp_path / "x.html", "x", [], collection, repeats_in(collection, rankings)))
    assert "classification on test: mean and spread over repeats" in page
    assert "<li>r0.1-s42-f0 0.800, r0.1-s42-f1 0.850, r0.1-s42-f2 0.900</li>" in page
