"""The command line: what it prints where, its exit codes, its lists, its estimate."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from transformers import Dinov2Config, Dinov2Model

import embedshift
from embedshift.augmentations import SUITES
from embedshift.augmentations.paper import PAPER
from embedshift.cli.estimate import _size
from embedshift.encoders import ENCODERS
from embedshift.encoders.families import ENCODER_FAMILIES
from embedshift.figures import FIGURES
from embedshift.registry import METRICS, questions
from support import models, studies
from support.matrix import first_only
from support.models import pictures


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = pictures(tmp_path_factory.mktemp("photos"), 5)
    (folder / "notes.md").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def clip():
    return str(studies.checkpoint("clip"))


@pytest.mark.slow
def test_summary_on_stdout_progress_on_stderr(cli, photos, clip, tmp_path):
    out = tmp_path / "study"
    done = cli("run", photos, "--out", out, "--model", clip, "--no-report")
    assert done.code == 0
    assert "clip (float32), 5 images; what a search misses, and means" in done.out
    study = embedshift.load(out)
    lines = done.out.splitlines()
    assert [line for line in lines if line.startswith("  other images")]
    for row in study.ranking().iter_rows(named=True):
        (line,) = [line for line in lines if line.split()[:1] == [row["augmentation"]]]
        assert f"{row['mean_performance']:.3f}" in line
        rows = study.summary().filter(augmentation=row["augmentation"])
        shift = rows.filter(metric="cosine_similarity")["relative_shift"][0]
        assert line.split()[2:7] == ["of", "5", "–", f"{shift:.3f}", "–"], "five images have no interval"
        assert all(f"{mean:.3f}" in line for mean in rows["mean"])
    assert "5 of 5 images measured" in done.out
    assert "relative shift: 0 = unchanged, 1 = as far as another image." in lines
    assert f"Metrics: `embedshift list metrics`. All numbers: {out / 'tables'}" in lines
    written = [f"  {out / name}" for name in ("study.json", "shards", "failures.parquet", "tables")]
    assert lines[-5:] == ["Written:", *written]
    assert "{'.md': 1}" in done.err
    assert f"images: 5, views: 10 per image; loading the encoder {clip}" in done.err
    assert "measuring; the rate and the time left are shown every 10 s" in done.err
    assert "measured" not in done.err
    again = cli("run", photos, "--out", out, "--model", clip, "--no-report", "--describe")
    assert re.search(r"^noise +Gaussian noise, sd \.44 to \.88 of the range; .* is \.38$", again.out, re.MULTILINE)


@pytest.mark.slow
def test_json_is_one_object_and_quiet_is_quiet(cli, photos, clip, tmp_path):
    out = tmp_path / "study"
    done = cli("run", photos, "--out", out, "--model", clip, "--json", "--quiet", "--no-report")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    found = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    study = embedshift.load(out)
    assert found["counts"] == study.info()["counts"]
    assert found["config_hash"] == study.info()["config_hash"]
    for table in ("summary", "ranking", "pairwise", "clusters"):
        assert found[table] == getattr(study, table)().to_dicts()


@pytest.mark.slow
def test_config_file_and_flags_that_win(cli, photos, clip, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"images": str(photos), "model": clip, "seed": 3, "limit": 4, "draws": 2}))
    out = tmp_path / "study"
    assert cli("run", "--config", file, "--out", out, "--limit", 2, "--seed", 0, "--no-report").code == 0
    info = embedshift.load(out).info()
    assert {k: info["config"][k] for k in ("images", "seed", "limit", "draws")} == {
        "images": [str(photos)], "seed": 0, "limit": 2, "draws": 2
    }  # fmt: skip
    assert info["counts"]["rows"] == 2 * 19


# The text of a file of settings, None = no file → a part of the line that refuses it.
FILES = {
    "sede: 3\n": "sede",
    "seed: many\n": "seed",
    "- seed\n": "'name: value'",
    "seed: [3\n": "not YAML",
    None: "No such file",
}


@pytest.mark.parametrize("content", FILES)
def test_config_files_that_are_wrong(content, cli, photos, tmp_path):
    file = tmp_path / "study.yaml"
    if content is not None:
        file.write_text(content)
    done = cli("run", photos, "--config", file, "--out", tmp_path / "study")
    assert (done.code, FILES[content] in done.line) == (2, True), done.err
    assert not (tmp_path / "study").exists()


RUN = "run photos --out study --model MODEL"
# What is typed → a part of the line that refuses it.
WRONG = {
    f"{RUN} --draws 0": "draws",
    f"{RUN} --seed -1": "seed",
    f"{RUN} --workers -1": "workers",
    f"{RUN} --batch-size 0": "--batch-size",
    f"{RUN} --shard-size 0": "--shard-size",
    f"{RUN} --limit 0": "limit",
    f"{RUN} --precision float8": "precision",
    f"{RUN} --resize stretch": "resize",
    f"{RUN} --engine slurm": "engine",
    f"{RUN} --size 20": "size 20 is not a multiple of its patch of 8 pixels; choose another --size",
    f"{RUN} --device gpu": "device 'gpu' cannot be used here",
    f"{RUN} --device cuda:99": "device 'cuda:99' cannot be used here",
    f"{RUN} --device meta": "device 'meta'",
    f"{RUN} --augmentations papr": "did you mean 'paper'?",
    f"{RUN} --augmentations jpeg,rotation": "use --augmentations strength with --families jpeg,rotation",
    f"{RUN} --augmentations gaussian_noise": "use --augmentations corruptions with --families gaussian_noise",
    f"{RUN} --metrics cosin_similarity": "did you mean 'cosine_similarity'?",
    "run photos --out study --model dinov2-smal-offline": "did you mean 'dinov2-small-offline'?",
    "run photos --out study --model ./nowhere": "./nowhere: no such folder",
    # Names that rich would draw stay as they are.
    "run photos --out study --model 'python:a[red]b:up:mean9'": "python:a[red]b:up:mean9: cannot be imported",
    f"{RUN} --groups ~nouser/x": "~nouser/x: neither folder",
    "run photos --out ''": "--out is empty",
    "demo --out ''": "--out is empty",
    "compare a b --out ''": "--out is empty",
    "run photos --out s3://bucket/x": "--out s3://bucket/x is an address: give a path of this machine",
    "views photos --out gs://bucket/x": "--out gs://bucket/x is an address",
    "run '' --out study": "the path of an image is empty",
    "run photos '' --out study": "the path of an image is empty",
}
USAGE = {
    "run": "no images given",
    "run .": "--out DIR",
    "list everything": "encoders, augmentations, metrics",
    "run --no-such-option": "--no-such-option",
    "run . --out x --seed many": "--seed",
    "measure": "measure",
}


@pytest.mark.slow
def test_what_is_mistyped_is_one_line_and_nothing_is_written(cli, photos, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, tmp_path / "photos")
    for line, words in WRONG.items():
        done = cli(*shlex.split(line.replace("MODEL", clip)))
        assert (done.code, words in done.line) == (2, True), (line, done.err)
        if "smal-" in line or "nowhere" in line:
            assert done.err == f"{done.line}\n", "a wrong name is refused before anything is said of the run"
    for line, words in USAGE.items():
        done = cli(*shlex.split(line))
        assert (done.code, done.out, words in done.err, "Traceback" in done.err) == (2, "", True, False), (
            line,
            done.err,
        )
    # What only the loaded encoder can refuse has locked the folder.
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("study/**/*")}
    assert found <= {"study/.lock", "study/shards"}
    assert {path.name for path in tmp_path.iterdir()} <= {"photos", "study"}


JPEG = ["--augmentations", "strength", "--families", "jpeg", "--levels", 91]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "views", "settings"),
    first_only([(6, 92, [*JPEG, "--shard-size", 2]), (60, 28, ["--draws", 3]), (60, 10, ["--store", "metrics"])]),
)
def test_dry_run_writes_nothing_and_is_near(images, views, settings, cli, clip, tmp_path, monkeypatch):
    """Bytes within a fifth of what the run then writes."""
    monkeypatch.chdir(tmp_path)
    photos = pictures(tmp_path / "photos", images)
    model = Dinov2Model(Dinov2Config(**(models.TOWER | {"hidden_size": 192})))
    models.widen(model, std=0.1)
    encoder = models.save(model, tmp_path / "dinov2")
    before = sorted(tmp_path.rglob("*"))
    arguments = ["run", photos, "--model", encoder, "--out", tmp_path / "study", "--workers", 0, *settings]
    dry = cli(*arguments, "--dry-run")
    assert dry.code == 0
    assert sorted(tmp_path.rglob("*")) == before
    shards = "3 shards" if "--shard-size" in settings else "1 shard"
    lines = dry.out.splitlines()
    assert lines[:2] == [f"images: {images}", f"views: {views} per image, {images * views:,} in total, in {shards}"]
    found = re.fullmatch(r"disk space: about ([\d.]+) MB for shards, plus tables and figures", lines[2])
    assert re.fullmatch(r"time: about \d+ s \([\d.]+ s to encode an image, [\d.]+ s to draw its views\)", lines[3])
    done = cli(*arguments, "--no-report")
    assert (done.code, f"images: {images}, views: {views} per image;" in done.err) == (0, True)
    written = sum(p.stat().st_size for p in (tmp_path / "study" / "shards").iterdir())
    assert float(found[1]) * 1e6 == pytest.approx(written, rel=0.2)


def test_dry_run_without_a_picture_that_can_be_read(cli, clip, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    done = cli("run", tmp_path, "--model", clip, "--dry-run")
    assert (done.code, "time: unknown" in done.out) == (0, True)
    assert [_size(size) for size in (45_300_000, 2_345_000_000, 300_000)] == ["45 MB", "2.3 GB", "0.30 MB"]


def names(done):
    assert (done.code, done.err) == (0, "")
    return [line.split()[0] for line in done.out.splitlines()]


@pytest.mark.slow
def test_lists_are_the_registries(cli, monkeypatch):
    monkeypatch.setitem(ENCODERS._entries, "ours", lambda **settings: None)  # without a title
    kinds = cli("list", "").line.partition(": choose one of ")[2].split(", ")
    lists = {kind: cli("list", kind) for kind in kinds}
    assert names(lists["metrics"]) == list(METRICS)
    assert sorted(names(lists["figures"])) == sorted(FIGURES)
    encoders, augmentations = lists["encoders"], lists["augmentations"]
    assert set(ENCODERS) <= set(names(encoders))
    assert all(model_type in encoders.out for family in ENCODER_FAMILIES for model_type in family.model_types)
    assert set(names(augmentations)) >= set(SUITES)
    assert all(f"  {name} " in augmentations.out for name in PAPER)
    assert re.search(r"^  noise +Gaussian noise, sd \.44 to \.88 of the range", augmentations.out, re.MULTILINE)
    assert re.search(r"^  jpeg +Writes the image .* \(quality: 80, 50, 25, 10, 5\)$", augmentations.out, re.MULTILINE)
    assert re.search(r"^  mirror +Mirrored left to right$", augmentations.out, re.MULTILINE)
    assert names(lists["questions"]) == [question.name for question in questions()]
    # The library speaks of settings, a person at a terminal types flags.
    assert not any("`" in done.out for done in lists.values())
    assert "or --embedding latents" in encoders.out


def test_version_help_and_no_command(cli):
    assert cli("--version").out == f"{embedshift.__version__}\n"
    for arguments in (["--help"], ["-h"], []):
        done = cli(*arguments)
        assert all(name in done.out + done.err for name in ("run", "demo", "list"))
    text = cli("run", "--help").out
    options = "out model augmentations metrics limit sample seed draws size resize shard-size batch-size workers"
    for option in [*options.split(), "precision", "device", "engine", "config", "dry-run", "quiet", "json"]:
        assert f"--{option}" in text


def test_the_first_panel_of_run_is_what_people_need_and_rare_options_come_last(cli):
    panels = re.split(r"^╭─ (.+?) ─+╮$", cli("run", "--help").out, flags=re.MULTILINE)
    options = {
        name: re.findall(r"^│ (--[\w-]+)", text, re.MULTILINE)
        for name, text in zip(panels[1::2], panels[2::2], strict=True)
    }
    assert 15 <= len(options["Options"]) <= 20
    assert {"--model", "--out", "--augmentations", "--limit", "--until", "--groups"} <= {*options["Options"]}
    assert {"--frost-textures", "--allow-missing"} <= {*options["Rarely needed"]}
    names = [name for name in options if name != "Arguments"]
    assert names == sorted(names, key=lambda name: (name != "Options", name.startswith("Rarely needed")))
    assert "--config" in options["Further"]


@pytest.mark.matrix
@pytest.mark.slow
def test_the_installed_command_and_a_stdout_that_nobody_reads():
    entry = Path(sys.executable).parent / "embedshift"
    closed = subprocess.run(
        f"'{entry}' list metrics | head -c 1", shell=True, capture_output=True, text=True, check=False
    )
    assert closed.stdout == next(iter(METRICS))[0]
    assert "Traceback" not in closed.stderr
