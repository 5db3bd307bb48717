"""Disturbs runs in every way that a run of days meets, and holds what they finish to an undisturbed run.

`chaos.py` runs the real command line on made images with a tiny CLIP whose weights are random: 30 SIGKILLs, 10
SIGSTOPs and 10 SIGTERMs to random processes at seeded moments, other signals, a full and a read-only disk, killed
loaders, device processes, Ray workers and heads, a Ray node without the images, two runs at once, file times of a
clock that jumps, images that change. After each fault the same command is run again where the line of the error says
so. `--short` is a small part of it. Ends with 1 when anything differs.
"""

import argparse
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
from PIL import Image

import embedshift
from chaos_world import IMAGES, WAIT, Process, World
from machine import describe_machine
from process_tree import descendants

# What is disturbed at random, with the flags of its run; "figures" is a report of the whole study.
KINDS = {"loaders": ("--image-timeout", "5"), "devices": ("--device", "cpu,cpu"), "figures": ()}


Outcome = tuple[str, str, str]
Fault = Callable[[World], Iterator[Outcome]]


def wait_for_shard(out: Path, process: Process, count: int = 1) -> None:
    """Until so many shards are there."""
    while process.poll() is None and len(list((out / "shards").glob("part-*.parquet"))) < count:
        time.sleep(0.02)


def goes_on(world: World, out: Path, name: str, code: int, line: str, *flags: str) -> Outcome:
    """The same command again, and what came out."""
    again, last = world.finish(world.start(out, *flags))
    return name, f"{code}: {line}", world.same(out) if again == 0 else f"NOT FINISHED: {last}"


def at_random(world: World, number: signal.Signals, count: int, seed: int) -> Iterator[Outcome]:
    """A signal to a random process (the main one, loaders, devices, figure workers) at a random moment of a run."""
    moments = random.Random(f"{seed} {number.name}")
    for turn in range(count):
        kind, flags = list(KINDS.items())[turn % len(KINDS)]
        out, report = world.out(), kind == "figures"
        if report:
            shutil.copytree(world.whole, out)
        start = functools.partial(world.report, out) if report else functools.partial(world.start, out, *flags)
        process = start()
        moment = moments.uniform(0.25, 0.9) * (world.report_seconds if report else world.seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        trackers = descendants(process.pid, "resource_tracker")  # Python's own, which says what it misses
        processes = [process.pid, *(child for child in descendants(process.pid) if child not in trackers)]
        victim = process.pid if number == signal.SIGTERM else moments.choice(processes)
        with contextlib.suppress(ProcessLookupError):  # the run may have ended
            os.kill(victim, number)
        if number == signal.SIGSTOP:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(50)  # the limit of a step and the patience with a loader
            process.terminate()
            process.send_signal(signal.SIGCONT)
        code, line = world.finish(process)
        whom = "main" if victim == process.pid else "child"
        name = f"{number.name} {turn + 1}, {kind}, {whom}"
        again, last = world.finish(start())
        yield name, f"at {moment:.1f} s, {code}: {line}", world.same(out) if again == 0 else f"NOT FINISHED: {last}"


def signals(world: World) -> Iterator[Outcome]:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        out = world.out()
        process = world.start(out)
        wait_for_shard(out, process)
        process.send_signal(number)
        yield goes_on(world, out, number.name, *world.finish(process))


def full_disk(world: World) -> Iterator[Outcome]:
    with small_disk(world, "size=200k") as disk:
        if disk is not None:
            code, line = world.finish(world.start(disk / "study"))
            subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
            yield goes_on(world, disk / "study", "full disk (tmpfs)", code, line)
    for limit in (20_000, 200_000):
        out = world.out()
        code, line = world.finish(world.start(out, limit=limit))
        yield goes_on(world, out, f"files of at most {limit:,} bytes", code, line)


def read_only_disk(world: World) -> Iterator[Outcome]:
    with small_disk(world, "size=200m,ro") as disk:
        if disk is None:
            yield "read-only disk", "not tried: this machine mounts none", "-"
            return
        code, line = world.finish(world.start(disk / "study"))
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        yield goes_on(world, disk / "study", "read-only disk", code, line)


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
    process, killed = world.start(out), 0
    for shards in (1, 2, 4):
        wait_for_shard(out, process, shards)
        for pid in descendants(process.pid)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    code, line = world.finish(process)
    yield f"{killed} loaders killed", f"{code}: {line}", world.same(out)


def killed_device(world: World) -> Iterator[Outcome]:
    out = world.out()
    process = world.start(out, "--device", "cpu,cpu")
    wait_for_shard(out, process)
    for pid in descendants(process.pid, "serve(int")[:1]:
        os.kill(pid, signal.SIGKILL)
    yield goes_on(world, out, "device process killed", *world.finish(process), "--device", "cpu,cpu")


def killed_ray(world: World) -> Iterator[Outcome]:
    for name, text in (("Ray worker killed", "ray::MapWorker"), ("Ray head killed", "gcs_server")):
        out = world.out()
        process = world.start(out, "--engine", "ray")
        wait_for_shard(out, process)
        found = descendants(process.pid, text)
        for pid in found[:1]:
            os.kill(pid, signal.SIGKILL)
        # Ray's own processes look for their head for a minute.
        code, line = world.finish(process, patience=150)
        yield goes_on(world, out, name if found else f"{name}: NOT FOUND", code, line)


def hidden_mount(world: World) -> Iterator[Outcome]:
    """A Ray of two nodes, in one of which an empty disk lies over the folder of the images."""
    name, out = "Ray node without the images", world.out()
    ray = f"{sys.executable} -m ray.scripts.scripts start --num-cpus 1 --block"
    address = f"{socket.gethostbyname(socket.gethostname())}:6399"
    head = f"{ray} --head --port 6399 --include-dashboard false"
    hidden = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none '{world.photos}' && exec {ray} --address {address}"]
    nodes = [start_silently(head.split())]
    try:
        time.sleep(30)
        nodes.append(start_silently(hidden))
        time.sleep(30)
        if nodes[1].poll() is not None:
            yield name, "not tried: this machine mounts none", "-"
            return
        code, line = world.finish(world.start(out, "--engine", "ray", ray=address))
        yield name, f"{code}: {line}", world.same(out)
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGTERM)
            node.wait()


