"""The inputs of the net: images, vectors, and studies that one revision measures, finished, half-finished and damaged.

All lie in one folder, in which the commands are run; another revision is then asked about copies of them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-c", "from embedshift.cli import main; main()"]
COLOURS, EDGES, REAL = "python:encoders:colours", "python:encoders:edges", "dinov2-small-offline"
# Of scikit-image, beside the photographs of the demo.
BESIDE = "brick.png coins.png grass.png gravel.png hubble_deep_field.jpg ihc.png moon.png retina.jpg"
FILES = "--augmentations everyday --workers 1 --no-report"
FEW = "--families recompress_40,mirror,greyscale,crop_90 --workers 1 --no-report"
# Folder or file → the command that makes it; in this order, since later ones read earlier ones.
MADE = {
    "images": f"run photos --model {REAL} --limit 12 --layers --heads --metrics attention,aligned,rollout"
    " --maps relevance --maps-images 4 --groups groups.csv --shard-size 8 --workers 1 --no-report",
    "everyday": f"run photos --model {COLOURS} {FILES}",
    "other": f"run photos --model {EDGES} {FILES}",
    "alone": f"run photos --model {COLOURS} --augmentations copies --workers 1 --no-report --shard-size 16",
    "tiles": f"run photos --model {COLOURS} --augmentations strength --families crop,jpeg --levels 3 --tiles 4"
    " --mirrored --workers 1 --no-report",
    "strength": f"run photos --model {EDGES} --augmentations strength --families jpeg,blur --workers 1 --no-report",
    "texts": "run captioned --model reader --text --labels labels.txt --workers 1 --no-report",
    "written": "views photos --limit 12 --augmentations everyday --families recompress_40,greyscale --out written",
    "pairs": f"run --pairs written/views.json --model {COLOURS} --workers 1 --no-report",
    "attacked": f"attack photos --limit 3 --model {REAL} --eps 2,4 --steps 2",
    "worst": f"run --pairs attacked/original attacked/linf-2 attacked/control-linf-2 attacked/linf-4"
    f" attacked/control-linf-4 --model {REAL} --workers 1 --no-report",
    "jumps": f"run photos --model {REAL} --limit 6 --jumps --augmentations everyday {FEW}",
    "own": f"run photos --model {COLOURS} --metrics python:encoders:greyest --draws 2 --augmentations everyday {FEW}",
    "failures": f"run odd --model {COLOURS} --augmentations everyday {FEW}",
    "few": f"run photos --model {COLOURS} --limit 5 --augmentations everyday {FEW}",
    "numbers": f"run photos --model {COLOURS} --store metrics --augmentations everyday {FEW}",
    "whole": f"run photos --model {COLOURS} --limit 12 --augmentations everyday --families mirror,greyscale"
    " --workers 1",
    "half": "run photos --model python:encoders:slow --augmentations everyday --shard-size 8 --batch-size 8"
    " --workers 1",
    "vectors": "vectors vectors.parquet --groups none --no-report",
    "twin": "vectors vectors.parquet --groups none --no-report",
    "newer": "vectors newer.parquet --model newer --no-report",
    "turned": "vectors turned.parquet --model turned --no-report",
    "arrays": "vectors originals.npy a=a.npy b=b.npy --no-report",
    "levels": "vectors levels.parquet --no-report",
    "one": "vectors one.parquet --no-report",
    "map.npz": "index vectors whiten --quiet",
    "upgrade.npz": "upgrade vectors turned --quiet",
    "colours.lock": f"lock photos --model {COLOURS}",
    "proposed.yaml": "check vectors --init --rules proposed.yaml",
}
UNTOLD = ("proposed.yaml",)  # The command itself says where it writes.
RULES = """
rules:
  - {table: search, metric: recall@1, at_least: 0.9}
  - {table: search, metric: recall@1, at_least: 0.5, judge: value}
  - {table: summary, metric: cosine_similarity, column: relative_shift, at_most: 0.4}
  - {table: summary, metric: l2_distance, column: q95, at_most: 3, judge: value}
  - {table: comparison, metric: relative_shift, column: ratio, augmentation: all, at_most: 1.1}
  - {table: search, metric: recall@1, may_fall: 0.05}
  - {table: search, metric: mrr, may_fall: 0.1}
  - {table: agreement, metric: neighbours@10, at_least: 0.8}
  - {table: differences, metric: cosine_similarity, at_most: 0.5}
