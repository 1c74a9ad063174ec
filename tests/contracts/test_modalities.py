"""What holds for every registered representation of every modality."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_models import AUDIO_MODELS, save_audio_model
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from samples import save_bert, write_vectors
from tensors import as_row, as_tensor, pad_rows

from plait.config import registry
from plait.modalities.base import Modality
from plait.modalities.text import networks as text_networks
from plait.modalities.text import word_vectors
from plait.network import EncoderEngine
from plait.nn.base import Encoder
from plait.nn.inception_resnet_v2 import InceptionResNetV2
from plait.types import BadCell, UsageError

SETTINGS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "image": {
        "pixels": [{"size": 32, "patch": 8, "width": 16}],
        "original": [{"size": 32, "views": 2}, {"size": 64}],
        "cnn": [
            {"size": 64, "train": "frozen"},
            {"size": 64, "train": "last-blocks", "blocks": 2, "layer": "block"},
            {"size": 64, "train": "all", "network": "lite1"},
            {"size": 64, "train": "last-blocks", "blocks": 1, "classes": 5},
        ],
        "inception-resnet-v2": [{}],
        "hub": [{"train": "frozen"}, {"train": "all"}],
        "visual-words": [
            {"size": 48, "words": 8, "levels": 2, "width": 16},
            {"size": 64, "words": 5, "keypoints": "detected", "levels": 1, "assign": "hard"},
        ],
    },
    "audio": {
        "spectrogram": [
            {"rate": 8000, "max_seconds": 1.0, "channels": 16, "width": 16},
            {"max_seconds": 0.5, "bands": 30, "trim": True, "normalise": False, "layers": 0},
            {
                "rate": 8000,
                "max_seconds": 0.5,
                "token": 20,
                "sequence_encoder": "transformer",
                "width": 16,
            },
        ],
        "waveform": [
            {"rate": 8000, "max_seconds": 1.0, "channels": 32, "width": 16, "views": 2},
            {"rate": 5000, "max_seconds": 0.5, "channels": 16, "layers": 0, "normalise": False},
        ],
        "mfcc": [
            {"rate": 8000, "max_seconds": 1.0, "channels": 16, "width": 16, "speed": 0.3},
            {"max_seconds": 0.5, "coefficients": 13, "differences": 0, "normalise": False},
            {"rate": 8000, "max_seconds": 0.5, "token": 20, "width": 16},
        ],
        "whisper": [
            {"max_seconds": 0.5, "width": 16, "dropout": 0.0},
            {
                "max_seconds": 1.0,
                "depth": 2,
                "sequence_encoder": "transformer",
                "width": 16,
                "dropout": 0.0,
            },
        ],
        "hub": [
            {"name": name, "max_seconds": 1.0, "train": train}
            for name in ("wav2vec2", "whisper", "ast")
            for train in ("frozen", "all")
        ],
    },
    "series": {
        "sequence": [
            {"sequence_encoder": "gru", "width": 16, "max_steps": 40, "dropout": 0.0},
            {
                "sequence_encoder": "cnn",
                "width": 16,
                "max_steps": 9,
                "strides": [1, 3],
                "differences": False,
            },
            {
                "sequence_encoder": "transformer",
                "width": 16,
                "max_steps": 50,
                "strides": [4],
                "layers": 2,
                "time": 0,
                "rate": 2.0,
                "centre": [0],
            },
        ],
        "windows": [{"windows": 3, "width": 16, "dropout": 0.0}, {"windows": 20}],
    },
    "text": {
        "bag-of-words": [
            {"min_count": 1, "width": 16, "dropout": 0.0},
            {"min_count": 1, "unit": "letters", "min_n": 2, "max_n": 3, "weight": "counts"},
        ],
        "word-sequence": [
            {"sequence_encoder": kind, "layers": 2, "width": 16, "min_count": 1, "dropout": 0.0}
            for kind in ("gru", "cnn", "transformer")
        ]
        + [{"unit": "subwords", "vocabulary": 300, "max_length": 40}]
        + [{"unit": "characters", "lower": False, "min_count": 1, "max_length": 40}],
        "word-vectors": [
            {"sequence_encoder": kind, "max_length": 8, "width": 16, "dropout": 0.0}
            for kind in ("mean", "gru", "cnn", "transformer")
        ]
        + [
            {"vectors": "minilm", "sequence_encoder": kind, "max_length": 8}
            for kind in ("mean", "gru")
        ],
        "hub": [
            {"max_length": 8, "train": train, "tokens": tokens}
            for train in ("frozen", "all")
            for tokens in ("pieces", "text")
        ],
    },
    "table": {
        "columns": [
            {"width": 16, "min_count": 1, "dropout": 0.0},
            {"width": 16, "min_count": 1, "numbers": "periodic", "layers": 0},
            {"width": 16, "min_count": 1, "kinds": {"speed": "category"}, "layers": 2},
        ],
    },
    "video": {
        "frames": [
            {"image": {"kind": "cnn", "size": 32}, "frames": 4, "width": 16, "dropout": 0.0},
            {
                "image": {"kind": "cnn", "size": 32, "train": "last-blocks", "blocks": 1},
                "frames": 3,
                "sequence_encoder": "transformer",
                "width": 16,
                "dropout": 0.0,
                "flip": True,
            },
            {
                "image": {"kind": "pixels", "size": 16, "patch": 8, "width": 16},
                "frames": 3,
                "sequence_encoder": "mean",
                "width": 16,
                "dropout": 0.0,
            },
        ],
        "motion": [
            {"frames": 6, "size": 32, "channels": 32, "width": 16},
            {"frames": 3, "size": 20, "channels": 16, "width": 16, "flip": True},
        ],
    },
}
"""Modality -> representation -> settings to try."""

SEED = 12345
CASES = [
    (modality, name, i)
    for modality, found in SETTINGS.items()
    for name, tried in found.items()
    for i in range(len(tried))
]


def test_every_registered_name_is_here() -> None:
    assert {m: sorted(found) for m, found in SETTINGS.items()} == {
        m: registry.names(m) for m in registry.modalities()
    }


@pytest.fixture(scope="module")
def weights(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, dict[str, str]]]:
    """Settings that name weights: random ones, written here; the shipped model is one of them."""
    import transformers

    folder = tmp_path_factory.mktemp("weights")
    words = ["a", "dogs", "runs", "run", "over", "cat", "sits", "and"]  # "dog" has no vector
    rng = np.random.default_rng(0)
    write_vectors(folder / "words.vec", {word: rng.normal(size=12) for word in words})
    save_bert(folder / "bert", [*words, "dog", "two"])
    torch.manual_seed(0)
    save_file(InceptionResNetV2().state_dict(), folder / "inception.safetensors")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(folder / "vit")
    for name in AUDIO_MODELS:
        save_audio_model(name, folder / name)
    found = {
        "text-word-vectors": {"vectors": str(folder / "words.vec")},
        "text-hub": {"name": str(folder / "bert")},
        "image-inception-resnet-v2": {"weights": str(folder / "inception.safetensors")},
        "image-hub": {"name": str(folder / "vit")},
        **{f"audio-hub-{name}": {"name": str(folder / name)} for name in AUDIO_MODELS},
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (word_vectors, text_networks):
            patch.setattr(module, "minilm_folder", lambda: str(folder / "bert"))
        yield found


def photo(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (40, 48, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def sound(number: int) -> bytes:
    """Of another length and rate each."""
    soundfile = pytest.importorskip("soundfile", reason="needs the extra plait[audio]")
    rng, rate = np.random.default_rng(number), (8000, 16000, 11025)[number]
    samples = rng.normal(0, 0.1, int(rate * (0.3 + 0.3 * number)))
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV")
    return stream.getvalue()


def text(number: int) -> str:
    return ("a dog runs", "two dogs run over a field", "a cat sits and looks")[number]


def series(number: int) -> Any:
    """Of another length each, three channels, and gaps in two of them."""
    rng = np.random.default_rng(number)
    rows = rng.normal(5, 2, (7 + 5 * number, 3))
    rows[:, 0] = np.arange(len(rows))
    rows[2:4, 1], rows[0, 2] = np.nan, np.nan
    return rows.tolist()


def columns(number: int) -> dict[str, Any]:
    """A number, a category and a date; of the last record two are missing."""
    return (
        {"speed": 1.5, "colour": "red", "day": "2024-02-29"},
        {"speed": 3, "colour": "blue", "day": "2024-03-01 06:30"},
        {"speed": 4.25, "colour": None},
    )[number]


def clip(number: int) -> bytes:
    """Of another size and length each."""
    pytest.importorskip("av", reason="needs the extra plait[video]")
    from clips import film

    rng = np.random.default_rng(number)
    size = (3 + 2 * number, 48, 48 + 16 * number, 3)
    return film(rng.integers(0, 255, size).astype(np.uint8))


MAKERS: dict[str, Callable[[int], Any]] = {
    "image": photo,
    "audio": sound,
    "series": series,
    "text": text,
    "table": columns,
    "video": clip,
}

Built = tuple[Modality, Encoder, list[Any]]
"""A fitted modality, its encoder, and three cells."""


SLOW = {"inception-resnet-v2"}  # 54 million weights, made anew for every test
PARAMETERS = [
    pytest.param(case, marks=pytest.mark.slow) if case[1] in SLOW else case for case in CASES
]


MEDIA = [
    parameter
    for parameter, (kind, name, _) in zip(PARAMETERS, CASES, strict=True)
    if registry.find(kind, name).cls.media
]


def case_id(case: tuple[str, str, int]) -> str:
    return "-".join(map(str, case))


@pytest.fixture(params=PARAMETERS, ids=case_id)
def built(request: pytest.FixtureRequest, weights: dict[str, dict[str, str]]) -> Built:
    kind, name, index = request.param
    settings = SETTINGS[kind][name][index]
    if "name" in settings:  # of a tiny model of the hub: its folder
        settings = settings | weights[f"{kind}-{name}-{settings['name']}"]
    settings = weights.get(f"{kind}-{name}", {}) | settings
    modality: Modality = registry.build(kind, {"kind": name, **settings})
    cells = [MAKERS[kind](number) for number in range(3)]
    fitted = modality.with_state(json.loads(json.dumps(modality.fit(cells, Path()))))
    assert not modality.state  # to fit changes nothing
    torch.manual_seed(0)
    return fitted, fitted.encoder(True).eval(), cells


def prepared(built: Built, *which: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L, ...) and the lengths, of some of the three records."""
    modality, encoder, cells = built
    items = [as_tensor(modality.read(cells[number], Path())) for number in which]
    rows = [as_row(features) for features in encoder.prepare(items)]
    return pad_rows(rows, rows[0])


