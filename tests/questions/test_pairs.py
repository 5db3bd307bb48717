"""Two different images, for the baseline under every metric: what each question measures of them, by direct calls."""

from types import SimpleNamespace

import numpy as np
import pytest

from embedshift.augmentations import load_suite
from embedshift.config import StudyConfig
from embedshift.encoders import EncoderOutput
from embedshift.pipeline.measure import Measure, StudySwitches
from embedshift.pipeline.plan import Plan, make_measures
from embedshift.questions import text
from embedshift.questions.text.measure import MEASURE as TextMeasure
from embedshift.registry import METRICS, asked_metrics
from embedshift.sources import ImageRef
from embedshift.statistics.maps import scaled_map

SIZE = 24
RNG = np.random.default_rng(0)
VIEWS = RNG.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
EMBEDDING = RNG.normal(size=(2, 7)).astype(np.float32)
MAPS, ROLLED = RNG.random((2, 2, 3, 4)).astype(np.float32)
SAMPLES = [ImageRef("a.jpg", "a.jpg", caption="a cat"), ImageRef("b.jpg", "b.jpg", caption="a dog")]
SUITE = load_suite("paper")
OF_CLASSES = {"zero_shot_flip", "zero_shot_margin_shift"}


def plan_of(*metrics: str) -> Plan:
    config = StudyConfig(metrics=metrics)
    measures = make_measures(config, SUITE, SAMPLES)
    encoder = SimpleNamespace(size=SIZE)
    return Plan(
        config=config, suite=SUITE, source=None, spec=None, encoder=encoder, measures=measures, columns=(),
        batch_size=8, images=2,
    )  # fmt: skip


def measure_of(question: str, plan: Plan) -> Measure:
    (measure,) = (each for each in plan.measures if each.question == question)
    return measure


def of_pair(question: str, plan: Plan, output: EncoderOutput) -> dict[str, float]:
    return measure_of(question, plan).of_pair(VIEWS, output, SAMPLES, plan)


@pytest.mark.parametrize("question", ["pixels", "strength"])
def test_metrics_of_pixels(question):
    found = of_pair(question, plan_of(question), EncoderOutput(EMBEDDING, None, None))
    wanted = {name for name in METRICS if METRICS[name].needs == question} - {"displacement", "hidden"}
    assert set(found) == wanted, "between two images nothing is moved or covered"
    for name, value in found.items():
        assert value == METRICS[name].function(VIEWS[0], VIEWS[1]).item()


def test_attention():
    plan = plan_of("attention", "aligned", "rollout")
    output = EncoderOutput(EMBEDDING, MAPS, "cls", {"rollout": ROLLED})
    found = of_pair("attention", plan, output)
    names = measure_of("attention", plan).needing("attention")
    wanted = {name: METRICS[name].function(MAPS[0], MAPS[1], SIZE) for name in names}
    wanted["rollout_similarity"] = METRICS["rollout_similarity"].function(ROLLED[0], ROLLED[1], SIZE)
    large = [scaled_map(each, SIZE) for each in MAPS]
    wanted["aligned_attention_similarity"] = METRICS["aligned_attention_similarity"].function(*large)
    assert len(wanted) == 5
    assert found == {name: pytest.approx(value.item(), rel=1e-12) for name, value in wanted.items()}
    # Nothing is moved: the two images have no motion in common.
    assert found["aligned_attention_similarity"] == pytest.approx(found["attention_similarity"], abs=1e-12)


def test_nothing_of_an_encoder_without_attention_or_of_the_embedding():
    output = EncoderOutput(EMBEDDING, None, None)
    assert of_pair("attention", plan_of("attention", "aligned"), output) == {}
    assert of_pair("embedding", plan_of(), output) == {}, "its baseline is exact, over all pairs"


def text_of_pair(samples, **vectors):
    config = StudyConfig(switches=(text.Switches(text=True, labels=("cat", "dog", "boat")),))
    measure = TextMeasure(StudySwitches(config, SUITE, SAMPLES, asked_metrics(()))).changed(**vectors)
    return measure.of_pair(VIEWS, EncoderOutput(EMBEDDING, None, None), samples, plan_of())


def test_text_has_the_first_image_s_caption_and_the_classes():
    captions = {"a.jpg": RNG.normal(size=7), "b.jpg": RNG.normal(size=7)}
    classes, (before, after) = RNG.normal(size=(3, 7)), EMBEDDING
    assert text_of_pair(SAMPLES, captions=captions, classes=classes) == {
        "text_alignment_shift": METRICS["text_alignment_shift"].function(before, after, captions["a.jpg"]).item(),
        **{name: METRICS[name].function(before, after, classes).item() for name in OF_CLASSES},
    }
    del captions["a.jpg"]
    assert set(text_of_pair(SAMPLES, captions=captions, classes=classes)) == OF_CLASSES
    assert text_of_pair(SAMPLES[::-1], captions=captions, classes=None).keys() == {"text_alignment_shift"}
