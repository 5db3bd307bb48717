"""Tables by the tasks of a real Ray of two workers: the bits are those of this process."""

import functools
import os
import shutil
import sys

import numpy as np
import pytest
import ray

from embedshift import EmbedshiftError
from embedshift.engines import cluster
from embedshift.engines.cluster import cluster_map
from embedshift.statistics import chunks, sample
from embedshift.statistics.layout import BLOCK
from embedshift.store.groups import Groups, write_groups
from embedshift.store.info import read_info
from embedshift.store.reader import Reader
from embedshift.store.shards import shard_path
from embedshift.store.tables import make_tables
from support.revised import revise_shard, say_metrics
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

IMAGES = 2_500


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    """One Ray for all tests of this file: a start takes seconds."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module", autouse=True)
def small_groups():
    """Five groups; this process alone cuts them, so that workers need not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", BLOCK)
        patch.setattr(sample, "IN_MEMORY", BLOCK - 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study whose shards are no groups; of one without vectors no table is of single images."""
    names = ["noise", "blur", "perspective"]
    place = tmp_path_factory.mktemp("made") / "study"
    study = make_study(place, IMAGES, names, shard_size=300, looks=True, layers=2, with_tables=False)
    say_metrics(study)
    return study.folder


@pytest.fixture(scope="module")
def local(folder):
    return make_tables(Reader(folder))


def by_cluster(folder):
    """The tables, and the process ids of those who computed a partial."""
    by = set()
    with cluster_map() as over:

        def noted(function, items):
            for process, found in over(functools.partial(with_process, function), items):
                by.add(process)
                yield found

        return make_tables(Reader(folder, ordered_map=noted)), by


def with_process(function, item):
    return os.getpid(), function(item)


def assert_same(first, second):
    assert list(first) == list(second)
    for name, table in first.items():
        assert table.equals(second[name], null_equal=True), name


def test_every_bit_is_that_of_one_process(folder, local):
    made, by = by_cluster(folder)
    assert by, "no partial was asked for"
    assert os.getpid() not in by
    assert_same(made, local)


@pytest.mark.parametrize("count", [300, 800])  # groups in memory, and more
def test_every_bit_of_tables_of_groups_is_that_of_one_process(folder, local, tmp_path, count):
    grouped = tmp_path / "grouped"
    shutil.copytree(folder, grouped)
    names = [str(name) for name in np.random.default_rng(0).integers(0, count, IMAGES)]
    groups, info = Groups("mapping", Reader(folder).ordered_ids(), names), read_info(grouped)
    files = {**info.files, **write_groups(grouped, groups)}
    info.model_copy(update={"groups": groups.record, "files": files}).write(grouped)
    made, by = by_cluster(grouped)
    assert by
    assert os.getpid() not in by
    assert_same(made, make_tables(Reader(grouped)))
    assert made["summary"]["groups"].max() == len(set(names))
    assert not made["summary"]["ci_low"].equals(local["summary"]["ci_low"])


def test_a_worker_that_cannot_read_the_shards_leaves_them_to_the_driver(folder, local, monkeypatch, caplog):
    monkeypatch.chdir(folder.parent)  # where workers are not, who were started before
    made, by = by_cluster(folder.relative_to(folder.parent))
    assert by == {os.getpid()}
    assert caplog.text.count("cannot make tables (study/shards/part-00000.parquet: cannot be read") == 1
    assert_same(made, local)


def test_other_shards_under_the_same_path_are_no_shards_of_the_study(tmp_path):
    study = make_study(tmp_path / "study", 20, ["noise"], shard_size=10, with_tables=False)
    chunk = Reader(study.folder).chunks.items[0]
    revise_shard(study.folder, 1, lambda rows: rows, written=1.0)
    found, problem = cluster._try(lambda item: item.rows(), chunk)
    assert found is None
    assert problem.startswith(f"{shard_path(study.folder, 1)}: the shard changed while the tables were being made")


def test_what_this_process_cannot_do_either_is_said_as_without_a_cluster(folder):
    with cluster_map() as over, pytest.raises(EmbedshiftError, match="not here either"):
        list(over(refuse, [1, 2]))


def refuse(_item):
    raise EmbedshiftError("not here either")
