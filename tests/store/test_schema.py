"""What another version of embedshift wrote is refused with one line, wherever it is met."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.store.info import SCHEMA_VERSION, read_info, write_content
from embedshift.store.shards import METADATA_KEY, read_record
from support import studies
from support.models import Colours


@pytest.fixture
def study(tmp_path):
    return studies.copied(studies.synthetic(4, ["noise"], layers=2), tmp_path / "study")


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


@pytest.mark.slow
@pytest.mark.parametrize("version", [99, None])
def test_a_study_of_another_version_is_refused_by_whoever_reads_it(version, study, cli):
    folder = of_version(study.folder, version)
    known = f"written with schema {version}, this embedshift reads {SCHEMA_VERSION}"
    words = f"{folder}: {known}: run the study again into another folder"
    for use in (
        lambda: embedshift.load(folder),
        lambda: embedshift.compare([studies.synthetic(4, ["noise"]).folder, folder]),
        lambda: embedshift.run(studies.pictures(2), out=folder, model=Colours(), workers=0),
    ):
        with pytest.raises(embedshift.EmbedshiftError) as caught:
            use()
        assert words in str(caught.value)
    refused = cli("report", folder)
    assert (refused.code, refused.line) == (2, f"error: {words}")


def test_study_json_comes_back_as_it_was_written(study, tmp_path):
    """Field by field, against the file's own JSON."""
    info, written = read_info(study.folder), json.loads((study.folder / "study.json").read_text())
    info.write(tmp_path)
    absent = {"embedding": None, "embedding_definition": None, "title": None, "kernels": None}
    again = json.loads((tmp_path / "study.json").read_text())
    assert again == written | {"encoder": written["encoder"] | absent, "variants": {}}
    assert info.seed == 0
    assert info.encoder.grid == (4, 4)


def test_a_shard_from_before_there_were_checksums_says_its_version(study):
    folder = of_version(study.folder, 3)
    with pytest.raises(embedshift.EmbedshiftError, match="written with schema 3, this embedshift reads"):
        read_record(folder / "shards" / "part-00000.parquet")
