"""A part of an index that another package brings: one folder of two files, found by its entry point."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import embedshift

pytestmark = pytest.mark.slow

DECLARED = """
from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("halved", Question(__name__, "Do half of the numbers do?", order=90, is_asked=lambda _: False))
"""
PART = """
from embedshift.statistics.index_parts import MAP, PARTS, Part
from embedshift.statistics.vectors import normalised_float32


def every_second(arrays, vectors):
    return normalised_float32(vectors[:, ::2].repeat(2, axis=1))


PARTS.add("halved", Part(MAP, "halved", encode=every_second))
"""


def test_a_folder_adds_a_part_that_finds_what_a_loop_finds(tmp_path):
    folder = tmp_path / "site" / "embedshift_halved"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(DECLARED)
    (folder / "index_parts.py").write_text(PART)
    about = folder.parent / "embedshift_halved-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: embedshift-halved\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[embedshift.questions]\nhalved = embedshift_halved\n")
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, 12))
    views = {"crop": originals + 1.2 * rng.normal(size=originals.shape)}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
    path = os.pathsep.join([str(Path(embedshift.__file__).parents[1]), str(folder.parent)])
    code = "from embedshift.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "index", study.folder, "halved", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [row for row in json.loads(done.stdout)["index"] if row["index"] == "halved" and row["metric"] == "recall@1"]
    order = [study.reader().ordered_ids().index(str(place)) for place in range(40)]
    base, asked = (
        each[:, ::2] / np.linalg.norm(each[:, ::2], axis=1, keepdims=True) for each in (originals, views["crop"])
    )
    wanted = []
    for place in range(40):
        fold = [other for other in range(40) if order[other] % 5 == order[place] % 5]
        scores = {other: asked[place] @ base[other] for other in fold}
        wanted.append(max(scores, key=scores.__getitem__) == place)
    assert rows[0]["value"] == pytest.approx(np.mean(wanted), abs=1e-9)
    assert 0 < np.mean(wanted) < 1
