"""Verdicts: the results of trials of an encoder on this machine, kept in the user's cache."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from embedshift.config import Json, validated
from embedshift.encoders.cache import note, recall
from embedshift.errors import UsageError

KIND = "verdicts"
# Increased whenever trials or kernels change, so that results of an older embedshift are measured again.
VERSION = 1
PACKAGES = ("embedshift", "torch", "transformers", "open_clip_torch", "timm")
# Settings that restrict the processor instructions of torch and its libraries.
HELD = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")

Times = Annotated[float, Gt(0), Le(1e6)]
Distance = Annotated[float, Ge(0), Le(2)]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a lower precision costs and saves."""

    times: Times
    largest: Distance | None = None
    mean: Distance | None = None
    pictures: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The results of trials; what was not tested yet is missing."""

    shortcut: bool | None = None
    equal: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    factors: Mapping[str, Mapping[str, Times]] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def write(self, key: str) -> None:
        """Writes it to the cache if possible."""
        note(KIND, key, dataclasses.asdict(self))


def read_verdict(key: str) -> Verdict:
    """Reads a verdict from the cache; a damaged file counts as empty."""
    content = recall(KIND, key)
    try:
        return validated(Verdict, content) if isinstance(content, dict) else Verdict()
    except (UsageError, TypeError):
        return Verdict()


def key_of(content: Mapping[str, Any]) -> str:
    """Returns the key of a verdict: a hash over its subject, the processor and the versions."""
    text = json.dumps([VERSION, content, processor(), versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def structure(module: nn.Module) -> list[Any]:
    """What decides a module's passes in addition to its weights: the classes and plain settings of its parts."""
    found: list[Any] = []
    for name, part in module.named_modules():
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        plain = {key: value for key, value in vars(part).items() if _is_plain(value)}
        config: Any = getattr(part, "config", None)
        said = {"config": config.to_json_string()} if hasattr(config, "to_json_string") and not name else {}
        found.append([name, kind, plain | said])
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def processor() -> Json:
    """Returns the features that torch and its libraries may use on this processor, and the number of threads."""
    has_word = hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    return {
        "machine": platform.machine(),
        "name": processor_name(),
        "features": features(),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": has_word and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "held": {name: os.environ[name] for name in HELD if name in os.environ},
        "threads": torch.get_num_threads(),
    }


def processor_name() -> str:
    """Returns the system's name for the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found = next((line for line in lines if line.startswith("model name")), "")
    return found.partition(":")[2].strip() or platform.processor() or platform.machine()


def features() -> list[str]:
    """Returns the names of the processor's features, if torch reports them."""
    tell = getattr(torch.cpu, "get_capabilities", dict)
    return sorted(name for name, value in tell().items() if value is True)


def versions() -> dict[str, str]:
    """Returns the versions of embedshift and of the installed libraries that a pass uses."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
