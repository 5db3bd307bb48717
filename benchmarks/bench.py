"""What the benchmarks share: arguments, the machine in a line, tables, photographs, processes and turns."""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.arrays import Pixels

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # for `support`
COMMAND = [sys.executable, "-c", "from embedshift.cli import main; main()"]
BUNDLED = "dinov2-small-offline"


def arguments(doc: str | None, *places: str, **settings: Any) -> Any:
    """The command line: paths by place ("photos", "study?" where it may be left out), and `--settings`.

    A setting has the type of its default: False is a flag, a tuple takes several values (texts: of its own),
    a type has no default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for place in places:
        parser.add_argument(place.rstrip("?"), metavar=place.upper(), type=Path, nargs="?" if "?" in place else None)
    for name, default in settings.items():
        kind: dict[str, Any] = {"type": type(default), "default": default}
        if default is False:
            kind = {"action": "store_true"}
        elif isinstance(default, type):
            kind = {"type": default}
        elif isinstance(default, tuple):
            kind = {"type": type(default[0]), "nargs": "+", "default": list(default)}
            kind |= {"choices": default} if isinstance(default[0], str) else {}
        parser.add_argument(f"--{name.replace('_', '-')}", **kind)
    return parser.parse_args()


def print_machine() -> None:
    """Processor, memory, versions, the date and the load."""
    from machine import describe_machine  # with torch, without which some benchmarks measure memory

    print(f"{describe_machine()}, load {os.getloadavg()[0]:.1f}", flush=True)


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_head(*names: object) -> None:
    """The first two lines of a table."""
    print_row(*names)
    print("|---" * len(names) + "|")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratios(rounds: Sequence[dict[str, float]], above: str, below: str) -> str:
    """Of two numbers of each round, since a shared machine changes its speed from round to round."""
    return spread([each[above] / each[below] for each in rounds])


def timed(work: Callable[[], object]) -> float:
    """Seconds of some work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def files_in(folder: Path, count: int | None = None) -> list[Path]:
    """The first photos of a folder and those below it, in order."""
    from embedshift.sources import FolderSource

    return [Path(sample.location) for sample in FolderSource([str(folder)]).samples[:count]]


def spread_over(folder: Path, count: int) -> list[Path]:
    """So many photos, spread over the folder."""
    files = files_in(folder)
    return files[:: max(1, len(files) // count)][:count]


def read_square(file: Path, size: int) -> Pixels:
    """A photo, squashed to the input of an encoder."""
    from embedshift.sources import images

    return images.ToInput(size, "squash")(images.decode(file.read_bytes()))


def repeated(photos: Path, count: int, folder: Path) -> list[Path]:
    """Links to the photos of a folder, again and again under other names, until there are enough; in order."""
    found = files_in(photos.resolve())
    folder.mkdir(parents=True)
    links = [folder / f"{number:06d}{found[number % len(found)].suffix}" for number in range(count)]
    for number, link in enumerate(links):
        link.symlink_to(found[number % len(found)])
    return links


def save_clip(folder: Path) -> str:
    """A checkpoint of CLIP ViT-B/32's vision part with random weights: speed does not depend on them."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(folder)
    return str(folder)


def random_views(count: int, size: int = 224) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def peak_gib() -> float:
    """The peak memory of this process. Not `ru_maxrss`, which a child inherits from the process that started it."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 2**20


def in_a_process(script: str, *arguments: object, **environment: str) -> Any:
    """What a script, called again in a process of its own, says as JSON in its last line."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | environment)
    return json.loads(done.stdout.splitlines()[-1])


def installed(folder: Path, wanted: Sequence[str]) -> Path:
    """The Python of an environment of its own, which pip makes where it is missing."""
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not (stamp.exists() and stamp.read_text().splitlines() == list(wanted)):
        print(f"pip installs {', '.join(wanted)}", file=sys.stderr, flush=True)
        venv.EnvBuilder(clear=True, with_pip=True).create(folder)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return python


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """The files of a revision of this repository, in a worktree that goes away."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def replace_once(code: Path, file: str, expression: str, other: str) -> None:
    """Replaces an expression of a file of the package in a copy of the code; it must stand there exactly once."""
    path = code / "src" / "embedshift" / file
    text = path.read_text()
    if text.count(expression) != 1:
        sys.exit(f"{file}: {expression!r} is found {text.count(expression)} times, not once; correct this benchmark")
    path.write_text(text.replace(expression, other))
