"""Disturbs runs in every way that a run of days meets, and holds what they finish to an undisturbed run.

usage: python benchmarks/chaos.py [--short] [--only TEXT] [--kills 30] [--seed 0]

Runs the real command line on made images with a tiny CLIP whose weights are random: SIGKILLs and a third as many
SIGTERMs to random processes at seeded moments, other signals, a full and a read-only disk, killed loaders, Ray workers
and heads, a Ray node without the images, two runs at once, file times of a clock that jumps, images that change. After
each fault the same command is run again where the line of the error says so. `--short` is a few signals at random
moments, since the tests have a case of each other fault; `--only` takes faults whose name holds a text, such as
"at_random SIGKILL". Ends with 1 when anything differs.
"""

import contextlib
import functools
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

import embedshift
from bench import arguments, print_machine
from support import command, models, processes
from support.synthetic import write_pictures

IMAGES, SHARD, WAIT = 24, 4, 180
# What is disturbed at random, with the flags of its run; "figures" is a report of the whole study.
KINDS = {"loaders": ("--image-timeout", "5"), "figures": ()}

Process = subprocess.Popen[str]
# Name, what was seen, and what became of it.
Outcome = tuple[str, str, str]
Fault = Callable[["World"], Iterator[Outcome]]


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
        self.whole, self.seconds = self.scratch / "whole", list[float]()
        for start in (self.start, self.report):
            started = time.monotonic()
            code, line = self.finish(start(self.whole))
            assert code == 0, line
            self.seconds.append(time.monotonic() - started)

    def out(self) -> Path:
        """A new folder for a study."""
        self.count += 1
        return self.scratch / f"study-{self.count}"

    def start(self, out: Path, *flags: str, photos: Path | None = None, **environment: str) -> Process:
        """The command, as a process and a group of its own."""
        settings = ["--draws", self.draws, "--shard-size", SHARD, "--workers", 2, "--no-report", *flags]
        return command.start(
            "run", photos or self.photos, "--model", self.model, "--out", out, *settings, **environment
        )

    def report(self, out: Path) -> Process:
        """The command that makes tables, figures and the page of a study again."""
        return command.start("report", out)

    def finish(self, process: Process, patience: float = 10) -> tuple[int, str]:
        """Its exit code and its last line; after so many seconds, none of its processes may be left."""
        done = command.finish(process, WAIT)
        assert "Traceback" not in done.err, done.err
        assert processes.group_is_gone(process.pid, patience), "processes are left"
        lines = [line for line in (done.err if done.code else done.out).splitlines() if line.strip()]
        return done.code, next((line for line in lines if "error:" in line), lines[-1] if lines else "")

    def goes_on(self, out: Path, name: str, seen: tuple[int, str], *flags: str) -> Outcome:
        """The same command again, and what came out."""
        return name, f"{seen[0]}: {seen[1]}", self.same_after(out, self.start(out, *flags))

    def same_after(self, out: Path, process: Process) -> str:
        code, line = self.finish(process)
        return self.same(out) if code == 0 else f"NOT FINISHED: {line}"

    def same(self, out: Path) -> str:
        """Whether rows, failures, counts and all tables, byte for byte, are those of the undisturbed run."""
        study, whole = embedshift.load(out), embedshift.load(self.whole)
        tables = [path.relative_to(self.whole) for path in sorted((self.whole / "tables").glob("*.csv"))]
        different = [str(path) for path in tables if (out / path).read_bytes() != (self.whole / path).read_bytes()]
        different += [name for name in whole.table_names if not study.table(name).equals(whole.table(name))]
        pairs = {
            "rows": (study.rows().collect(), whole.rows().collect()),
            "failures": (study.failures(), whole.failures()),
        }
        different += [name for name, (one, other) in pairs.items() if not one.equals(other, null_equal=True)]
        different += [] if study.info()["counts"] == whole.info()["counts"] else ["counts"]
        return "equal" if not different else f"DIFFERENT: {', '.join(different)}"


