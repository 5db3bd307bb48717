"""What directions stand for: on held-out photographs, at what rate nothing is named, and what it costs.

usage: python benchmarks/meaning.py held-out STUDY [STUDY ...]   fitted on the first folder of each study, judged on the
                                                                 second; properties at their limits, and the strips
       python benchmarks/meaning.py words STUDY --out words.csv  words of ImageNet's photographs, from WordNet
       python benchmarks/meaning.py nothing STUDY --words FILE   200 shuffles of words, 200 random directions
       python benchmarks/meaning.py cost [--images 100000]       seconds and memory of vectors, as `explain` reads them
       python benchmarks/meaning.py properties FOLDER            milliseconds an image

Photographs are named as ImageNet's, n01440764_tench.JPEG. WordNet: apt-get install wordnet-base.
"""

import argparse
import multiprocessing
import re
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import embedshift
from bench import print_head, print_machine, print_row
from embedshift.questions.meaning import Choices
from embedshift.questions.meaning.directions import ids_of, of_shifts, read_vectors
from embedshift.questions.meaning.evidence import numbers_of
from embedshift.questions.meaning.measure import properties
from embedshift.questions.meaning.tables import DirectionEvidence, null_of, of_properties, of_words, sample_of
from embedshift.sources import images
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.meaning import Words, correlation_ends, judged_scores, least_beyond, rank_correlations

SYNSETS = Path("/usr/share/wordnet/data.noun")
REPETITIONS, DIM, NAMES = 200, 384, 16
SHOWN = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("held-out", "words", "nothing", "cost", "properties"))
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("words.csv"))
    parser.add_argument("--words")
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    if options.part == "held-out":
        for place in options.places:
            held_out(place)
    elif options.part == "words":
        write_words(options.places[0], options.out)
    elif options.part == "nothing":
        nothing(options.places[0], options.words)
    elif options.part == "cost":
        cost(options.images)
    else:
        properties_cost(options.places[0])
    print_machine()


def held_out(folder: Path) -> None:
    """Prints properties beyond the limit, of directions fitted to one folder's photographs, on those of another."""
    study = embedshift.load(folder)
    reader = study.reader()
    ids = ids_of(reader, reader.image_rows.layout.images)
    first, *_ = sorted({name.partition("/")[0] for name in ids}, reverse=True)
    judged = np.array([not name.startswith(f"{first}/") for name in ids])
    vectors = read_vectors(reader, with_products=False, halves=judged)
    directions = of_shifts(reader, vectors, ())
    scores = vectors.originals[judged] @ directions.vectors[0].T.astype(np.float32)
    names, numbers = numbers_of(reader, None, ids)
    none = np.zeros(int(judged.sum()), bool)
    drawn = np.random.default_rng(1).standard_normal((16_000, vectors.originals.shape[1]))
    along = vectors.originals[judged] @ (drawn @ vectors.spaces[0].matrix.T).T.astype(np.float32)
    limit = least_beyond(np.abs(rank_correlations(along, numbers[judged], none)[0]).max(axis=1), len(directions.names))
    found, _ = rank_correlations(scores, numbers[judged], none)
    low, high = correlation_ends(found, int(judged.sum()))
    print(f"{reader.info.encoder.name}: fitted to {first}, judged on {judged.sum()} others, limit {limit:.3f}")
    print_head("direction", "property", "rho", "95 %", "furthest")
    for place, direction in enumerate(directions.names):
        order = np.argsort(-scores[:, place])[:SHOWN]
        strip = " ".join(short(np.array(ids)[judged][image]) for image in order)
        for column in np.flatnonzero(np.abs(found[place]) > limit):
            ends = f"{low[place, column]:+.2f} to {high[place, column]:+.2f}"
            print_row(direction, names[column], f"{found[place, column]:+.3f}", ends, strip)
        for wanted in {"greyscale": "saturation", "scan": "warmth", "sharpen": "sharpness"}.items():
            if wanted[0] == direction and not abs(found[place, names.index(wanted[1])]) > limit:
                print_row(direction, f"({wanted[1]})", f"{found[place, names.index(wanted[1])]:+.3f}", "nothing", strip)
        if direction in ("watermark", "greyscale") and not (np.abs(found[place]) > limit).any():
            print_row(direction, "", "", "", strip)


def short(image_id: str) -> str:
    return re.sub(r"^n\d+_|\.\w+$", "", Path(image_id).name)


def hypernyms() -> dict[str, tuple[list[str], list[str]]]:
    """Returns synset → its words, and the synsets above it."""
    synsets = {}
    for line in SYNSETS.read_text().splitlines():
        if not line.startswith(" "):
            cells = line.partition("|")[0].split()
            count = int(cells[3], 16)
            words = [word.replace("_", " ").lower() for word in cells[4 : 4 + 2 * count : 2]]
            above = [cells[i + 1] for i, cell in enumerate(cells) if cell in ("@", "@i")]
            synsets[cells[0]] = words, above
    return synsets


