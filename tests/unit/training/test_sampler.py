import pytest
import torch

from assay.errors import DataError
from assay.training.sampler import Sampler, balanced, in_order, shares, shuffled
from tests.helpers.training_tasks import training_task

CLASSES = torch.tensor([0] * 90 + [1] * 9 + [2])
LABELS = torch.tensor([[1, 0]] * 90 + [[1, 1]] * 6 + [[0, 0]] * 4)
ORDERS = {"in order": in_order, "shuffled": shuffled, "classes": balanced(CLASSES), "labels": balanced(LABELS)}


@pytest.mark.defect("C4")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_every_order_is_called_alike_and_gives_as_many_items_as_there_are(order):
    indices = order(100, 3, 0)
    assert (indices.shape, indices.dtype) == ((100,), torch.int64)
    assert 0 <= indices.min() <= indices.max() < 100


@pytest.mark.defect("C4")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_every_order_depends_on_seed_and_pass_alone(order):
    assert torch.equal(order(100, 3, 5), order(100, 3, 5))
    others = [order(100, 3, 6), order(100, 4, 5)]
    assert all(torch.equal(order(100, 3, 5), other) == (order is in_order) for other in others)


@pytest.mark.defect("C4")
def test_without_balance_every_item_is_seen_once():
    assert sorted(shuffled(100, 1, 0).tolist()) == in_order(100, 1, 0).tolist() == list(range(100))


def test_balanced_classes_are_seen_equally_often():
    order = ORDERS["classes"]
    for number in range(3):
        counts = torch.bincount(CLASSES[order(100, 0, number)], minlength=3)
        assert counts.tolist() == pytest.approx([100 / 3] * 3, abs=1)


def test_items_of_a_frequent_class_take_turns():
    seen = torch.cat([ORDERS["classes"](100, 0, number) for number in range(8)])
    assert len(set(seen[CLASSES[seen] == 0].tolist())) > 80


def test_an_item_of_several_classes_counts_as_its_rarest_and_items_without_as_a_class():
    _, item_shares = shares(LABELS)
    assert item_shares[90] / item_shares[0] == pytest.approx(96 / 6)
    assert item_shares[96] / item_shares[0] == pytest.approx(96 / 4)
    assert item_shares.sum().item() == pytest.approx(1)


def test_classes_that_do_not_exist_cannot_be_balanced():
    section = training_task().section
    data = section.data_train.model_copy(update={"balance": "classes"})
    task = training_task()
    object.__setattr__(task, "section", section.model_copy(update={"data_train": data}))
    with pytest.raises(DataError, match="the items have no classes"):
        Sampler(task).items(0)
