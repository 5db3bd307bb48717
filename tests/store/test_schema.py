"""What another version of embedshift wrote is refused with one line, wherever it is met."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.store.files import with_checksum
from embedshift.store.info import SCHEMA_VERSION, read_info, write_content
from embedshift.store.shards import METADATA_KEY, read_record
from support import command
from support.models import Colours, pictures
from support.revised import revise_shard
from support.synthetic import make_study


def of_version(folder: Path, version: object) -> Path:
    """The study in a folder, as if another version had written it."""
    content = json.loads((folder / "study.json").read_text())
    write_content(folder, content | {"schema_version": version})
    for path in (folder / "shards").iterdir():
        table = pq.read_table(path)
        said = json.loads(table.schema.metadata[METADATA_KEY]) | {"schema_version": version}
        said = {name: value for name, value in said.items() if name != "checksum"}
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(said)}), path)
    return folder


def line(folder: Path, version: object) -> str:
    known = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    return f"{folder}: {known}: run the study again into another folder"


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 99, None])
def test_a_study_of_another_version_is_refused_by_whoever_reads_it(version, tmp_path, monkeypatch, capsys):
    folder = of_version(make_study(tmp_path / "study", 4, ["noise"]).folder, version)
    other = make_study(tmp_path / "other", 4, ["noise"]).folder
    for use in (
        lambda: embedshift.load(folder),
        lambda: embedshift.compare([other, folder]),
        lambda: embedshift.run(pictures(tmp_path / "photos", 2), out=folder, model=Colours(), workers=0),
    ):
        with pytest.raises(embedshift.EmbedshiftError) as caught:
            use()
        assert str(caught.value).endswith(line(folder, version).split(": ", 1)[1])
        assert str(folder) in str(caught.value)
    refused = command.call(monkeypatch, capsys, "report", folder)
    assert refused.code == 2
    assert refused.line == f"error: {line(folder, version)}"


def test_a_study_file_that_is_not_whole_is_one_line(tmp_path):
    folder = make_study(tmp_path / "study", 4, ["noise"]).folder
    content = json.loads((folder / "study.json").read_text())
    for gone in ("encoder", "counts", "augmentations", "identity"):
        write_content(folder, {key: value for key, value in content.items() if key != gone})
        with pytest.raises(embedshift.EmbedshiftError, match=r"its study\.json is incomplete or damaged") as caught:
            embedshift.load(folder)
        assert caught.value.exit_code == 2


def test_study_json_comes_back_as_it_was_written(tmp_path):
    """Field by field, against the file's own JSON."""
    folder = make_study(tmp_path / "study", 4, ["noise"], layers=2).folder
    info = read_info(folder)
    info.write(tmp_path)
    assert json.loads((tmp_path / "study.json").read_text()) == json.loads((folder / "study.json").read_text()) | {
        "encoder": json.loads((folder / "study.json").read_text())["encoder"]
        | {"embedding": None, "embedding_definition": None, "title": None, "kernels": None},
        "variants": {},
    }
    assert info.seed == 0
    assert info.encoder.grid == (4, 4)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"schema_version": 99}, "written with schema 99, this embedshift reads"),
        ({"images": None}, "damaged (KeyError: 'failures')"),
        ({"nobody": 1}, "unexpected keyword argument 'nobody'"),
    ],
)
def test_a_shard_that_says_something_else_under_a_checksum_of_its_own_is_refused(said, words, tmp_path, monkeypatch):
    folder = make_study(tmp_path / "study", 3, with_tables=False).folder

    def other(content: dict[str, object]) -> dict[str, object]:
        changed = {key: value for key, value in (content | said).items() if key != "failures" or "images" not in said}
        return with_checksum(changed)

    monkeypatch.setattr("embedshift.store.shards.with_checksum", other)
    revise_shard(folder, 0, lambda rows: rows)
    monkeypatch.undo()
    with pytest.raises(embedshift.EmbedshiftError) as caught:
        embedshift.load(folder).rows()
    assert str(caught.value).startswith(str(folder / "shards" / "part-00000.parquet"))
    assert words in str(caught.value)


def test_a_shard_from_before_there_were_checksums_says_its_version(tmp_path):
    folder = of_version(make_study(tmp_path / "study", 3, with_tables=False).folder, 3)
    with pytest.raises(embedshift.EmbedshiftError, match="written with schema 3, this embedshift reads"):
        read_record(folder / "shards" / "part-00000.parquet")