def test_shapes_and_mask(built: Built) -> None:
    encoder = built[1]
    values, lengths = prepared(built, 0, 1, 2)
    lengths[1] = 0
    tokens = encoder(values, lengths)
    assert tokens.values.shape[0] == 3
    assert tokens.values.shape[2] == encoder.width
    assert tokens.values.shape[1] <= encoder.length
    assert tokens.present.tolist() == [True, False, True]
    assert encoder.grid is None or encoder.grid[0] * encoder.grid[1] == encoder.length
    assert bool(torch.isfinite(tokens.values).all())


def test_the_longest_record_has_as_many_tokens_as_is_said(built: Built) -> None:
    modality, encoder, _ = built
    rows = [as_row(f) for f in encoder.prepare([as_tensor(modality.example())])]
    assert encoder(*pad_rows(rows, rows[0])).values.shape[1] == encoder.length


def test_all_absent_is_finite_and_garbage_does_not_matter(built: Built) -> None:
    encoder = built[1]
    values, _ = prepared(built, 0, 1, 2)
    absent = torch.zeros(3, dtype=torch.int64)
    clean = encoder(values, absent)
    assert not bool(clean.mask.any())
    garbage = float("nan") if values.is_floating_point() else 1 << 40
    dirty = encoder(torch.full_like(values, garbage), absent)
    torch.testing.assert_close(dirty.values, clean.values)
    assert bool(torch.isfinite(clean.values).all())