def descendants(pid: int, text: str = "") -> list[int]:
    """Processes below one whose command line holds a text, but for Python's own, which says what it misses."""

    def words(each: int) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""

    found = {each: words(each) for each in processes.descendants(pid)}
    return [each for each, said in found.items() if text in said and "resource_tracker" not in said]


def kill(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
    """The first of some processes, if there is one."""
    for pid in pids[:1]:
        with contextlib.suppress(ProcessLookupError):  # the run may have ended
            os.kill(pid, number)


def wait_for_shard(out: Path, process: Process, count: int = 1) -> None:
    """Until so many shards are there."""
    while process.poll() is None and len(list((out / "shards").glob("part-*.parquet"))) < count:
        time.sleep(0.02)


def at_random(world: World, number: signal.Signals, count: int, seed: int) -> Iterator[Outcome]:
    """A signal to a random process (the main one, loaders, figure workers) at a random moment of a run."""
    moments = random.Random(f"{seed} {number.name}")
    for turn in range(count):
        kind, flags = list(KINDS.items())[turn % len(KINDS)]
        out, is_report = world.out(), kind == "figures"
        if is_report:
            shutil.copytree(world.whole, out)
        start = functools.partial(world.report, out) if is_report else functools.partial(world.start, out, *flags)
        process = start()
        moment = moments.uniform(0.25, 0.9) * world.seconds[is_report]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        victim = process.pid
        if number != signal.SIGTERM:
            victim = moments.choice([process.pid, *descendants(process.pid)])
        kill([victim], number)
        code, line = world.finish(process)
        name = f"{number.name} {turn + 1}, {kind}, {'main' if victim == process.pid else 'child'}"
        yield name, f"at {moment:.1f} s, {code}: {line}", world.same_after(out, start())


def signals(world: World) -> Iterator[Outcome]:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        out = world.out()
        process = world.start(out)
        wait_for_shard(out, process)
        process.send_signal(number)
        yield world.goes_on(out, number.name, world.finish(process))


def full_disk(world: World) -> Iterator[Outcome]:
    with small_disk(world, "size=200k") as disk:
        if disk is not None:
            seen = world.finish(world.start(disk / "study"))
            subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
            yield world.goes_on(disk / "study", "full disk (tmpfs)", seen)
    for limit in (20_000, 200_000):
        out = world.out()
        process = world.start(out)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        yield world.goes_on(out, f"files of at most {limit:,} bytes", world.finish(process))


def read_only_disk(world: World) -> Iterator[Outcome]:
    with small_disk(world, "size=200m,ro") as disk:
        if disk is None:
            yield "read-only disk", "not tried: this machine mounts none", "-"
            return
        seen = world.finish(world.start(disk / "study"))
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        yield world.goes_on(disk / "study", "read-only disk", seen)


@contextlib.contextmanager
def small_disk(world: World, options: str) -> Iterator[Path | None]:
    """A disk in memory; None where this machine mounts none."""
    disk = world.out()
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=False, capture_output=True)
    try:
        yield disk if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", disk], check=False)


def killed_loaders(world: World) -> Iterator[Outcome]:
    out = world.out()
    process = world.start(out)
    for shards in (1, 2, 4):
        wait_for_shard(out, process, shards)
        kill(descendants(process.pid))
    code, line = world.finish(process)
    yield "3 loaders killed", f"{code}: {line}", world.same(out)


def killed_ray(world: World) -> Iterator[Outcome]:
    for name, text in (("Ray worker killed", "ray::Encoder"), ("Ray head killed", "gcs_server")):
        out = world.out()
        process = world.start(out, "--engine", "ray")
        wait_for_shard(out, process)
        found = descendants(process.pid, text)
        kill(found)
        # Ray's own processes look for their head for a minute.
        seen = world.finish(process, patience=150)
        yield world.goes_on(out, name if found else f"{name}: NOT FOUND", seen)


