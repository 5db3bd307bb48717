"""Words for heads: the same picks as the published procedure on all contributions, and contributions as they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from embedshift import load_encoder
from embedshift.encoders.dissection import block_parts, head_matrices
from embedshift.encoders.dissection.anatomy import Anatomy, Parts
from embedshift.errors import UsageError
from embedshift.questions.heads.measure import HeadMoments, WordSpace
from embedshift.questions.heads.tables import covariances, textspan
from support.family_models import CASES, save
from support.heads_by_hand import NAMED
from support.library_models import make_open_clip
from support.words_by_hand import contributions, published


@pytest.mark.parametrize("seed", range(5))
def test_picks_equal_the_published_procedure(seed: int):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(200, 6)) * np.linspace(3, 0.2, 6) + 1
    matrix, texts = rng.normal(size=(20, 6)), rng.normal(size=(50, 20))
    orthonormal, triangle = np.linalg.qr(matrix)
    picks, explained = published(outputs @ matrix.T, texts, 6)
    found = textspan(np.cov((outputs @ triangle.T).T, bias=True), texts @ orthonormal, 9)
    assert [each.text for each in found] == picks, "never more than the width of the head"
    np.testing.assert_allclose([each.explained for each in found], explained, rtol=0, atol=1e-9)


def test_what_does_not_vary_has_no_words():
    assert textspan(np.zeros((3, 3)), np.eye(3)) == []


class _Output:
    def __init__(self, kept: np.ndarray) -> None:
        self.observed = {"heads": kept[None]}


@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_contributions_equal_the_librarys_own_weights(kind: str, tmp_path: Path):
    case = next(case for case in CASES if case.kind == kind)
    folder = save(case, tmp_path / "model")
    encoder, reference, named = load_encoder(str(folder)), case.reference(folder).double(), NAMED[kind]
    views = np.random.default_rng(1).integers(0, 256, (7, encoder.size, encoder.size, 3), np.uint8)
    anatomy = Anatomy(encoder.tower)
    bases = torch.stack([torch.linalg.qr(each).R for each in head_matrices(anatomy, (1, 2))]).float().numpy()
    orthonormal = [torch.linalg.qr(each).Q.numpy() for each in head_matrices(anatomy, (1, 2))]
    sizes = [(24, 24)] * 3
    moments = HeadMoments(WordSpace(sizes, bases, np.zeros((2, 4, 0, 6))), with_texts=False)
    parts = block_parts(anatomy, torch.from_numpy(views).permute(0, 3, 1, 2).float())
    kept = torch.cat([torch.cat(_fields(each), dim=2) for each in parts], dim=2)
    for row in kept[:, 0].numpy():
        moments.add(None, _Output(row))
    slow = [contributions(reference, named, case, view) for view in views]
    found = covariances(moments.close())
    for place in range(2):
        for head in range(4):
            whole = np.stack([each[place + 1, head] for each in slow])
            inside = whole @ orthonormal[place][head]
            np.testing.assert_allclose((inside**2).sum(), (whole**2).sum(), rtol=1e-3)
            expected = np.cov(inside.T, bias=True)
            np.testing.assert_allclose(found[place, head], expected, rtol=0, atol=2e-3 * np.abs(expected).max())


def _fields(parts: Parts) -> list[torch.Tensor]:
    return [parts.before, parts.heads, parts.between, parts.after]


def test_an_embedding_of_many_tokens_has_no_matrices(tmp_path: Path):
    encoder = load_encoder(str(make_open_clip(tmp_path / "model", layers=3, pool_type="avg")))
    with pytest.raises(UsageError, match="reads its embedding from more than one token"):
        head_matrices(Anatomy(encoder.tower), [2])
