"""The images, the model and the undisturbed study of `chaos.py`, and its commands as processes."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from process_tree import end_of_group

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import embedshift
from support import models
from support.synthetic import write_pictures

IMAGES, SHARD = 24, 4
WAIT = 180


@dataclass
class World:
    """Images, a model, and the study that nothing disturbed."""

    scratch: Path
    draws: int
    count: int = 0

    def __post_init__(self) -> None:
        self.photos, self.model = self.scratch / "images", self.scratch / "clip"
        write_pictures(self.photos, [f"{n:02}.png" for n in range(IMAGES - 1)], 0)
        (self.photos / "broken.jpg").write_bytes(b"no image")
        models.make("clip", self.model)
        self.whole = self.scratch / "whole"
        started = time.monotonic()
        code, line = self.finish(self.start(self.whole))
        assert code == 0, line
        self.seconds = time.monotonic() - started
        started = time.monotonic()
        code, line = self.finish(self.report(self.whole))
        assert code == 0, line
        self.report_seconds = time.monotonic() - started

    def out(self) -> Path:
        """A new folder for a study."""
        self.count += 1
        return self.scratch / f"study-{self.count}"

    def start(
        self, out: Path, *flags: str, limit: int | None = None, photos: Path | None = None, ray: str = ""
    ) -> "Process":
        """The command, as a process and a group of its own; `limit`: bytes of a file that it may write."""
        settings = ["--draws", str(self.draws), "--shard-size", str(SHARD), "--workers", "2", "--no-report", *flags]
        model_and_out = ["--model", str(self.model), "--out", str(out)]
        return self.command("run", str(photos or self.photos), *model_and_out, *settings, limit=limit, ray=ray)

    def report(self, out: Path) -> "Process":
        """The command that makes tables, figures and the page of a study again."""
        return self.command("report", str(out))

    def command(self, *arguments: str, limit: int | None = None, ray: str = "") -> "Process":
        return subprocess.Popen(
            [sys.executable, "-c", "from embedshift.cli import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({"RAY_ADDRESS": ray} if ray else {}),
            start_new_session=True,
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    def finish(self, process: "Process", patience: float = 10) -> tuple[int, str]:
        """Its exit code and its last line; after so many seconds, none of its processes may be left."""
        out, err = process.communicate(timeout=WAIT)
        assert "Traceback" not in err, err
        left = end_of_group(process.pid, patience)
        assert not left, f"processes left: {left}"
        lines = [line for line in (err if process.returncode else out).splitlines() if line.strip()]
        return process.returncode, next((line for line in lines if "error:" in line), lines[-1] if lines else "")

    def same(self, out: Path) -> str:
        """Whether rows, failures, counts and all tables, byte for byte, are those of the undisturbed run."""
        study, whole = embedshift.load(out), embedshift.load(self.whole)
        tables = [path.relative_to(self.whole) for path in sorted((self.whole / "tables").glob("*.csv"))]
        different = [str(path) for path in tables if (out / path).read_bytes() != (self.whole / path).read_bytes()]
        different += [name for name in whole.table_names if not study.table(name).equals(whole.table(name))]
        for name, one, other in (
            ("rows", study.rows().collect(), whole.rows().collect()),
            ("failures", study.failures(), whole.failures()),
        ):
            different += [] if one.equals(other, null_equal=True) else [name]
        different += [] if study.info()["counts"] == whole.info()["counts"] else ["counts"]
        return "equal" if not different else f"DIFFERENT: {', '.join(different)}"


Process = subprocess.Popen[str]
