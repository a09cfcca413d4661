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
    config = transformers.CONFIG_MAPPING[kind](**{**KINDS[kind], **keys})
    auto = transformers.AutoModelForImageClassification if classifier else transformers.AutoModel
    auto.from_config(config).eval().save_pretrained(folder)
    normalization = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    preprocessor = {"size": {"height": SIZE, "width": SIZE}, **normalization}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
