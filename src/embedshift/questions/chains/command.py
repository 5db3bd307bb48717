"""The command `embedshift dissect`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import ColumnNames, GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions, ColumnNames):
    """Options of `dissect`."""

    study: Path = argument("A finished study: its changes are the candidates.", "STUDY")
    pairs: Path | None = argument(
        "A study of originals and copies, or a Parquet or npy file of their vectors.", "PAIRS", optional=True
    )
    predict: tuple[str, ...] = setting((), "Predict a chain that was not measured: two changes or more, with commas.")
    out: Path | None = setting(None, "Folder for the page, the table and the figure.", output=True)


def command(options: Options) -> "Output":
    """Names the changes that made copies, or predicts a chain of changes."""
    from embedshift.errors import UsageError
    from embedshift.questions.chains.result import dissect, predict
    from embedshift.study import load
    from embedshift.study.result import Output, Result

    study = load(options.study).with_groups(options.groups)
    if (options.pairs is None) == (not options.predict):
        raise UsageError("give PAIRS, or with --predict the changes of a chain")
    found: Result
    if options.pairs is None:
        found = predict(study, options.predict)
    else:
        found = dissect(study, options.pairs, columns=options.columns)
    answer = found.answer([] if options.out is None else found.save(options.out)[-1:])
    hint = "Every row: `--json`. How to read it: `embedshift docs chains`."
    return Output(answer.content, [*answer.parts, hint], answer.exit_code)
