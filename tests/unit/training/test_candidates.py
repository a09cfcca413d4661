"""Which kinds of models of a table are compared, and what is said of the choice."""

import pytest

from assay.spec.defaults import with_defaults
from assay.spec.trained_model import TrainedModelSection
from assay.training.inputs import Inputs
from assay.training.model_card import ModelCard
from assay.training.targets import NumberTarget
from assay.training.trained_model import candidates, choice_sentence


def card(rows, inputs=10, **keys):
    section = TrainedModelSection.model_validate({"model": {"kind": "auto"}})
    return ModelCard(
        task="regression",
        section=with_defaults(section, "regression", "columns"),
        inputs=Inputs(view="columns", columns=tuple(f"c{place}" for place in range(inputs))),
        target=NumberTarget(column="price", mean=0, std=1),
        trained_on={"normalized": "aaaa"},
        rows={"train": rows, "validation": 10},
        seed=1,
        epoch=0,
        chosen_by="not trained",
        values={},
        torch_version="",
        **keys,
    )


@pytest.mark.parametrize(
    ("rows", "epochs", "batch"),
    [(1, 80, 64), (100, 80, 64), (1000, 80, 64), (3000, 80, 256), (14_000, 21, 256), (60_000, 5, 256)],
)
def test_the_network_is_as_long_as_alone_until_it_would_take_too_long(rows, epochs, batch):
    sections, left_out = candidates(card(rows))
    assert list(sections) == ["linear", "gradient_boosting", "mlp"]
    assert left_out == {}
    network = sections["mlp"]
    params = network.train_params
    assert (network.model.width, params.epochs, network.data_train.batch_size) == (128, epochs, batch)
    assert (params.least_steps, params.threads) == (700 if batch == 64 else 0, 1)
    assert network.learner.label_smoothing == 0


def test_what_would_take_too_long_is_left_out_and_said():
    sections, left_out = candidates(card(2_000_000, 20))
    assert list(sections) == ["gradient_boosting"]
    assert set(left_out) == {"linear", "mlp"}
    sentence = choice_sentence(
        card(1, candidates={"gradient_boosting": 0.25}).model_copy(update={"section": sections["gradient_boosting"]}),
        left_out,
    )
    assert sentence.startswith("gradient_boosting was chosen: its loss on validation is 0.25. ")
    assert "linear was left out: 2,000,000 rows of 20 inputs are too many to try it beside the others (" in sentence
    assert "trained_model.model.kind: mlp trains it alone)." in sentence


def test_a_network_that_had_fewer_epochs_says_so():
    sections, _ = candidates(card(14_000))
    chosen = card(1, candidates={"mlp": 0.25, "linear": 0.5}).model_copy(update={"section": sections["mlp"]})
    assert choice_sentence(chosen, {}) == (
        "mlp was chosen: its loss on validation is 0.25, that of linear 0.5. It had 21 epochs in batches of 256; "
        "trained_model.model: {kind: mlp, width: 128} trains it for longer."
    )
