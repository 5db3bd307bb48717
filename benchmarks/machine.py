"""What machine and what versions a benchmark ran on, in one line, without its name."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def describe_machine() -> str:
    """Processor, cores, memory, versions and the date."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    processor = names[0] if names else platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.date.today()}: {processor}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"torch {version('torch')} with {torch.get_num_threads()} threads, transformers {version('transformers')}, "
        f"Python {platform.python_version()}"
    )
