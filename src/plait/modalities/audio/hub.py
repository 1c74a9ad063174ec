"""`hub:NAME`: the tokens of any audio encoder of the transformers library.

NAME is a model's name on the Hugging Face Hub or a local folder in its format (wav2vec 2.0,
HuBERT, WavLM, Whisper's encoder, AST...). The weights' origin and licence are the model's own.
The model's own feature extractor makes its input; a package keeps the extractor's settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plait.config.registry import register
from plait.modalities.audio.base import Sound
from plait.nn.hub import HubName, HubTrain, load_config, load_extractor
from plait.types import PlaitError, State

AST_FRAMES = 100  # a second
# Left-out layers and masked stretches are for pretraining; the latter, longer than some sounds,
# would be errors.
NO_PRETRAINING = {"apply_spec_augment": False, "layerdrop": 0.0, "encoder_layerdrop": 0.0}


@register("audio", "hub")
class HubSound(Sound):
    """Any audio encoder of the Hugging Face Hub, or of a local folder in its format."""

    encoder_class = "plait.modalities.audio.networks.HubSoundEncoder"
    exportable = False

    name: HubName
    train: HubTrain = "frozen"

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and its feature extractor, so that a package needs no hub.

        Raises:
            PlaitError: there is no such model, or it hears another rate or shorter sounds only.
        """
        config, extractor = load_config(self.name), load_extractor(self.name)
        # Of a model that always hears as many samples, with silence after shorter sounds.
        rate, window = extractor["sampling_rate"], extractor.get("n_samples")
        if extractor["feature_extractor_type"] == "ASTFeatureExtractor":
            window = extractor["max_length"] * rate // AST_FRAMES
        if rate != self.rate:
            raise PlaitError(
                f"hub:{self.name} expects {rate:,} samples per second",
                hint=f"set the representation's rate to {rate}",
            )
        if window and self.max_samples > window:
            raise PlaitError(
                f"hub:{self.name} takes at most {window / rate:g} seconds",
                hint=f"set the representation's max_seconds to {window / rate:g}",
            )
        config |= {key: value for key, value in NO_PRETRAINING.items() if key in config}
        return {"config": config, "extractor": extractor}

    def pace(self) -> float:
        """By the strides of wav2vec 2.0 and its like, or by Whisper's window."""
        config = self.state["config"]
        if "conv_stride" in config:
            return math.prod(config["conv_stride"]) / self.rate
        window = self.state["extractor"].get("n_samples")
        places = config.get("max_source_positions")
        return window / self.rate / places if window and places else 0.0

    def fingerprint(self) -> str:
        """As any sound's, with the feature extractor."""
        return json.dumps([super().fingerprint(), self.state["extractor"]])
