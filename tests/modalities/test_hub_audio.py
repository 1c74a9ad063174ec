"""`hub:NAME` as a representation of sounds: tiny models made from a config, saved to a folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_models import save_audio_model
from tensors import as_row, pad_rows

from plait.config import registry
from plait.config.recipe import check_recipe
from plait.modalities.audio.hub import HubSound
from plait.nn.base import Encoder
from plait.nn.hub import build_extractor
from plait.types import PlaitError, Tokens

transformers = pytest.importorskip("transformers")
pytest.importorskip("soxr", reason="needs the extra plait[audio]")

MODELS = ("wav2vec2", "hubert", "whisper", "ast")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        save_audio_model(name, folder / name)
    return folder


def learned(folder: Path, **settings: Any) -> HubSound:
    modality = HubSound(name=str(folder), **{"max_seconds": 1.0, **settings})
    return modality.with_state(modality.fit([], Path()))


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000))
    # As it comes out of the cache, so that it can be held against the model's own answer.
    return torch.from_numpy(samples.astype(np.float16)).float()


def encoded(encoder: Encoder, items: list[torch.Tensor]) -> Tokens:
    rows = [as_row(features) for features in encoder.prepare(items)]
    tokens: Tokens = encoder(*pad_rows(rows, rows[0]))
    return tokens


def reference(folder: Path, samples: torch.Tensor) -> torch.Tensor:
    """The model's own answer, with transformers alone."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(samples.numpy(), sampling_rate=16000, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return model.get_encoder()(**inputs).last_hidden_state[0]
        return model(**inputs).last_hidden_state[0]


@pytest.mark.parametrize("train", ["frozen", "all"])
@pytest.mark.parametrize(
    ("name", "tokens"), [("wav2vec2", 24), ("hubert", 24), ("whisper", 25), ("ast", 20)]
)
def test_the_numbers_are_the_models(folders: Path, name: str, tokens: int, train: str) -> None:
    modality = learned(folders / name, train=train)
    encoder = modality.encoder(True).eval()
    found = encoded(encoder, [sound(0.5)])
    assert found.values.shape == (1, tokens, 16)
    expected = reference(folders / name, sound(0.5))[:tokens]  # Whisper's goes on to a second
    torch.testing.assert_close(found.values[0], expected, rtol=1e-2, atol=4e-3)


@pytest.mark.parametrize(("name", "pace"), [("wav2vec2", 0.02), ("whisper", 0.02), ("ast", 0)])
def test_the_pace_is_known_where_tokens_tell(folders: Path, name: str, pace: float) -> None:
    modality = learned(folders / name)
    assert modality.pace() == pytest.approx(pace)


@pytest.mark.parametrize("train", ["frozen", "all"])
@pytest.mark.parametrize("name", ["wav2vec2", "hubert"])
def test_a_blink_and_nine_seconds_in_one_batch(folders: Path, name: str, train: str) -> None:
    modality = learned(folders / name, train=train, max_seconds=9.0)
    encoder = modality.encoder(True).eval()
    sounds = [sound(0.02), sound(9, seed=1)]
    together = encoded(encoder, sounds)
    assert together.mask.sum(1).tolist() == [2, 449]
    assert encoder.length == 449
    for samples, count, values in zip(sounds, (2, 449), together.values, strict=True):
        alone = encoded(encoder, [samples]).values
        assert alone.shape[1] == count
        torch.testing.assert_close(alone[0], values[:count], rtol=1e-3, atol=1e-3)


def test_a_window_s_silence_is_left_out(folders: Path) -> None:
    """Whisper's window here is one second, of 50 tokens."""
    for train in ("frozen", "all"):
        modality = learned(folders / "whisper", train=train)
        encoder = modality.encoder(True).eval()
        found = encoded(encoder, [sound(0.02), sound(0.33), sound(1)])
        assert found.mask.sum(1).tolist() == [1, 17, 50]
        assert encoder.length == 50