def start_silently(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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
        yield goes_on(world, out, f"file times {days:+} days", code, "SIGKILL")


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
    process = world.start(out, photos=photos)
    _, err = process.communicate(timeout=WAIT)
    named = [line for line in err.splitlines() if "changed since they were measured" in line]
    rows, whole = (embedshift.load(each).rows().collect() for each in (out, world.whole))
    kept = rows.filter(rows["image_id"].is_in(measured)).equals(before, null_equal=True)
    others = [name for name in left if not _rows(rows, name).equals(_rows(whole, name), null_equal=True)]
    right = kept and others == [left[-1]] and len(named) == 1 and measured[0] in named[0]
    yield "images that change", named[0].strip() if named else "-", "as it must be" if right else "DIFFERENT"


def _rows(rows: pl.DataFrame, image_id: str) -> pl.DataFrame:
    return rows.filter(rows["image_id"] == image_id)


def name_of(fault: Fault) -> str:
    """The name of a fault's function, with the signal that it sends at random."""
    if isinstance(fault, functools.partial):
        return f"{fault.func.__name__} {fault.keywords['number'].name}"
    return fault.__name__


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=30, help="SIGKILLs; a third as many SIGSTOPs and SIGTERMs")
    parser.add_argument(
        "--short", action="store_true", help="three kills, a SIGTERM, signals, loaders, disks and two runs"
    )
    parser.add_argument("--only", default="", help="faults whose name holds this text, such as 'at_random SIGSTOP'")
    given = parser.parse_args()
    few: list[Fault] = [signals, killed_loaders, full_disk, two_runs]
    more: list[Fault] = [read_only_disk, killed_device, killed_ray, hidden_mount, clock_that_jumps, changed_source]
    kills = 3 if given.short else given.kills
    wrong, started = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        world = World(Path(scratch), draws=4 if given.short else 8)
        print(f"undisturbed: {world.seconds:.1f} s", flush=True)
        random_signals = {signal.SIGKILL: kills, signal.SIGTERM: kills // 3}
        random_signals |= {} if given.short else {signal.SIGSTOP: kills // 3}
        faults: list[Fault] = [
            functools.partial(at_random, number=number, count=count, seed=given.seed)
            for number, count in random_signals.items()
        ]
        for fault in faults + few + ([] if given.short else more):
            if given.only not in name_of(fault):
                continue
            for name, seen, found in fault(world):
                print(f"{name:32} {found:14} {seen[:200]}", flush=True)
                wrong += found not in ("equal", "as it must be", "-")
    print(f"\n{describe_machine()}, {time.monotonic() - started:.0f} s")
    print(f"{wrong} differ" if wrong else "all as undisturbed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