def write_words(folder: Path, out: Path) -> None:
    """Writes the first word of each image's class and of all classes above it in WordNet."""
    synsets, rows = hypernyms(), []
    for image_id in embedshift.load(folder).reader().ordered_ids():
        waiting, seen = [Path(image_id).name[1:9]], set[str]()
        while waiting:
            synset = waiting.pop()
            if synset in synsets and synset not in seen:
                seen.add(synset)
                waiting += synsets[synset][1]
        rows += [(image_id, word) for word in {synsets[synset][0][0] for synset in seen}]
    pl.DataFrame(rows, schema=["image_id", "word"], orient="row").sort("image_id", "word").write_csv(out)
    print(f"{out}: {len({word for _, word in rows})} words")


def nothing(folder: Path, file: str | None) -> None:
    """Counts how often anything is named where there is nothing: words shuffled over images, or random directions."""
    reader = embedshift.load(folder).reader()
    vectors = read_vectors(reader, with_products=False)
    ids = ids_of(reader, len(vectors.originals))
    directions, given = of_shifts(reader, vectors, ()), Choices(words=file)
    sample, rng = sample_of(reader, vectors, given, ids), np.random.default_rng(5)
    seen: dict[str, list[bool]] = {name: [] for name in ("shuffled words", "random: properties", "random: words")}
    scores = judged_scores(sample.originals, directions.vectors, sample.second)
    for repetition in range(REPETITIONS):
        order = rng.permutation(len(sample.originals))
        shuffled = Words(sample.words.names, sample.words.members[order]).within(sample.second)
        other = replace(sample, names=(), numbers=sample.numbers[:, :0], words=shuffled)
        null = null_of(vectors, other, len(directions.names), seed=repetition)
        seen["shuffled words"].append(is_named(of_words(directions.vectors, scores, other, null)))
    null = null_of(vectors, sample, 1, seed=1)
    for _ in range(REPETITIONS):
        drawn = rng.standard_normal((1, vectors.originals.shape[1]))
        random = np.stack([drawn @ space.matrix.T for space in vectors.spaces])
        along = judged_scores(sample.originals, random, sample.second)
        seen["random: properties"].append(is_named(of_properties(along, sample, null)))
        seen["random: words"].append(is_named(of_words(random, along, sample, null)))
    print_head("where", "nothing is named, %", "95 %", "of")
    for where, named in seen.items():
        low, high = clopper_pearson(len(named) - sum(named), len(named))
        print_row(where, f"{100 - 100 * np.mean(named):.1f}", f"{100 * low:.1f} to {100 * high:.1f}", len(named))


def is_named(found: Iterator[tuple[int, DirectionEvidence]]) -> bool:
    return any(row.significant for _, row in found)


def cost(count: int) -> None:
    """Prints seconds and memory of the table for so many vectors, with sixteen views, eleven properties and words."""
    rng, ids = np.random.default_rng(0), names_of(count)
    with tempfile.TemporaryDirectory() as place:
        # In a process of its own, whose memory is not counted here.
        made = multiprocessing.get_context("spawn").Process(target=make_vectors, args=(count, f"{place}/study"))
        made.start()
        made.join()
        study = embedshift.load(f"{place}/study")
        numbers = pl.DataFrame({"image_id": ids, **{f"p{k}": rng.standard_normal(count) for k in range(11)}})
        words = {f"w{k}": [ids[i] for i in rng.choice(count, count // 50, replace=False)] for k in range(200)}
        started, processor = time.perf_counter(), time.process_time()
        study.meaning(properties=numbers, words=words)
        seconds, used = time.perf_counter() - started, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print_head("images", "seconds", "CPU seconds", "peak MiB of the process")
    print_row(count, f"{seconds:.1f}", f"{used:.1f}", peak)


def names_of(count: int) -> list[str]:
    return [f"{number:06d}" for number in range(count)]


def make_vectors(count: int, out: str) -> None:
    rng = np.random.default_rng(0)
    originals = rng.standard_normal((count, DIM), np.float32)
    views = {f"view {k}": originals + 0.1 * rng.standard_normal((1, DIM), np.float32) for k in range(NAMES)}
    embedshift.from_vectors(originals, views, ids=names_of(count), out=out)


def decoded(folder: Path) -> Iterator[tuple[np.ndarray, int]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield images.decode(data), len(data)


def properties_cost(folder: Path) -> None:
    given = [*decoded(folder)]
    times = []
    for image, size in given * 3:
        started = time.process_time()
        properties(image, size)
        times.append(time.process_time() - started)
    print_head("images", "ms an image (median)", "mean")
    print_row(len(given), f"{1e3 * np.median(times):.2f}", f"{1e3 * np.mean(times):.2f}")


if __name__ == "__main__":
    main()