def test_a_record_ignores_its_batch_and_padding(built: Built) -> None:
    encoder = built[1]
    together = encoder(*prepared(built, 0, 1, 2))
    for number in range(3):
        alone = encoder(*prepared(built, number))
        count = alone.mask.shape[1]
        assert together.mask[number].sum() == alone.mask.sum() == count
        torch.testing.assert_close(
            alone.values[0], together.values[number, :count], rtol=1e-3, atol=1e-3
        )


def test_gradients_reach_what_learns_and_nothing_else(built: Built) -> None:
    encoder = built[1]
    encoder.train()
    assert not encoder.trunk.training
    values = encoder(*prepared(built, 0, 1, 2)).values
    learning = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    frozen = {id(p) for p in encoder.trunk.parameters()}
    assert not frozen & {id(p) for p in learning.values()}
    if not learning:
        assert not values.requires_grad
        return
    (values * torch.randn_like(values)).sum().backward()
    for name, parameter in learning.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_the_example_is_what_is_read(built: Built) -> None:
    modality, _, cells = built
    example, item = modality.example(), modality.read(cells[0], Path())
    assert example.shape[1:] == item.shape[1:]
    assert example.dtype == item.dtype
    assert len(example) >= max(len(modality.read(cell, Path())) for cell in cells)


