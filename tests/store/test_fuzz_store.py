"""study.json and shards with anything in them: the rows that were measured, or one line; never another exception."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift.errors import EmbedshiftError
from embedshift.store.listing import verify
from embedshift.store.shards import shard_path
from embedshift.store.tables import make_tables
from embedshift.study import Study, load
from support import fuzz
from support.synthetic import make_study

pytestmark = pytest.mark.slow

NAMES = ["noise", "blur"]
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["folder", "tar", "url", "../..", "/etc", "squash", "all", "metrics", 0, -1, 2, 64, 1e999, [], {}]),
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=6), each, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study, its rows, and its tables in bytes."""
    study = make_study(tmp_path_factory.mktemp("made") / "study", 6, NAMES, shard_size=4, with_pictures=True)
    return study, study.rows().collect()


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """A copy that each example may change; it is made whole again before."""
    return Study(shutil.copytree(made[0].folder, tmp_path_factory.mktemp("fuzzed") / "study"))


def places(content: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value of a JSON."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, value in inner for found in [(*way, key), *places(value, (*way, key))]]


def changed(content: Any, way: tuple[Any, ...], value: Any, gone: bool) -> Any:
    content = json.loads(json.dumps(content))
    inner = content
    for key in way[:-1]:
        inner = inner[key]
    if gone:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return content


def use(study: Study, rows: Any) -> None:
    """Everything that reads: the rows that were measured, or one line."""
    for read in (
        lambda: study.rows().collect(),
        lambda: study.failures(),
        lambda: study.reader().records,
        lambda: make_tables(study.reader(), ["pairwise", "clusters", "geometry"]),
        lambda: study.summary(),
        lambda: study.reader().unseen,
        lambda: study.reader().naming.places(list(study.reader().info.config["images"])),
    ):
        found = or_line(read)
        if getattr(found, "columns", None) == rows.columns:
            assert found.equals(rows, null_equal=True)
    verify(study.folder)


def or_line(read: Any) -> Any:
    """What it gives, or its line."""
    try:
        return read()
    except EmbedshiftError as error:
        return str(error)


def again(made: Any, study: Study) -> None:
    for name in ("study.json", "shards", "tables", "failures.parquet"):
        path, origin = study.folder / name, made[0].folder / name
        if origin.is_dir():
            shutil.rmtree(path)
            shutil.copytree(origin, path)
        else:
            shutil.copy(origin, path)


@pytest.mark.matrix
@fuzz.settings
@given(st.data())
def test_any_other_value_in_study_json(made, study, data):
    """As a damaged byte or an editor leaves it: no checksum is made anew."""
    again(made, study)
    content = study.info()
    way = data.draw(st.sampled_from(places(content)))
    other = changed(content, way, data.draw(VALUES), data.draw(st.booleans()))
    (study.folder / "study.json").write_text(json.dumps(other))
    if json.dumps(other, sort_keys=True) != json.dumps(content, sort_keys=True):
        with pytest.raises(EmbedshiftError):
            load(study.folder)
    use(study, made[1])


@pytest.mark.matrix
@fuzz.settings
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_any_bytes_in_the_place_of_study_json(made, study, content):
    again(made, study)
    (study.folder / "study.json").write_bytes(content)
    use(study, made[1])


def damaged(content: bytes, flips: list[tuple[float, int]], cut: float | None, put: bytes) -> bytes:
    found = bytearray(content)
    for place, bit in flips:
        found[int(place * (len(found) - 1))] ^= 1 << bit
    if cut is not None:
        found = found[: int(cut * len(found))]
    return bytes(found) + put


FRACTIONS = st.floats(0, 1)


@fuzz.settings
@given(
    st.integers(0, 1),
    st.lists(st.tuples(FRACTIONS, st.integers(0, 7)), max_size=3),
    st.none() | FRACTIONS,
    st.binary(max_size=12),
)
def test_any_damage_of_a_shard(made, study, index, flips, cut, put):
    again(made, study)
    path: Path = shard_path(study.folder, index)
    before = path.read_bytes()
    after = damaged(before, flips, cut, put)
    path.write_bytes(after)
    if after == before:
        assert study.rows().collect().equals(made[1], null_equal=True)
        return
    with pytest.raises(EmbedshiftError, match="damaged"):
        study.rows()
    assert [each.name for each in verify(study.folder).damaged] == [f"shards/{path.name}"]
    use(study, made[1])


@pytest.mark.matrix
@fuzz.settings
@given(st.sampled_from(["summary", "ranking", "search", "clusters"]), FRACTIONS, st.binary(max_size=12))
def test_any_cut_of_a_table(made, study, name, cut, put):
    again(made, study)
    path = study.folder / "tables" / f"{name}.parquet"
    path.write_bytes(damaged(path.read_bytes(), [], cut, put))
    found = or_line(lambda: study.table(name))
    assert not isinstance(found, str) or path.name in found
    verify(study.folder)
