"""A section for the model card of an encoder: what was measured, the numbers, their limits, and how to repeat it."""

import datetime
import functools
import shlex

import jinja2
from markupsafe import Markup

from embedshift.errors import UsageError
from embedshift.report.next_steps import command_of
from embedshift.report.page import templates
from embedshift.statistics.summary import COSINE
from embedshift.store.info import FILE
from embedshift.store.reader import Reader
from embedshift.study.shown import escaped, printable

_CITATION = """@software{embedshift,
  title   = {embedshift},
  author  = {{The embedshift contributors}},
  version = {%s}
}

@inproceedings{dahal2025embedding,
  title     = {Embedding Shift Dissection on {CLIP}: Effects of Augmentations on {VLM}'s Representation Learning},
  author    = {Dahal, Ashim and Murad, Saydul Akbar and Rahimi, Nick},
  booktitle = {Proceedings of the Computer Vision and Pattern Recognition Conference (CVPR) Workshops},
  pages     = {4814--4818},
  year      = {2025},
  note      = {arXiv:2503.23495}
}"""


def card(reader: Reader) -> str:
    if not reader.is_complete():
        raise reader.unfinished()
    summary = reader.table("summary")
    if summary is None:
        raise UsageError(f"{reader.folder}: has no table `summary`; make the report again")
    info, rows = reader.info, summary.filter(metric=COSINE).sort("relative_shift", descending=True, nulls_last=True)
    search = reader.table("search")
    found = [] if search is None else search.filter(metric="recall@1").drop_nulls("value").to_dicts()
    return _template().render(
        info=info,
        encoder=reader.naming.setting(info.encoder.name),
        weights="".join(letter for letter in info.encoder.weights_hash if letter.isalnum())[:64],
        day=datetime.datetime.fromtimestamp((reader.folder / FILE).stat().st_mtime, datetime.UTC).date(),
        rows=rows.to_dicts(),
        recall={row["augmentation"]: row for row in found},
        baseline=next(iter(rows["baseline"].drop_nulls()), None),
        lacks_scale=rows["relative_shift"].has_nulls(),
        command=fenced(_command(reader), "sh"),
        citation=fenced(_CITATION % printable(info.embedshift), "bibtex"),
    )


@functools.cache
def _template() -> jinja2.Template:
    """Returns the template of the section, which escapes all values but `Markup`, as Markdown."""
    environment = templates().overlay(
        loader=jinja2.PackageLoader("embedshift.study", "template"),
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(str(value))),
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2")


def _command(reader: Reader) -> str:
    return " ".join(printable(shlex.quote(word)) for word in command_of(reader, "study", named=False))


def fenced(text: str, language: str) -> Markup:
    """Returns a block of code whose fence is longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return Markup(f"{fence}{language}\n{text}\n{fence}")
