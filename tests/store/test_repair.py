"""`repair` measures damaged shards again, and touches nothing else."""

import json
import random
import shutil

import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.store.files import with_checksum
from embedshift.store.shards import shard_path
from support import ASKED, studies
from support.matrix import first_only
from support.models import Colours

pytestmark = pytest.mark.slow

IMAGES, SHARD = 6, 2


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(IMAGES)


def run(photos, out, encoder=None, **settings):
    given = {"families": ["noise", "blur"], "shard_size": SHARD, "workers": 0} | settings
    return embedshift.run(photos, out=out, model=encoder or Colours(), **given)


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("whole") / "study")


@pytest.fixture
def out(whole, tmp_path):
    return shutil.copytree(whole.folder, tmp_path / "study")


def states(out):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (out / "shards").iterdir()}


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[random.Random(0).randrange(len(content))] ^= 1
    path.write_bytes({"flipped": content, "cut": content[:-900], "empty": b"", "swapped": b"PAR1" + content}[how])


@pytest.mark.parametrize("how", first_only(["flipped", "cut", "empty", "swapped"]))
def test_damaged_shards_are_measured_again_and_nothing_else(how, photos, whole, out, caplog):
    damage(shard_path(out, 1), how)
    before = states(out)
    with pytest.raises(EmbedshiftError, match=r"part-00001\.parquet: damaged .* run the study again with `repair`"):
        run(photos, out)
    assert states(out) == before
    encoder = Colours()
    study = run(photos, out, encoder, repair=True)
    assert f"{shard_path(out, 1)}: damaged" in caplog.text
    assert sum(map(len, encoder.batches[ASKED:])) == SHARD * (1 + len(study.augmentations))
    after = states(out)
    assert {name for name in before if before[name] != after[name]} == {"part-00001.parquet"}
    for path in sorted((whole.folder / "tables").iterdir()):
        assert (out / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    assert study.rows().collect().equals(whole.rows().collect(), null_equal=True)


def test_repair_of_a_whole_study_does_nothing(photos, out):
    before, encoder = states(out), Colours()
    run(photos, out, encoder, repair=True)
    assert states(out) == before
    assert encoder.batches[ASKED:] == []


def test_repair_deletes_no_file_of_others(photos, out):
    foreign = out / "shards" / "part-1.parquet"
    foreign.write_bytes(b"somebody's")
    damage(shard_path(out, 1), "cut")
    before = states(out)
    with pytest.raises(EmbedshiftError, match=r"part-1.parquet: not part of this study"):
        run(photos, out, repair=True)
    assert states(out) == before
    foreign.unlink()
    with pytest.raises(EmbedshiftError, match="contains another study: seed: 0 there, 1 now"):
        run(photos, out, repair=True, seed=1)
    assert shard_path(out, 1).exists()


def test_a_shard_of_another_version_is_not_damage(photos, out):
    import pyarrow.parquet as pq

    path = shard_path(out, 0)
    table = pq.read_table(path)
    said = json.dumps(with_checksum(json.loads(table.schema.metadata[b"embedshift"]) | {"schema_version": 3}))
    pq.write_table(table.replace_schema_metadata({b"embedshift": said}), path)
    (out / "study.json").unlink()
    with pytest.raises(EmbedshiftError, match=r"written with schema 3, this embedshift reads 8"):
        run(photos, out, repair=True)
    assert path.exists()
