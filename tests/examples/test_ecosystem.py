"""docs/ecosystem.md: its code blocks run one after the other on a study, but for that which says why not."""

import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from support.synthetic import make_study

PAGE = (Path(__file__).parents[2] / "docs" / "ecosystem.md").read_text()
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(python|sh)\n(.*?)```", re.DOTALL)


def blocks(language):
    return [code for without, kind, code in BLOCK.findall(PAGE) if kind == language and not without]


@pytest.fixture
def here(tmp_path, monkeypatch):
    make_study(tmp_path / "study", 8, with_pictures=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_block_of_python_runs(here):
    names = {}
    with plt.style.context("default"):
        for code in blocks("python"):
            exec(compile(code, "ecosystem.md", "exec"), names)
        plt.close("all")
    assert len(names["frame"]) == 80
    assert names["noisy"].num_rows == 8
    assert (here / "rows" / "dataset_info.json").is_file()
    assert names["text"].startswith("## How far")
    assert (here / "dendrogram.pdf").stat().st_size > 1000


@pytest.mark.slow
def test_every_command_runs(here, cli):
    lines = [line for code in blocks("sh") for line in code.splitlines()]
    done = [cli(*shlex.split(line)[1:]) for line in lines]
    assert [each.code for each in done] == [0, 0]
    assert done[0].out == (here / "section.md").read_text()


def test_one_block_alone_is_not_run():
    assert sum(bool(without) for without, _, _ in BLOCK.findall(PAGE)) == 1
    assert len(blocks("python")) == 5