"""


def freeze(code: Path, folder: Path) -> None:
    """Fills `folder` by the revision whose files lie in `code`; half a folder is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_images(folder)
    write_vectors(folder)
    write_texts(folder)
    install_plugin(code, folder / "site")
    ran(code, folder, "-c", "from support import captioned, tokenizers_made as t; from pathlib import Path; "
        "captioned.captioned(Path('captioned')); t.make_clip(Path('reader'))")  # fmt: skip
    for name, words in MADE.items():
        started = time.perf_counter()
        if name == "half":
            killed(code, folder, words.split())
        else:
            out = [] if name in UNTOLD or "--out" in words else ["--out", name]
            ran(code, folder, *COMMAND[1:], *words.split(), *out)
        print(f"  {name}: {time.perf_counter() - started:.1f} s", flush=True)
    break_studies(folder)


def environment(code: Path, folder: Path) -> dict[str, str]:
    """Of every process: the revision's code, the net's encoders, the plug-in, one thread, no home of a user."""
    places = [code / "src", HERE, folder / "site", code / "tests"]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    return os.environ | one | {
        "PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONHASHSEED": "0", "COLUMNS": "120",
        "XDG_STATE_HOME": str(folder / "state"), "EMBEDSHIFT_CACHE": str(folder / "cache"), "MPLBACKEND": "agg",
    }  # fmt: skip


def ran(code: Path, folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment(code, folder), capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):  # 1: most of the odd images failed
        sys.exit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")


