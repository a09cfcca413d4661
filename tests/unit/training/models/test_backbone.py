import torch

from assay.training.models.backbone import Encoder, Merge, encoder_channels


def test_features_come_at_strides_2_4_8_and_16():
    features = Encoder(3, 4)(torch.zeros(2, 3, 32, 48))
    assert [tuple(part.shape) for part in features] == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 24, 2, 3)]
    assert encoder_channels(4) == (4, 8, 16, 24)


def test_merging_keeps_the_place_of_the_fine_features():
    coarse, fine = torch.zeros(1, 6, 2, 3), torch.zeros(1, 4, 4, 6)
    assert Merge(6, 4)(coarse, fine).shape == (1, 4, 4, 6)
    assert Merge(6, 4, 10)(coarse, fine).shape == (1, 10, 4, 6)


def test_what_is_coarse_reaches_the_four_cells_that_it_covers():
    merge = Merge(1, 1).eval()
    with torch.no_grad():
        for value in merge.parameters():
            value.fill_(1.0)
        seen = merge(torch.tensor([[[[0.0, 1.0]]]]), torch.zeros(1, 1, 2, 4))
    assert seen[0, 0, :, 2:].min() > seen[0, 0, :, 0].max()
