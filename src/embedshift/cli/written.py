"""The paths of what a run or a report has written; that of the report stands alone on the last line."""

import os
from collections.abc import Iterator
from pathlib import Path

from embedshift.config.safe_files import STUDY_FILES, refuse_output

REPORT = "report.html"


def written(folder: Path) -> Iterator[str]:
    yield "Written:"
    yield from (f"  {folder / name}" for name in STUDY_FILES if name != REPORT and (folder / name).exists())
    if (folder / REPORT).exists():
        yield f"Report: {folder / REPORT}"


def write_text(path: Path, text: str) -> None:
    """Writes a file that the user named, but none that a study has, and into no FIFO that nobody reads."""
    refuse_output(path)
    # Not through a temporary file: a workflow's path may be a pipe, or the only file that it may write.
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        os.set_blocking(file.fileno(), True)  # to open a FIFO that nobody reads is an error, not a wait
        file.write(text)
