"""What an encoder takes: parameters of each family's vision part, and the peak of loading it from a whole checkpoint.

usage: python benchmarks/encoder_memory.py sizes                 parameters, from default configurations
       python benchmarks/encoder_memory.py load KIND FOLDER      of loading a checkpoint, in MB of float32, as JSON

The default configuration of a class is not always that of a published checkpoint; docs/encoders.md says where.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
import transformers

from bench import peak_gib, print_head, print_row
from embedshift.encoders import ENCODER_FAMILIES
from embedshift.encoders.huggingface import _class_without, load_huggingface
from embedshift.encoders.module import wrap

# Where the published checkpoint is larger than its class's default: sizes from memory, to be checked on its card.
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
HUGE = {"intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16, "patch_size": 14}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
PUBLISHED: dict[str, dict[str, Any]] = {
    "AltCLIP": {"vision_config": LARGE | {"patch_size": 14}},
    "MetaCLIP 2": {"vision_config": HUGE | {"hidden_size": 1280}, "projection_dim": 1024},
    "IDEFICS, the open Flamingo": {"vision_config": HUGE | {"embed_dim": 1280}, "use_resampler": True},
    "Idefics2": {"vision_config": SO400M | {"image_size": 980, "patch_size": 14}},
    "Idefics3": {"vision_config": SO400M | {"image_size": 364, "patch_size": 14}},
}


def sizes() -> None:
    """Parameters that are in memory for each family and embedding, counted on the meta device."""
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    print_head("family", "embedding", "vision part, M", "GB as float32", "whole, M")
    for family in ENCODER_FAMILIES:
        if not family.model_types:
            continue
        loader = getattr(transformers, family.loader)
        config = loader.config_class(**PUBLISHED.get(family.title, {}))
        with torch.device("meta"):
            whole = count(loader._from_config(config)) / 1e6
            for embedding in family.embeddings:
                part = count(_class_without(loader, family.drop + embedding.drop)._from_config(config))
                print_row(family.title, embedding.name, f"{part / 1e6:.1f}", f"{part * 4e-9:.2f}", f"{whole:.0f}")


def count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def load(folder: str) -> None:
    """Prints the parameters in memory and the growth of this process's peak while loading."""
    # Code that the first forward pass brings, so that only weights are counted.
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 57 * 57, 8))
    wrap(net, size=64, mean=(0.5,) * 3, std=(0.5,) * 3)(np.zeros((1, 64, 64, 3), np.uint8))
    before = peak_gib()
    module = load_huggingface(folder, size=64).module
    print(json.dumps({"parameters": count(module) * 4e-6, "growth": (peak_gib() - before) * 1.024**3 * 1e3}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        load(sys.argv[-1])
    elif sys.argv[1:] in ([], ["sizes"]):
        sizes()
    else:
        sys.exit(__doc__)
