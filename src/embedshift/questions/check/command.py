"""The command `embedshift check`."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.config import GroupedOptions
from embedshift.errors import UsageError
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.questions.check.result import Checked
    from embedshift.study.result import Output

log = logging.getLogger("embedshift")
DEFAULT = Path("rules.yaml")


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `check`."""

    study: Path = argument("A finished study.")
    rules: Path = setting(DEFAULT, "YAML file with the rules.")
    against: Path | None = setting(None, "Reference study of the same images and views.")
    shift_margin: float | None = setting(
        None, "Equivalent if views move at most so many times as far or as near, such as 1.05."
    )
    recall_margin: float | None = setting(None, "Equivalent if at most so much of recall@1 is lost, such as 0.01.")
    strict: bool = setting(False, "Exit with code 3 also if a rule is undecided.")
    allow_worse: bool = setting(False, "Let a rule pass that is worse, not broken.")
    junit: Path | None = setting(None, "Write JUnit XML to this file.")
    markdown: Path | None = setting(None, "Write a pull request summary to this file.")
    init: bool = setting(False, "Propose rules from this study; check nothing.")


def command(options: Options) -> "Output":
    """Checks a study against rules, or proposes them."""
    from embedshift.questions.check.check import check
    from embedshift.questions.check.proposal import propose
    from embedshift.questions.check.result import warnings

    given, rules = options, options.rules
    margins = {"shift_margin": given.shift_margin, "recall_margin": given.recall_margin}
    has_margin = any(margin is not None for margin in margins.values())
    if given.init:
        others = ("against", "strict", "allow_worse", "as_json", "junit", "markdown")
        if has_margin or any(getattr(given, name) for name in others):
            raise UsageError("--init writes rules and checks nothing: use it alone or with --rules only")
        return _proposed(propose(given.study, rules, given.groups))
    if not rules.exists() and not (has_margin and rules == DEFAULT):
        raise UsageError(f"{rules}: no such file; `embedshift check {given.study} --init` writes rules to start with")
    parsed: Path | list[Any] = rules if rules.exists() else []
    checked = check(given.study, parsed, given.against, groups=given.groups, allow_worse=given.allow_worse, **margins)
    # Someone who reads both streams in one terminal reads a warning once.
    for line in warnings(checked) if given.as_json or not (sys.stdout.isatty() and sys.stderr.isatty()) else ():
        log.warning("%s", line)
    return checked.answer(files=_files(given, checked), strict=given.strict)


def _files(options: Options, checked: "Checked") -> dict[Path, str]:
    from embedshift.questions.check.result import to_junit, to_markdown
    from embedshift.store.naming import tails
    from embedshift.study import load
    from embedshift.study.head import head

    files = {} if options.junit is None else {options.junit: to_junit(checked, strict=options.strict)}
    if options.markdown is not None:
        paths = [path.resolve() for path in (options.against, options.study) if path is not None]
        studies = {name: load(path) for name, path in zip(tails(paths), paths, strict=True)}
        files[options.markdown] = to_markdown(checked, strict=options.strict, head=head(studies))
    return files


def _proposed(file: Path) -> "Output":
    from embedshift.study.result import Output

    rules = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("  - ")]
    return Output({}, [f"Written: {file}", "About as many images as stand behind a rule decide it:", *rules])
