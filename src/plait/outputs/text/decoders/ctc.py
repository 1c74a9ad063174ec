"""`ctc`: connectionist temporal classification (Graves et al. 2006, ICML), for text that follows
its input in time, as a transcript follows speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.vocabulary import PAD
from plait.outputs.text.decoders.base import Decoder

BLANK = PAD
"""The id that stands for "nothing is said": padding's."""


@register("decoder", "ctc")
class CtcDecoder(Decoder):
    """Connectionist temporal classification, for speech: each token gives a unit or a blank."""

    network_class = "plait.outputs.text.decoders.networks.ctc.CtcNetwork"
    final_scores = True
    aligned = True
    embeds_words = False
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout")


def align(emissions: NDArray[np.float32], units: Sequence[int]) -> list[range]:
    """The range of input tokens that say each unit, on the likeliest path (the Viterbi algorithm),
    by the log-probabilities (T, V) of what each token says. The ranges are empty where there is no
    path, as there are fewer tokens than units."""
    if not len(emissions):
        return [range(0)] * len(units)
    labels = np.full(2 * len(units) + 1, BLANK)
    labels[1::2] = units
    own = emissions[:, labels]  # (T, S): blank, unit, blank, unit, ..., blank
    skips = np.zeros(len(labels), bool)
    skips[3::2] = labels[3::2] != labels[1:-2:2]  # unlike units need no blank between them
    best = np.full(len(labels), -np.inf)
    best[:2] = own[0, :2]
    came = np.zeros(own.shape, int)  # how many states back the best path to each state came from
    for t in range(1, len(own)):
        ways = np.full((3, len(labels)), -np.inf)
        for back in range(3):
            ways[back, back:] = best[: len(best) - back]
        ways[2, ~skips] = -np.inf
        came[t] = ways.argmax(axis=0)
        best = ways.max(axis=0) + own[t]
    state = len(labels) - 1 if len(labels) == 1 or best[-1] >= best[-2] else len(labels) - 2
    if not np.isfinite(best[state]):
        return [range(0)] * len(units)
    path = np.empty(len(own), int)
    for t in range(len(own) - 1, -1, -1):
        path[t] = state
        state -= came[t, state]
    places = [np.flatnonzero(path == 2 * number + 1) for number in range(len(units))]
    return [range(int(tokens[0]), int(tokens[-1]) + 1) for tokens in places]
