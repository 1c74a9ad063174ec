"""The rules of benchmarks/grammar.py: they find what is ungrammatical, and leave the rest alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def grammar() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "grammar.py"
    spec = importlib.util.spec_from_file_location("grammar", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("a orange shirt", "a orange"),
        ("a man rides an bike", "an bike"),
        ("a group of people sitting in a blue balls", "a ... balls"),
        ("A black and white dogs run.", "a ... dogs"),
        ("a men on a bench", "a ... men"),
        ("a man in a blue shirt is", "ends with is"),
        ("a dog and a dog", "a dog twice"),
        ("a person on a wall in front of a wall", "a wall twice"),
        ("a dog runs in the snow in the snow", "in the snow twice"),
        ("people and people on a street", "people and people"),
        ("a cat on on a bed", "on on"),
        ("", "ends with nothing"),
    ],
)
def test_faults_are_found(grammar: ModuleType, caption: str, fault: str) -> None:
    assert grammar.faults(caption) == [fault]


@pytest.mark.parametrize(
    "caption",
    [
        "a bed or beds in a room",  # stilted, but "a" belongs to "bed" alone
        "a man in a red shirt talks to a man in a blue shirt",
        "a dog chases another dog",
        "a brown dog and a black dog",
        "a football player plays football",
        "a few dogs and a dozen people",
        "a bus next to a glass on the grass",
        "a man gives a thumbs up",
        "a man's hat and a women's team",
        "an hour at a university with an nba player in a one-piece suit",
        "a man jumps while another looks on",
        "a girl with a hat on",
        "rows and rows of chairs",
        "a white dog drives a car",
    ],
)
def test_grammatical_captions_have_none(grammar: ModuleType, caption: str) -> None:
    assert grammar.faults(caption) == []
