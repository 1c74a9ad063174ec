"""Tiny models with random weights, of any inputs and outputs: nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from plait.config.recipe import check_recipe
from plait.model import Model
from plait.network import TorchEngine, build_network
from plait.pipeline.engine import build_parts


def make_model(
    inputs: Mapping[str, Mapping[str, Any]],
    outputs: Mapping[str, Mapping[str, Any]],
    cells: Mapping[str, Sequence[Any]],
    fusion: Mapping[str, Any],
) -> Model:
    """A model that has learned from these cells, by input and output, what it reads and says."""
    recipe = check_recipe(
        {"name": "tiny", "inputs": inputs, "outputs": outputs, "fusion": dict(fusion)}
    )
    parts = build_parts(recipe)
    states = {f"inputs.{n}": part.fit(cells[n], Path()) for n, part in parts.modalities.items()}
    states |= {f"outputs.{n}": part.fit(cells[n], Path()) for n, part in parts.outputs.items()}
    parts = parts.with_inputs(states)
    network = build_network(recipe, parts)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # what starts as nothing would let many mistakes pass
        for parameter in network.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return Model(recipe, parts, TorchEngine(network))
