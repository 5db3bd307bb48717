"""What an encoder takes: parameters of each family's vision part, and the peak of loading it from a whole checkpoint.

    python benchmarks/encoder_memory.py sizes     parameters, from default configurations
    python benchmarks/encoder_memory.py peak      a checkpoint with a large text part, loaded whole and by embedshift

The default configuration of a class is not always that of a published checkpoint; docs/encoders.md says where.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VOCABULARY = 1_500_000

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
    import torch
    import transformers

    from embedshift.encoders import ENCODER_FAMILIES
    from embedshift.encoders.huggingface import _class_without

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    print(f"{'family':36} {'embedding':11} {'vision part':>12} {'float32':>9} {'whole':>9}")
    for family in ENCODER_FAMILIES:
        if not family.model_types:
            continue
        loader = getattr(transformers, family.loader)
        config = loader.config_class(**PUBLISHED.get(family.title, {}))
        with torch.device("meta"):
            whole = _count(loader._from_config(config))
            for embedding in family.embeddings:
                part = _count(_class_without(loader, family.drop + embedding.drop)._from_config(config))
                numbers = f"{part / 1e6:10.1f} M {part * 4e-9:6.2f} GB {whole / 1e6:7.0f} M"
                print(f"{family.title:36} {embedding.name:11} {numbers}")


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def peak() -> None:
    """Makes bfloat16 checkpoints with a text embedding of 384 MB in float32, and loads each in a process of its own."""
    print("growth of the peak in MB, weights read as float32")
    print(f"{'checkpoint':10} {'vision part':>12} {'by embedshift':>14} {'whole class':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("clip", "blip", "idefics2"):
            folder = Path(scratch) / kind
            subprocess.run([sys.executable, __file__, "make", kind, str(folder)], check=True)
            part = json.loads(_child("load", kind, folder))
            whole = json.loads(_child("whole", kind, folder))
            print(f"{kind:10} {part['parameters']:12.1f} {part['growth']:14.1f} {whole['growth']:12.1f}", flush=True)


def _child(what: str, kind: str, folder: Path) -> str:
    command = [sys.executable, __file__, what, kind, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def _tiny(kind: str) -> tuple[Any, Any]:
    import transformers as hf

    tower = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    tower |= {"image_size": 64, "patch_size": 16}
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": VOCABULARY}
    if kind == "clip":
        return hf.CLIPModel, hf.CLIPConfig(vision_config=tower, text_config=text)
    if kind == "blip":
        text["encoder_hidden_size"] = 256
        return hf.BlipForImageTextRetrieval, hf.BlipConfig(vision_config=tower, text_config=text)
    mistral = {"model_type": "mistral", **text, "num_key_value_heads": 1, "head_dim": 32, "pad_token_id": 0}
    perceiver = {"hidden_size": 64, "resampler_n_heads": 2, "resampler_head_dim": 32, "num_key_value_heads": 1}
    config = hf.Idefics2Config(vision_config=tower, text_config=mistral, perceiver_config=perceiver)
    return hf.Idefics2ForConditionalGeneration, config


def make(kind: str, folder: Path) -> None:
    """A checkpoint in bfloat16: a file that is read as float32 cannot just be mapped into memory."""
    import torch

    cls, config = _tiny(kind)
    cls._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def load(kind: str, folder: Path, *, whole: bool) -> None:
    """Prints the parameters in memory and the growth of this process's peak while loading, in MB of float32."""
    import torch

    from embedshift.encoders.huggingface import load_huggingface

    cls, _ = _tiny(kind)
    _warm(cls)
    before = _peak()
    if whole:
        module = cls.from_pretrained(folder, dtype=torch.float32)
    else:
        module = load_huggingface(str(folder), size=64).module
    print(json.dumps({"parameters": _count(module) * 4e-6, "growth": _peak() - before}))


def _warm(cls: Any) -> None:
    """Loads code that the first forward pass brings, so that only weights are counted."""
    import numpy as np
    import torch

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 57 * 57, 8))
    from embedshift.encoders.module import wrap

    wrap(net, size=64, mean=(0.5,) * 3, std=(0.5,) * 3)(np.zeros((1, 64, 64, 3), np.uint8))


def _peak() -> float:
    """Peak of this process in MB. Linux's `ru_maxrss` would begin at the parent's, so the kernel's own mark is read."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="sizes", choices=["sizes", "peak", "make", "load", "whole"])
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)  # of its own processes: a kind and a folder
    given = parser.parse_args()
    if given.task in {"sizes", "peak"}:
        {"sizes": sizes, "peak": peak}[given.task]()
    elif given.task == "make":
        make(given.rest[0], Path(given.rest[1]))
    else:
        load(given.rest[0], Path(given.rest[1]), whole=given.task == "whole")
