"""From the network's outputs to a map of classes.

Belongs here: reading outputs. Does not belong here: files, comparing maps with the truth.
"""

import torch
from torch import Tensor


def class_map(outputs: Tensor, width: int, height: int) -> Tensor:
    """Return the most probable class of every pixel of one image: uint8 (height, width), 0 for the background.

    Args:
        outputs: (1 + k, H, W) logits of the padded image.
        width: Of the image in pixels, without padding.
        height: Likewise.
    """
    return outputs[:, :height, :width].argmax(0).to(torch.uint8)
