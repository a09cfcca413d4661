"""Folders of networks of others that no project needs: which weights are read, and what is refused."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.errors import DataError
from assay.spec.weights import digest_of_weights
from assay.training.models.pretrained import Backbone, feature_network, read_backbone
from tests.helpers.backbones import SIZE, save_backbone

pytestmark = pytest.mark.system


def test_files_that_hold_no_weights_to_read_are_told(tmp_path):
    folder = save_backbone(tmp_path / "net")
    whole, content = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    save_file({"convolution.weight": torch.ones(8, 3, dtype=torch.int8)}, whole)
    with pytest.raises(DataError, match=r"convolution\.weight in .* holds torch\.int8: the weights are quantized"):
        read_backbone(str(folder), "", None)
    whole.unlink()
    os.mkfifo(whole)
    with pytest.raises(DataError, match=r"is a pipe \(FIFO\); expected a regular file"):
        read_backbone(str(folder), "", None)
    whole.unlink()
    for name in ("model-a.safetensors", "model-b.safetensors"):
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=r"is in several of model-a\.safetensors, model-b\.safetensors"):
        read_backbone(str(folder), "", None)


def test_features_that_are_random_are_told(tmp_path):
    """A masked autoencoder leaves out patches by chance, also where it is only applied."""
    keys = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    decoder = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
    folder = save_backbone(
        tmp_path / "net", "vit_mae", classifier=False, **keys, **decoder, image_size=SIZE, patch_size=8
    )
    with pytest.raises(DataError, match="gives the same picture other features each time"):
        read_backbone(str(folder), "", None)


def test_other_versions_beside_the_weights_are_not_mixed_with_them(tmp_path):
    folder = save_backbone(tmp_path / "net")
    digest, weights = digest_of_weights(str(folder)), load_file(folder / "model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, folder / "model_former.safetensors")
    _, network = read_backbone(str(folder), digest, None)
    name = "resnet.embedder.embedder.convolution.weight"
    assert torch.equal(dict(network.named_parameters())[name.replace("resnet", "body")], weights[name])


def test_weights_that_change_while_they_are_read_are_told(tmp_path):
    folder = save_backbone(tmp_path / "net")
    with pytest.raises(DataError, match="was changed while it was read"):
        read_backbone(str(folder), "of the former weights", None)


def test_a_network_that_reads_blue_first_gets_it_first(tmp_path):
    """As MobileViT does; the description of the network keeps it, and an export learns of it."""
    folder = save_backbone(tmp_path / "net")
    found, network = read_backbone(str(folder), "", None)
    assert "is_bgr" not in found.model_dump()
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**preprocessor, "do_flip_channel_order": True}))
    other, reversed_network = read_backbone(str(folder), "", None)
    assert other.is_bgr
    pictures = torch.rand(2, 3, SIZE, SIZE)
    assert torch.allclose(network(pictures), reversed_network(pictures.flip(1)), atol=1e-6)
    built = feature_network(Backbone.model_validate(other.model_dump(mode="json")))
    built.load_state_dict(reversed_network.state_dict())
    assert torch.equal(built(pictures), reversed_network(pictures))


def test_nothing_is_fetched_while_a_network_is_built(tmp_path, monkeypatch):
    """Whatever the code of an architecture does, requests to the hub fail at once, and work again afterwards."""
    import transformers
    from huggingface_hub import is_offline_mode

    seen = []

    class Watched(transformers.ResNetModel):
        def __init__(self, config):
            seen.append(is_offline_mode())
            super().__init__(config)

    folder = save_backbone(tmp_path / "net", classifier=False)
    monkeypatch.setitem(transformers.MODEL_MAPPING._extra_content, transformers.ResNetConfig, Watched)
    before = is_offline_mode()
    read_backbone(str(folder), "", None)
    assert seen == [True]
    assert is_offline_mode() is before
