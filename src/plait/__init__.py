"""plait learns one model from text, images, audio, video, sensor series and tables.

import plait
plait.load("captioner").predict("photo.jpg").value
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.assistant.dialogue import Assistant as Assistant
    from plait.comparison.compare import compare as compare
    from plait.config.recipe import Recipe as Recipe
    from plait.config.recipe import load_recipe as load_recipe
    from plait.data.tables import read_table as read_table
    from plait.evaluation.evaluate import Evaluation as Evaluation
    from plait.model import Model as Model
    from plait.pipeline.profile import profile as profile
    from plait.runtime.engines import load as load
    from plait.tasks.ngrams import export_arpa as export_arpa
    from plait.tasks.transcribers import transcribe as transcribe
    from plait.tasks.translate import translate as translate
    from plait.training.train import train as train
    from plait.types import BadCell as BadCell
    from plait.types import PlaitError as PlaitError
    from plait.types import Prediction as Prediction
    from plait.types import UsageError as UsageError

__version__ = "0.2.0"

# Name -> where it lives. Loaded when first used, so that `import plait` costs nothing.
_PUBLIC = {
    "Assistant": "plait.assistant.dialogue",
    "BadCell": "plait.types",
    "Evaluation": "plait.evaluation.evaluate",
    "Model": "plait.model",
    "PlaitError": "plait.types",
    "Prediction": "plait.types",
    "Recipe": "plait.config.recipe",
    "UsageError": "plait.types",
    "compare": "plait.comparison.compare",
    "export_arpa": "plait.tasks.ngrams",
    "load": "plait.runtime.engines",
    "profile": "plait.pipeline.profile",
    "load_recipe": "plait.config.recipe",
    "read_table": "plait.data.tables",
    "train": "plait.training.train",
    "transcribe": "plait.tasks.transcribers",
    "translate": "plait.tasks.translate",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
