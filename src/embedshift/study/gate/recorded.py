"""Keeps the rules that a report shows, and what they decided, in the study; paths lose their folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.config.safe_files import YAML_BYTES, read_file
from embedshift.store.groups import Choice
from embedshift.store.info import RulesRecord, read_info
from embedshift.study.gate.check import check
from embedshift.study.gate.result import OUTCOMES, Checked, named, what_decides
from embedshift.study.study import Study, as_study

Rules = str | Path | Sequence[Mapping[str, Any]]


def record_rules(
    study: Study | str | Path, rules: Rules, against: Study | str | Path | None = None, groups: Choice | None = None
) -> Checked:
    """Checks a study, as `embedshift.check` does, and keeps the rules and the verdict, which its report shows first.

    Args:
        study: A finished study, or its folder; its tables are made again.
        rules: A YAML file, or a list of rules as dicts.
        against: A reference study, or its folder.
        groups: Which images are not independent; None = as they are.

    Returns:
        The results.

    Raises:
        UsageError: As of `embedshift.check`.
    """
    study = as_study(study)
    study.regroup(groups)
    study.write_tables()
    checked = check(study, rules, against, groups=groups)
    text = json.dumps(rules, indent=1) if not isinstance(rules, str | Path) else read_file(rules, YAML_BYTES).decode()
    info = read_info(study.folder)
    undecided = [f"undecided: {what_decides(checked)}"] if checked.of("undecided") else []
    record = RulesRecord(
        text=study.reader().naming.text(text),
        counts={outcome: count for outcome in OUTCOMES if (count := len(checked.of(outcome)))},
        named=(*named(checked.of("broken")), *undecided),
        rows=info.rows,
        groups=info.groups_digest,
    )
    info.model_copy(update={"rules": record}).write(study.folder)
    return checked