def test_views_are_the_same_each_time(built: Built) -> None:
    modality, _, cells = built
    item = modality.read(cells[0], Path())
    assert np.array_equal(modality.augment(item, 0, SEED), item)
    for view in (1, 2, 3):
        again = modality.augment(item, view, SEED)
        assert again.shape[1:] == item.shape[1:]
        assert 0 < len(again) <= len(modality.example())
        assert again.dtype == item.dtype
        assert np.array_equal(again, modality.augment(item, view, SEED))
        assert not np.array_equal(again, item)


def test_corruptions_are_the_same_each_time_and_grow(built: Built) -> None:
    modality, _, cells = built
    item = modality.read(cells[1], Path())
    for kind in modality.corruptions:
        for strength in range(1, 6):
            worse = modality.corrupt(item, kind, strength)
            assert np.array_equal(worse, modality.corrupt(item, kind, strength))
            assert worse.dtype == item.dtype
            assert worse.shape[1:] == item.shape[1:]
            assert 0 < len(worse) <= len(item)
        assert distance(item, worse) > distance(item, modality.corrupt(item, kind, 1)), kind


def distance(item: NDArray[Any], worse: NDArray[Any]) -> float:
    """How far a record is from another: by its numbers, or by what it lacks."""
    if len(worse) < len(item):
        return float(len(item) - len(worse))
    return float(np.abs(item.astype(float) - worse.astype(float)).mean())


def test_content_names_the_cell(built: Built) -> None:
    modality, _, cells = built
    assert len({modality.content(cell, Path()) for cell in cells}) == 3


def test_a_cell_that_is_sent_is_the_cell(built: Built) -> None:
    """Through JSON, with files as base64, it is read to what it was."""
    modality, _, cells = built
    adapter = TypeAdapter(modality.request_type())
    for cell in cells:
        raw = base64.b64encode(cell).decode() if isinstance(cell, bytes) else cell
        sent = adapter.validate_json(json.dumps(raw).replace("NaN", "null"))
        want, got = (modality.read(c, Path()) for c in (cell, sent))
        assert np.array_equal(got, want)
        assert modality.media_info(sent, Path()) == modality.media_info(cell, Path())
    assert json.loads(json.dumps(adapter.json_schema()))


@pytest.mark.parametrize("built", MEDIA, ids=case_id, indirect=True)
def test_a_path_can_not_be_sent(built: Built, tmp_path: Path) -> None:
    """A file that lies there is not opened by its name, however the name is padded."""
    modality, _, cells = built
    path = tmp_path / "file"
    path.write_bytes(cells[0] if isinstance(cells[0], bytes) else b"1,2,3\n4,5,6\n")
    adapter = TypeAdapter(modality.request_type())
    for name in (str(path), *(f"{path}{'A' * more}" for more in range(1, 4))):
        with pytest.raises((ValidationError, BadCell)):
            modality.read(adapter.validate_python(name), Path())
    with pytest.raises((ValidationError, BadCell)):
        modality.read(adapter.validate_python(path), Path())


