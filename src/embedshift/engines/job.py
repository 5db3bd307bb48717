"""The shared parts of engines: interface, messages at the start, number of loader processes."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embedshift.config import StudyConfig, ViewsConfig
from embedshift.config.processes import cores
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Progress, Result
from embedshift.sources import Shard

__all__ = ["Engine", "Progress", "Start", "State", "loader_count"]

# Yields the rows and the record of each shard when it is done, in any order.
Engine = Callable[[Sequence[Shard], Plan, ReadyEncoder, Progress], Generator[Result, None, None]]
# State of a run's folder: empty, unfinished, or complete.
State = Literal["new", "resumed", "complete"]


@dataclass(frozen=True)
class Start:
    out: Path
    images: int
    done: int
    state: State
    skipped: Mapping[str, int]
    # Additions to the line of progress.
    note: Callable[[], str] = str


def loader_count(config: StudyConfig | ViewsConfig) -> int:
    """Returns the number of loader processes; default one per core, at most 8; 0 = this process draws."""
    return min(8, cores()) if config.workers is None else config.workers
