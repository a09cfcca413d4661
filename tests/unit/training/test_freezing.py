import pytest
import torch
from torch import nn

from assay.errors import DataError
from assay.training.engine import freeze, training_mode
from assay.training.trainer import fit
from assay.utils.concurrency import silent
from tests.helpers.training_tasks import network, training_task


@pytest.mark.parametrize("pattern", ["features.2", "features.[12]", "feat*.2"])
def test_a_layer_is_frozen_by_its_name_or_a_pattern(pattern):
    model = network()
    freeze(model, [pattern])
    assert not model.features[2].weight.requires_grad
    assert model.head.weight.requires_grad


def test_the_name_of_a_group_freezes_all_of_it():
    model = network()
    freeze(model, ["features"])
    assert not any(parameter.requires_grad for parameter in model.features.parameters())


def test_a_pattern_without_a_layer_is_an_error_that_lists_the_layers():
    with pytest.raises(DataError, match=r"'encoder' matches none(.|\n)*- features\.1\n(.|\n)*- head"):
        freeze(network(), ["encoder"])


def test_nothing_left_to_learn_is_an_error():
    with pytest.raises(DataError, match="nothing is left to learn"):
        freeze(network(), ["*"])


def test_frozen_layers_keep_their_running_statistics_and_others_do_not():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    freeze(model, ["0"])
    training_mode(model)
    model(torch.arange(8.0).view(4, 2))
    assert (model[0].num_batches_tracked, model[1].num_batches_tracked) == (0, 1)
    assert model.training


def test_a_training_leaves_frozen_weights_as_they_are():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, training_task(learner={"freeze": ["features"], "weight_decay": 0.5}), silent)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