def test_samples_can_be_read(built: Built) -> None:
    modality, _, _ = built
    samples = modality.samples()
    fitted = modality.with_state(modality.fit(samples, Path()))
    assert len([fitted.read(cell, Path()) for cell in samples]) >= 2


def test_a_package_s_network_has_the_same_shape(built: Built) -> None:
    """Built without pretrained weights, it takes those of the trained one."""
    modality, encoder, _ = built
    again = modality.encoder(False)
    again.load_state_dict(encoder.state_dict())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_plain_vector_is_made_without_training(built: Built) -> None:
    """Of each record alone, from the same features; or refused, where layers must be trained."""
    modality, usual, _ = built
    learns = any(p.requires_grad for p in usual.parameters())
    own = modality.vector_class != "plait.nn.base.MeanVectors"
    assert own or not modality.classical
    if learns and not own:
        with pytest.raises(UsageError, match="has layers to train, and this fusion trains none"):
            modality.encoder(True, vectors=True)
        return
    encoder = modality.encoder(True, vectors=True).eval()
    assert not any(p.requires_grad for p in encoder.parameters())
    engines = [EncoderEngine({"x": each}, torch.device("cpu")) for each in (usual, encoder)]
    assert engines[0].frozen_digest("x") == engines[1].frozen_digest("x")
    values, lengths = prepared(built, 0, 1, 2)
    together = encoder(values, lengths)
    assert together.values.shape == (3, 1, encoder.width)
    for number in range(3):
        alone = encoder(*prepared(built, number))
        torch.testing.assert_close(alone.values[0], together.values[number], rtol=1e-3, atol=1e-3)
    assert not torch.equal(together.values[0], together.values[1])
    absent = encoder(torch.full_like(values, 7), torch.zeros_like(lengths))
    assert not bool(absent.mask.any())
    assert not bool(absent.values.any())
    again = modality.encoder(False, vectors=True)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again.eval()(values, lengths).values, together.values)


def test_a_layout_says_where_every_token_lies_and_hides_parts(built: Built) -> None:
    modality, encoder, cells = built
    cell = cells[1]
    item, segments = modality.read(cell, Path()), modality.segments(cell, Path())
    tokens = encoder(*prepared(built, 1)).mask.shape[1]
    places = segments.overlap(tokens)
    assert places.shape == (tokens, len(segments.names))
    assert bool((places >= 0).all())
    assert places.sum(axis=1) == pytest.approx(np.ones(tokens))
    everything = np.ones(len(segments.names), bool)
    assert np.array_equal(segments.perturb(everything), item)
    changed = 0
    for number in range(len(segments.names)):
        kept = everything.copy()
        kept[number] = False
        worse = segments.perturb(kept) if kept.any() else item[:0]
        assert worse.dtype == item.dtype
        assert worse.shape[1:] == item.shape[1:]
        assert len(worse) <= len(modality.example())
        changed += len(worse) != len(item) or not np.array_equal(worse, item)
    assert changed >= len(segments.names) / 2
    only = segments.perturb(np.arange(len(segments.names)) == 0)
    if len(only):
        assert all(torch.isfinite(f.float()).all() for f in encoder.prepare([as_tensor(only)]))


def test_a_layout_is_drawn(built: Built) -> None:
    from xml.etree import ElementTree

    modality, _, cells = built
    segments = modality.segments(cells[1], Path())
    weights = np.linspace(-1, 1, len(segments.names))
    drawn = segments.symbol("one") + segments.drawing(weights, "one")
    tree = ElementTree.fromstring(f"<div>{drawn}</div>")  # as HTML is, so that nothing is left open
    tones = [e.get("class") for e in tree.iter() if e.get("class") in ("for", "against")]
    assert len(tones) == len(segments.names)
    assert {"for", "against"} == set(tones) or len(tones) == 1