def test_what_is_longer_than_the_window_is_refused(folders: Path) -> None:
    for name in ("whisper", "ast"):
        with pytest.raises(PlaitError, match=r"takes at most 1 seconds.*max_seconds to 1"):
            learned(folders / name, max_seconds=2.0)


def test_another_rate_is_refused(folders: Path) -> None:
    with pytest.raises(PlaitError, match=r"expects 16,000 samples per second.*rate to 16000"):
        learned(folders / "wav2vec2", rate=8000)


@pytest.mark.parametrize("name", MODELS)
def test_a_package_needs_no_hub(folders: Path, name: str, tmp_path: Path) -> None:
    modality = learned(folders / name)
    state = json.loads(json.dumps(modality.state))  # as a package keeps it
    assert str(folders) not in json.dumps(state)
    trained = modality.encoder(True).eval()
    elsewhere = HubSound(name=str(tmp_path / "gone"), max_seconds=1.0).with_state(state)
    again = elsewhere.encoder(False)
    again.load_state_dict(trained.state_dict())
    sounds = [sound(0.3)]
    assert torch.equal(encoded(again.eval(), sounds).values, encoded(trained, sounds).values)
    with pytest.raises(PlaitError, match="no model"):  # but never trained from random weights
        elsewhere.encoder(True)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_trained_parameter(folders: Path, name: str) -> None:
    modality = learned(folders / name, train="all")
    encoder = modality.encoder(True).train()
    tokens = encoded(encoder, [sound(0.05), sound(0.4)])  # shorter than a masked stretch, too
    tokens.values.square().sum().backward()
    trained = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    assert trained
    assert [n for n, p in trained.items() if p.grad is None] == []


def test_the_feature_extractor_is_part_of_the_cache_s_key(folders: Path) -> None:
    modality = learned(folders / "wav2vec2")
    state = modality.state
    other = {**state, "extractor": {**state["extractor"], "do_normalize": False}}
    assert modality.fingerprint() != modality.with_state(other).fingerprint()


# What can go wrong ----------------------------------------------------------------------------


def test_a_checkpoint_that_lacks_weights_is_refused(folders: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_audio_model("wav2vec2", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    dropped = "feature_projection.projection.weight"
    rest = {k: v for k, v in weights.items() if k != dropped}
    save_file(rest, tmp_path / "model.safetensors", {"format": "pt"})
    modality = learned(tmp_path)
    with pytest.raises(PlaitError, match=f"lack 1 parameters, such as {dropped}"):
        modality.encoder(True)


def test_no_such_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"no model .*nothing") as caught:
        learned(tmp_path / "nothing")
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_is_one_clear_line(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the hub\nCheck your internet connection")

    monkeypatch.setattr(transformers.AutoFeatureExtractor, "from_pretrained", fail)
    with pytest.raises(PlaitError, match="couldn't connect") as caught:
        learned(folders / "wav2vec2")
    assert "\n" not in str(caught.value)


def test_a_model_of_images_or_texts_is_refused(tmp_path: Path) -> None:
    vit = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
    transformers.ViTModel(transformers.ViTConfig(**vit)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "ViT"}')
    with pytest.raises(PlaitError) as caught:
        learned(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_package_names_no_class_that_is_no_feature_extractor() -> None:
    for kind in ("PreTrainedModel", "utils", "nothing"):
        with pytest.raises(PlaitError, match=f"no feature extractor '{kind}'"):
            build_extractor({"feature_extractor_type": kind})


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[hub\]'"):
        HubSound(name="some/model").fit([], Path())


def test_a_recipe_names_the_model_after_the_colon() -> None:
    representation = {"kind": "hub:some/model", "train": "all"}
    checked = check_recipe(
        {
            "name": "test",
            "inputs": {"audio": {"modality": "audio", "representation": representation}},
            "outputs": {"digit": {"kind": "category"}},
        }
    )
    found = checked.inputs["audio"].representation
    assert (found["kind"], found["name"], found["train"]) == ("hub", "some/model", "all")
    assert registry.build("audio", found).name == "some/model"
