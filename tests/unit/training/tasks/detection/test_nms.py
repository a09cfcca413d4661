import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.training.tasks.detection.boxes import iou, non_maximum_suppression


def one_by_one(boxes, scores, classes, most_overlap):
    """Go through the boxes from the best to the worst and keep what no kept box of its class overlaps."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index].item()):
        rivals = [other for other in kept if classes[other] == classes[index]]
        if scores[index] > -torch.inf and all(iou(boxes[index], boxes[other]) <= most_overlap for other in rivals):
            kept.append(index)
    return sorted(kept)


def random_image(rng, count):
    corners = rng.integers(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 20, (count, 2))], 1)
    scores = rng.integers(0, 6, count) / 5  # many ties
    return torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), torch.tensor(rng.integers(0, 3, count))


@given(seed=st.integers(0, 10_000), count=st.integers(0, 25), most_overlap=st.sampled_from([0.0, 0.3, 0.5, 0.9]))
@settings(max_examples=40, deadline=None)
def test_the_same_boxes_stay_as_when_going_through_them_one_by_one(seed, count, most_overlap):
    boxes, scores, classes = random_image(np.random.default_rng(seed), count)
    stays = non_maximum_suppression(boxes[None], scores[None], classes[None], most_overlap)[0]
    assert torch.nonzero(stays).flatten().tolist() == one_by_one(boxes, scores, classes, most_overlap)


def test_a_long_chain_of_overlaps_keeps_every_second_box():
    left = torch.arange(40.0) * 5
    boxes = torch.stack([left, torch.zeros(40), left + 10, torch.full((40,), 10.0)], 1)
    scores = torch.linspace(1, 0, 40)
    stays = non_maximum_suppression(boxes[None], scores[None], torch.zeros(1, 40, dtype=torch.int64), 0.3)
    assert torch.nonzero(stays[0]).flatten().tolist() == list(range(0, 40, 2))


def test_a_batch_gives_what_its_images_give_alone():
    images = [random_image(np.random.default_rng(seed), 12) for seed in range(4)]
    together = non_maximum_suppression(*(torch.stack(parts) for parts in zip(*images, strict=True)), 0.4)
    alone = [non_maximum_suppression(*(part[None] for part in image), 0.4)[0] for image in images]
    assert torch.equal(together, torch.stack(alone))


def test_of_equal_boxes_with_equal_scores_the_first_stays():
    boxes = torch.tensor([[1.0, 1.0, 9.0, 9.0]]).expand(1, 3, 4)
    stays = non_maximum_suppression(boxes, torch.full((1, 3), 0.7), torch.zeros(1, 3, dtype=torch.int64), 0.5)
    assert stays.tolist() == [[True, False, False]]


def test_places_without_a_box_neither_stay_nor_push_others_out():
    boxes = torch.tensor([[1.0, 1.0, 9.0, 9.0]]).expand(1, 2, 4)
    scores = torch.tensor([[-torch.inf, 0.1]])
    stays = non_maximum_suppression(boxes, scores, torch.zeros(1, 2, dtype=torch.int64), 0.5)
    assert stays.tolist() == [[False, True]]
