"""The components that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plait.config import registry
from plait.config.recipe import OutputSpec, Recipe
from plait.modalities.base import Modality
from plait.outputs.base import Output
from plait.types import State


@dataclass(frozen=True)
class Parts:
    """The data sides of a recipe's inputs and outputs, by name."""

    modalities: Mapping[str, Modality]
    outputs: Mapping[str, Output]

    @property
    def states(self) -> dict[str, State]:
        """What they were fitted to: "inputs.NAME" and "outputs.NAME" -> state."""
        inputs = {f"inputs.{name}": part.state for name, part in self.modalities.items()}
        return inputs | {f"outputs.{name}": part.state for name, part in self.outputs.items()}

    def with_states(self, states: Mapping[str, State]) -> Parts:
        """The same components, fitted."""
        return Parts(
            {n: part.with_state(states[f"inputs.{n}"]) for n, part in self.modalities.items()},
            {n: part.with_state(states[f"outputs.{n}"]) for n, part in self.outputs.items()},
        )


def build_parts(recipe: Recipe, states: Mapping[str, State] | None = None) -> Parts:
    """The components of a recipe; fitted to ``states`` where these are given."""
    inputs: dict[str, Any] = {
        name: registry.build(spec.modality, spec.representation)
        for name, spec in recipe.inputs.items()
    }
    parts = Parts(inputs, {name: build_output(spec) for name, spec in recipe.outputs.items()})
    return parts if states is None else parts.with_states(states)


def build_output(spec: OutputSpec) -> Output:
    """The output that a recipe names."""
    output: Output = registry.build("output", {"kind": spec.kind, **spec.settings})
    return output
