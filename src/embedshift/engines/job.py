"""What all engines share: their interface, what a run says when it starts, and the number of loader processes."""

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

# Yields the rows and the record of each shard as it is done, in any order.
Engine = Callable[[Sequence[Shard], Plan, ReadyEncoder, Progress], Generator[Result, None, None]]
# What a run finds in its folder: nothing; a part of what it is to make; or all of it, so that nothing is left.
State = Literal["new", "resumed", "complete"]


@dataclass(frozen=True)
class Start:
    out: Path
    images: int
    done: int
    state: State
    skipped: Mapping[str, int]
    # What the line of progress adds.
    note: Callable[[], str] = str


def loader_count(config: StudyConfig | ViewsConfig) -> int:
    """Returns the number of loader processes; the default is one per core, at most 8; 0 = this process draws."""
    return min(8, cores()) if config.workers is None else config.workers