def killed(code: Path, folder: Path, words: Sequence[str]) -> None:
    """A run that is killed when its second shard is written."""
    process = subprocess.Popen(
        [*COMMAND, *words, "--out", "half"], cwd=folder, env=environment(code, folder), stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and len([*(folder / "half").glob("shards/part-*.parquet")]) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        sys.exit("the run that was to be killed had ended")


def write_images(folder: Path) -> None:
    """Four pieces of each of sixteen photographs, in a folder each; groups; and a folder of odd files."""
    from embedshift.sources.demo import demo_photos

    photos = [*demo_photos().values()]
    for path in (*photos, *(photos[0].with_name(name) for name in BESIDE.split())):
        (folder / "photos" / path.stem).mkdir(parents=True)
        with Image.open(path) as photo:
            image = photo.convert("RGB").resize((400, 320), Image.Resampling.BOX)
        for number in range(4):
            left, top = 200 * (number % 2), 160 * (number // 2)
            piece = image.crop((left, top, left + 200, top + 160))
            piece.save(folder / "photos" / path.stem / f"{number}.png")
    names = sorted(str(path.relative_to(folder / "photos")) for path in (folder / "photos").rglob("*.png"))
    groups = [f"group {number // 2}" for number in range(len(names))]
    pl.DataFrame({"image_id": names, "group": groups}).write_csv(folder / "groups.csv")
    pl.DataFrame({"image_id": names, "weight": np.arange(len(names)) % 7}).write_csv(folder / "properties.csv")
    pl.DataFrame({"image_id": names, "word": [name.split("/")[0] for name in names]}).write_csv(folder / "words.csv")
    (folder / "moved").mkdir()
    shutil.copytree(folder / "photos" / "coffee", folder / "odd")
    for name, content in {"text.png": b"no image", "empty.jpg": b"", "note.txt": b"a note"}.items():
        (folder / "odd" / name).write_bytes(content)
    (folder / "odd" / "cut.png").write_bytes((folder / "odd" / "0.png").read_bytes()[:3000])


def write_vectors(folder: Path, images: int = 240, size: int = 24) -> None:
    """Vectors of images in clusters, their views under four changes, by three encoders; galleries and batches."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> np.ndarray:
        return rng.normal(size=(30, size))[np.arange(count) % 30] + 0.7 * rng.normal(size=(count, size)) + 0.4

    originals, axes = drawn(images), rng.normal(size=(4, size))
    views = {"original": originals} | {
        name: originals + by * axes[place] + by * rng.normal(size=originals.shape)
        for place, (name, by) in enumerate({"blur": 0.15, "noise": 0.4, "crop": 0.8, "mirror": 1.2}.items())
    }
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    noisy = {name: rows + 0.05 * rng.normal(size=rows.shape) for name, rows in views.items()}
    write_table(folder / "vectors.parquet", views, group=[f"scene {n // 2}" for n in range(images)])
    write_table(folder / "newer.parquet", noisy)
    write_table(folder / "turned.parquet", {name: rows @ turn for name, rows in noisy.items()})
    write_table(folder / "one.parquet", {"original": originals[:60], "blur": views["blur"][:60]})
    graded = {f"noise@{n}": originals + 0.3 * n * rng.normal(size=originals.shape) for n in range(1, 6)}
    write_table(folder / "levels.parquet", {"original": originals, **graded})
    for name, rows in {"originals": originals[:80], "a": views["blur"][:80], "b": views["crop"][:80]}.items():
        np.save(folder / f"{name}.npy", rows.astype(np.float32))
    np.save(folder / "gallery.npy", drawn(500).astype(np.float32))
    write_table(folder / "gallery.parquet", {"original": drawn(300)}, prefix="other")
    batch = drawn(240)
    batch[120:] += 0.8 * axes[2]
    days = [f"2026-11-{20 + n // 120}T10:00:00" for n in range(240)]
    table = {"image_id": [f"new {n}" for n in range(240)], "time": days, "vector": batch.tolist()}
    pl.DataFrame(table).write_parquet(folder / "batch.parquet")
    np.save(folder / "unchanged.npy", drawn(60).astype(np.float32))
    np.save(folder / "short.npy", batch[:5].astype(np.float32))


def write_table(
    path: Path, views: Mapping[str, np.ndarray], group: Sequence[str] | None = None, prefix: str = "image"
) -> None:
    parts = []
    for name, rows in views.items():
        ids = [f"{prefix} {number:04d}" for number in range(len(rows))]
        part = {"image_id": ids, "view": [name] * len(rows), "vector": rows.astype(np.float32).tolist()}
        parts.append(pl.DataFrame(part | ({"group": list(group)} if group else {})))
    pl.concat(parts).write_parquet(path)


def write_texts(folder: Path) -> None:
    """Rules, labels, settings and files that are wrong."""
    texts = {
        "rules.yaml": RULES,
        "labels.txt": "cat\ndog\nred boat\n",
        "settings.yaml": "augmentations: everyday\nfamilies: [mirror, greyscale]\nlimit: 12\n",
        "wrong-settings.yaml": "modle: x\n",
        "tagged.yaml": "rules: !!python/object/apply:os.system ['true']\n",
        "wrong-table.yaml": "rules: [{table: serach, at_least: 1}]\n",
        "two-bounds.yaml": "rules: [{table: search, at_least: 1, at_most: 2}]\n",
        "no-row.yaml": "rules: [{table: search, metric: recall@1, augmentation: glow, at_least: 1}]\n",
        "no-list.yaml": "rules: 3\n",
        "text.npy": "no array\n",
        "text.parquet": "no table\n",
        "words.txt": "small\nred\n",
        "no-ids.csv": "name,group\na,b\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.savez(folder / "foreign.npz", weights=np.eye(3))
    np.save(folder / "three.npy", np.ones((60, 3), np.float32))
    np.save(folder / "infinite.npy", np.full((60, 24), np.inf, np.float32))
    pl.DataFrame({"id": ["a"], "emb": [[1.0, 2.0]]}).write_parquet(folder / "other-columns.parquet")
    pl.DataFrame({"image_id": ["a", "a"], "view": ["original"] * 2, "vector": [[1.0, 2.0]] * 2}).write_parquet(
        folder / "twice.parquet"
    )
    (folder / "empty").mkdir()


def install_plugin(code: Path, site: Path) -> None:
    """The question of CONTRIBUTING, as pip leaves a package."""
    package = code / "tests" / "registry" / "outside" / "embedshift_jumps"
    shutil.copytree(package, site / package.name)
    about = site / "embedshift_jumps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: embedshift-jumps\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[embedshift.questions]\njumps = embedshift_jumps\n")


def break_studies(folder: Path) -> None:
    """Studies whose files were damaged, are gone, or are of another version."""
    for name in ("damaged", "altered", "older", "torn", "untabled"):
        shutil.copytree(folder / "everyday", folder / name)
    shard = sorted((folder / "damaged" / "shards").iterdir())[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    table = next(iter(sorted((folder / "altered" / "tables").iterdir())))
    table.write_bytes(table.read_bytes()[:-20])
    about = json.loads((folder / "older" / "study.json").read_text())
    (folder / "older" / "study.json").write_text(json.dumps(about | {"schema_version": 1}))
    (folder / "torn" / "study.json").write_text('{"embedshift": ')
    shutil.rmtree(folder / "untabled" / "tables")
