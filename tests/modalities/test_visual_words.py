from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances
from tensors import reader

from plait.modalities.image.visual_words import DIMENSION, NEIGHBOURS, SOFTNESS, VisualWords
from plait.types import PlaitError

SETTINGS = {"size": 64, "words": 12, "levels": 2, "patch": 16}


def png(number: int) -> bytes:
    """A photo with edges: coarse noise made large."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    photo = cv2.resize(small, (90, 70), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", photo)[1].tobytes()


BLANK = cv2.imencode(".png", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()


def learned(**settings: Any) -> VisualWords:
    modality = VisualWords(**{**SETTINGS, **settings})
    return modality.with_state(modality.fit([png(0), png(1)], Path()))


def centres(state: dict[str, Any]) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(state["centres"]), np.uint8)
    return raw.reshape(-1, DIMENSION) / 255


def shares(descriptors: np.ndarray, means: np.ndarray, assign: str) -> np.ndarray:
    """(K, V) by hand, with scikit-learn's distances."""
    squares = pairwise_distances(descriptors, means, "sqeuclidean")
    weights = np.exp(-SOFTNESS * squares)
    count = NEIGHBOURS if assign == "soft" else 1
    weights[squares > np.sort(squares, axis=1)[:, [count - 1]]] = 0
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("keypoints", ["dense", "detected"])
@pytest.mark.parametrize("assign", ["hard", "soft"])
def test_the_histogram_by_hand(keypoints: str, assign: str) -> None:
    modality = learned(keypoints=keypoints, assign=assign)
    photo = modality.read(png(2), Path())
    descriptors, places = modality.describe(photo)
    found = shares(descriptors, centres(modality.state), assign)
    expected = [found.sum(axis=0)]
    for row in range(2):
        for column in range(2):
            inside = (places[:, 1] >= row / 2) & (places[:, 1] < (row + 1) / 2)
            inside &= (places[:, 0] >= column / 2) & (places[:, 0] < (column + 1) / 2)
            expected.append(found[inside].sum(axis=0))
    histogram = modality.encoder(True).prepare([torch.from_numpy(photo)])[0]
    np.testing.assert_allclose(histogram, np.sqrt(np.array(expected) / len(descriptors)), atol=1e-4)
    np.testing.assert_array_equal(histogram, modality.prepare(photo))
    assert len(descriptors) > 10


def test_root_sift_by_hand() -> None:
    grey = cv2.imdecode(np.frombuffer(png(0), np.uint8), cv2.IMREAD_GRAYSCALE)
    raw = cv2.SIFT.create().compute(grey, [cv2.KeyPoint(32, 26, 16 / 6, 0)])[1][0]
    descriptors, places = VisualWords(step=8, patch=16).describe(
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    )
    assert places.shape == (9 * 12, 2)  # from 2 to 66 of 70 rows, from 0 to 88 of 90 columns
    at = 3 * 12 + 4
    np.testing.assert_allclose(places[at] * [90, 70], [32, 26], rtol=1e-5)
    np.testing.assert_allclose(descriptors[at], np.sqrt(raw / raw.sum()), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)


def test_a_patch_covers_as_many_pixels_as_it_says() -> None:
    """32 pixels a side, blurred by a few: what lies outside changes nothing."""
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), (9, 9), 0)
    modality = VisualWords(step=64, patch=32)  # one keypoint in the middle
    (descriptor,), _ = modality.describe(photo)
    for margin, same in ((2, True), (22, False)):
        black = np.zeros_like(photo)
        black[margin:-margin, margin:-margin] = photo[margin:-margin, margin:-margin]
        assert np.allclose(modality.describe(black)[0][0], descriptor, atol=1e-6) == same, margin


def test_the_vocabulary_is_the_same_each_time_and_small() -> None:
    state, again = learned().state, learned().state
    assert state == again
    assert state["words"] == len(np.unique(centres(state), axis=0)) == 12
    assert len(json.dumps(state)) < 12 * DIMENSION * 1.4 + 100
    assert np.linalg.norm(centres(state), axis=1).max() < 1.01  # means of vectors of length 1


def test_bad_photos_are_passed_over_and_blank_ones_have_no_words() -> None:
    modality = VisualWords(**SETTINGS)
    cells = [png(0), b"no photo", "missing.png", None, png(1), BLANK]
    assert modality.fit(cells, Path())["words"] == 12
    with pytest.raises(PlaitError, match="no training photo has a keypoint"):
        modality.fit([BLANK, b"no photo"], Path())
    few = VisualWords(**{**SETTINGS, "words": 2000}).fit([png(0)], Path())
    assert 2 <= few["words"] <= 64


@pytest.mark.parametrize("keypoints", ["dense", "detected"])
def test_a_blank_photo_is_there(keypoints: str) -> None:
    modality = learned(keypoints=keypoints)
    encoder = modality.encoder(True)
    prepared = torch.stack(encoder.prepare([torch.from_numpy(modality.read(BLANK, Path()))]))
    assert torch.count_nonzero(prepared) == 0
    found = encoder(prepared, torch.tensor([5]))
    assert found.present.tolist() == [True]
    assert bool(torch.isfinite(found.values).all())


def test_a_cell_s_token_sees_its_own_and_the_larger_cells() -> None:
    encoder = learned(levels=3).encoder(True)
    assert encoder.grid == (4, 4)
    values = torch.rand(1, 21, 12)
    tokens = encoder(values, torch.tensor([21])).values[0]
    # Row 1, column 2 of the finest lies in the quarter at the top right.
    inside = {0: 1, 1 + 1: 2, 5 + 1 * 4 + 2: 4}  # cell -> side of its level
    expected = encoder.bias + sum(
        side * values[0, cell] @ encoder.weight[level]
        for level, (cell, side) in enumerate(inside.items())
    )
    torch.testing.assert_close(tokens[1 * 4 + 2], expected)


def test_the_cache_knows_another_vocabulary(tmp_path: Path) -> None:
    names = set()
    for settings in ({}, {"words": 6}, {"step": 10}, {"assign": "hard"}, {"levels": 3}):
        modality = learned(**settings)
        names.add(reader("image", modality, tmp_path).space().folder)
    assert len(names) == 5
