"""Searches with one decoder network, as text outputs do it."""

from __future__ import annotations

from typing import Any

import numpy as np

from plait.nn.base import Arrays
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState, TorchSteps
from plait.outputs.text.search import (
    DECODER,
    Decoding,
    Hypotheses,
    Limits,
    Mixture,
    TokenScorer,
    beam_search,
    sample,
)


def scorer(network: DecoderNetwork, start: DecoderState) -> TokenScorer:
    """Of the records of a state, one row each."""
    steps = TorchSteps({DECODER: network}, {DECODER: start})
    mixture = Mixture({DECODER: 1.0}, normalise=not network.final_scores)
    return TokenScorer(steps, Arrays(start.memory), mixture)


def search(
    network: DecoderNetwork, start: DecoderState, beams: int, penalty: float, limits: Limits
) -> Hypotheses:
    """The likeliest sequences."""
    return beam_search(scorer(network, start), beams, penalty, limits)


def draw(
    network: DecoderNetwork, start: DecoderState, count: int, limits: Limits, seed: int = 0,
    **options: Any,
) -> Hypotheses:  # fmt: skip
    """Random sequences."""
    decoding = Decoding(sample=True, num=count, **vars(limits), **options)
    return sample(scorer(network, start), decoding, np.random.default_rng(seed))