def hidden_mount(world: World) -> Iterator[Outcome]:
    """A Ray of two nodes, in one of which an empty disk lies over the folder of the images."""
    name, out = "Ray node without the images", world.out()
    ray = f"{sys.executable} -m ray.scripts.scripts start --num-cpus 1 --block"
    address = f"{socket.gethostbyname(socket.gethostname())}:6399"
    head = f"{ray} --head --port 6399 --include-dashboard false"
    hidden = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{world.photos}' && exec {ray} --address {address}"]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for words in (head.split(), hidden):
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            nodes.append(subprocess.Popen(words, start_new_session=True, **silent))  # type: ignore[call-overload]
            time.sleep(30)
        if nodes[1].poll() is not None:
            yield name, "not tried: this machine mounts none", "-"
            return
        code, line = world.finish(world.start(out, "--engine", "ray", RAY_ADDRESS=address))
        yield name, f"{code}: {line}", world.same(out)
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGTERM)
            node.wait()


def two_runs(world: World) -> Iterator[Outcome]:
    out = world.out()
    found = sorted(map(world.finish, [world.start(out), world.start(out)]))
    codes, line = [code for code, _ in found], found[-1][1]
    yield "two runs at once", f"{codes}: {line}", world.same(out) if codes == [0, 1] else "NOT ONE FINISHED"


def clock_that_jumps(world: World) -> Iterator[Outcome]:
    for days in (-400, 400):
        out = world.out()
        process = world.start(out)
        wait_for_shard(out, process, 2)
        process.kill()
        code, _ = world.finish(process)
        for path in (out, *out.rglob("*"), *world.photos.iterdir()):
            os.utime(path, (time.time() + days * 86_400,) * 2)
        yield world.goes_on(out, f"file times {days:+} days", (code, "SIGKILL"))


def changed_source(world: World) -> Iterator[Outcome]:
    """One image that is measured and one that is not are exchanged before the run goes on."""
    photos, out = world.scratch / "changing", world.out()
    shutil.copytree(world.photos, photos)
    process = world.start(out, photos=photos)
    wait_for_shard(out, process, 2)
    process.kill()
    world.finish(process)
    before = embedshift.load(out).rows().collect()
    measured = sorted(before["image_id"].unique())
    left = sorted({f"{n:02}.png" for n in range(IMAGES - 1)} - {*measured})
    for name in (measured[0], left[-1]):
        Image.effect_noise((40, 30), 90).convert("RGB").save(photos / name)
    err = command.finish(world.start(out, photos=photos), WAIT).err
    named = [line for line in err.splitlines() if "changed since they were measured" in line]
    rows, whole = (embedshift.load(each).rows().collect() for each in (out, world.whole))
    kept = rows.filter(rows["image_id"].is_in(measured)).equals(before, null_equal=True)
    of = [{name: each.filter(each["image_id"] == name) for name in left} for each in (rows, whole)]
    others = [name for name in left if not of[0][name].equals(of[1][name], null_equal=True)]
    right = kept and others == [left[-1]] and len(named) == 1 and measured[0] in named[0]
    yield "images that change", named[0].strip() if named else "-", "as it must be" if right else "DIFFERENT"


def main() -> None:
    given = arguments(__doc__, seed=0, kills=30, short=False, only="")
    kills = 3 if given.short else given.kills
    faults: dict[str, Fault] = {
        f"at_random {number.name}": functools.partial(at_random, number=number, count=count, seed=given.seed)
        for number, count in ((signal.SIGKILL, kills), (signal.SIGTERM, kills // 3))
    }
    machines = (full_disk, read_only_disk, clock_that_jumps, changed_source)
    others = (signals, killed_loaders, killed_ray, hidden_mount, two_runs, *machines)
    faults |= {fault.__name__: fault for fault in (() if given.short else others)}
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        world = World(Path(scratch), draws=4 if given.short else 8)
        print(f"undisturbed: {world.seconds[0]:.1f} s", flush=True)
        for fault in (fault for name, fault in faults.items() if given.only in name):
            for name, seen, found in fault(world):
                print(f"{name:32} {found:14} {seen[:200]}", flush=True)
                wrong += found not in ("equal", "as it must be", "-")
    print_machine()
    print(f"{wrong} differ" if wrong else "all as undisturbed")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
