"""Two revisions of this repository, asked the same questions about the same studies: "equal", or what differs.

usage: python benchmarks/same.py BEFORE [AFTER] [--only TEXT] [--frozen-by REVISION] [--folder build/same]
       python benchmarks/same.py BEFORE --changes

For a change that must change no answer. BEFORE and AFTER are revisions, or folders with a checkout (`.`: what lies
here). The first call freezes the inputs by BEFORE, or by the revision named: studies that encoders measured,
half-finished and damaged ones, maps, locks, rules. After that no model runs, and a comparison is analysis alone: the
commands of `net/commands.txt`, each about a copy. JSON is compared value for value, all else as text; of a Parquet file
schema, metadata and rows, of a page its words, sections and links. Ends with exit code 1 where something differs.

With --changes, twenty changes are made to a copy of BEFORE one at a time, and each must be named.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

from bench import ROOT, arguments, checked_out, print_machine
from net.changes import CHANGES, changed
from net.commands import FILE, Command, commands
from net.frozen import HERE, environment, freeze

SHOWN = 5  # differences of one answer
Answers = dict[str, dict[str, str]]


def main() -> None:
    options = arguments(
        __doc__, "before", "after?", only="", frozen_by="", folder=ROOT / "build" / "same", changes=False
    )
    before, folder = str(options.before), options.folder.resolve()
    net = frozen(options.frozen_by or before, folder)
    asked = commands(options.only)
    if options.changes:
        missed = [number for number in range(len(CHANGES)) if not named(before, net, number)]
        print_machine()
        sys.exit(len(missed) > 0)
    first = answers(before, net, [command.old for command in asked])
    second = answers(str(options.after or "."), net, [command.new for command in asked if command.new])
    differing = print_differences(asked, first, second)
    print_machine()
    sys.exit(differing > 0)


def frozen(revision: str, folder: Path) -> Path:
    """The folder of the inputs that the revision made, which is filled once."""
    net = folder / commit(revision)
    if not (net / "finished").exists():
        print(f"inputs are measured by {revision}", flush=True)
        with code_of(revision) as code:
            freeze(code, net)
        (net / "finished").touch()
    return net


def commit(revision: str) -> str:
    git = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--short=12", f"{revision}^{{commit}}"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def code_of(revision: str) -> Iterator[Path]:
    """The files of a revision, or those of a folder as they lie there."""
    if Path(revision).is_dir():
        yield Path(revision).resolve()
        return
    with tempfile.TemporaryDirectory() as folder, checked_out(revision, Path(folder) / "code") as code:
        yield code


def answers(revision: str, net: Path, asked: Sequence[str]) -> Answers:
    """What a revision answers; those of a commit are kept beside the inputs."""
    kept = None if Path(revision).is_dir() else net / f"answers-{commit(revision)}.json"
    known: Answers = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    if missing := [command for command in dict.fromkeys(asked) if command not in known]:
        started = time.perf_counter()
        with code_of(revision) as code:
            known |= answered(code, net, missing)
        print(f"{revision} answered {len(missing)} commands in {time.perf_counter() - started:.0f} s", flush=True)
        if kept is not None:
            kept.write_text(json.dumps(known))
    return known


def answered(code: Path, net: Path, asked: Sequence[str]) -> Answers:
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "commands.json", Path(folder) / "answers.json"
        given.write_text(json.dumps(asked))
        words = [sys.executable, str(HERE / "answers.py"), str(net), str(given), str(out)]
        subprocess.run(words, env=environment(code, net), check=True)
        return dict(json.loads(out.read_text()))


def print_differences(asked: Sequence[Command], first: Answers, second: Answers) -> int:
    """Prints what differs, command by command; returns the number of commands that do."""
    differing, parts, gone = 0, 0, 0
    for command in asked:
        if command.new is None:
            gone += 1
            continue
        before, after = first[command.old], second[command.new]
        parts += len(before)
        if found := list(differences(before, after)):
            differing += 1
            print(f"{command.old}" + (f"  ->  {command.new}" if command.new != command.old else ""))
            print("\n".join(f"    {line}" for line in found), flush=True)
    counted = f"{len(asked) - gone} commands, {parts} answers" + (f", {gone} commands are gone" if gone else "")
    print(f"{differing} of {counted} differ" if differing else f"equal: {counted}")
    return differing


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for part in sorted({*before, *after}):
        if part not in before or part not in after:
            yield f"{part}: only {'before' if part in before else 'after'}"
        elif before[part] != after[part]:
            yield from (f"{part}: {line}" for line in of_texts(before[part], after[part]))


def of_texts(before: str, after: str) -> list[str]:
    """The first differences: values of JSON by their place, else lines."""
    try:
        found = list(of_values(json.loads(before), json.loads(after)))
    except ValueError:
        lines = unified_diff(before.splitlines(), after.splitlines(), "", "", lineterm="", n=0)
        found = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [line[:300] for line in found[:SHOWN]] + more


def of_values(before: Any, after: Any, place: str = "$") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            if name not in before or name not in after:
                yield f"{place}.{name}: only {'before' if name in before else 'after'}"
            else:
                yield from of_values(before[name], after[name], f"{place}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from of_values(*pair, f"{place}[{number}]")
    elif before != after or type(before) is not type(after):
        yield f"{place}: {before!r:.80} -> {after!r:.80}"


def named(before: str, net: Path, number: int) -> bool:
    """Whether the net names one change; only the commands that it names are asked."""
    change = CHANGES[number]
    asked = [command for command in commands() if command.old in change.commands]
    if len(asked) != len(change.commands):
        sys.exit(f"{change.what}: {FILE.name} lacks one of {change.commands}")
    first = answers(before, net, [command.old for command in asked])
    with code_of(before) as code, changed(code, change) as copy:
        second = answers(str(copy), net, [command.old for command in asked])
    found = [line for command in asked for line in differences(first[command.old], second[command.old])]
    print(f"{number + 1:2} {'named' if found else 'NOT NAMED'}: {change.what}: {found[0] if found else ''}", flush=True)
    return bool(found)


if __name__ == "__main__":
    main()
