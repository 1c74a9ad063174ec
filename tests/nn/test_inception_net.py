"""Inception-ResNet-v2: its shape and size are Keras', and its weights are found by name and place.

That the maps equal Keras' is shown by benchmarks/inception_parity.py, which needs TensorFlow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from plait.nn.inception_resnet_v2 import (
    CHANNELS,
    GRID,
    INPUT_SIZE,
    NUMBERED,
    InceptionResNetV2,
    ShiftNorm,
    keras_layers,
    load_weights,
)
from plait.types import PlaitError

pytestmark = pytest.mark.slow

# What keras.applications.InceptionResNetV2(include_top=False).summary() prints.
KERAS_TRAINABLE, KERAS_FROZEN = 54_276_192, 60_544

Write = Callable[[Any, str, Tensor], None]


@pytest.fixture(scope="module")
def net() -> InceptionResNetV2:
    """A net whose every entry is random, the running statistics too."""
    torch.manual_seed(0)
    net = InceptionResNetV2().eval()
    for value in net.state_dict().values():
        value.copy_(torch.rand_like(value))
    return net


@pytest.fixture(scope="module")
def other() -> InceptionResNetV2:
    """A second net, to be overwritten by each test."""
    return InceptionResNetV2().eval()


@pytest.fixture
def h5py() -> Any:
    return pytest.importorskip("h5py", reason="needs the extra plait[keras]")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for files of 200 MB, emptied after the test (pytest keeps tmp_path for a while)."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def in_keras_order(value: Tensor) -> Tensor:
    """(C_out, C_in, H, W) -> (H, W, C_in, C_out); vectors stay as they are."""
    return value.permute(2, 3, 1, 0) if value.ndim == 4 else value


def write_values(group: Any, name: str, value: Tensor) -> None:
    group.create_dataset(name, data=in_keras_order(value).contiguous().numpy())


def write_first(group: Any, name: str, value: Tensor) -> None:
    """Only the first number, everywhere: such a data set takes no room in the file."""
    shape = tuple(in_keras_order(value).shape)
    group.create_dataset(name, shape, "f4", chunks=shape, fillvalue=value.flatten()[0].item())


def write_keras(file: Any, net: InceptionResNetV2, first: int, write: Write) -> None:
    """Writes the net as Keras does: LAYER/LAYER/WEIGHT:0, nameless layers counted from first."""
    state = net.state_dict()
    for name, (layer, weight) in keras_layers(net).items():
        if match := NUMBERED.fullmatch(layer):
            number = first + int(match[2] or 0)
            layer = f"{match[1]}_{number}" if number else match[1]
        write(file, f"{layer}/{layer}/{weight}:0", state[name])
    file.create_group("mixed_5b")  # layers without weights have an empty group
    file.attrs["layer_names"] = sorted(file)


def test_shape() -> None:
    net = InceptionResNetV2().eval()
    with torch.inference_mode():
        features = net(torch.rand(1, 3, INPUT_SIZE, INPUT_SIZE) * 2 - 1)
    assert features.shape == (1, CHANNELS, GRID, GRID)
    assert features.dtype == torch.float32
    assert features.min() >= 0


def test_as_many_weights_as_keras(net: InceptionResNetV2) -> None:
    assert sum(value.numel() for value in net.parameters()) == KERAS_TRAINABLE
    assert sum(value.numel() for value in net.buffers()) == KERAS_FROZEN
    assert KERAS_TRAINABLE + KERAS_FROZEN == 54_336_736


def test_norm_by_hand() -> None:
    norm = ShiftNorm(1).eval()
    with torch.no_grad():
        norm.beta.fill_(0.5)
        norm.mean.fill_(1.0)
        norm.variance.fill_(0.249)  # with epsilon 0.001: 0.25
    assert norm(torch.full((1, 1, 1, 1), 3.0)).item() == pytest.approx((3 - 1) / 0.5 + 0.5)


def test_every_weight_has_one_place_in_keras(net: InceptionResNetV2) -> None:
    places = keras_layers(net)
    assert places.keys() == net.state_dict().keys()
    assert len(set(places.values())) == len(places) == 896
    # Spot checks against the layer numbers and kernels of Keras' summary.
    assert places["stem.0.conv.weight"] == ("conv2d", "kernel")
    assert places["block35.0.up.bias"] == ("block35_1_conv", "bias")
    assert places["block8.9.mixed.branches.1.2.norm.variance"] == (
        "batch_normalization_202",
        "moving_variance",
    )
    assert places["conv_7b.norm.beta"] == ("conv_7b_bn", "beta")


def test_keras_round_trip(
    net: InceptionResNetV2, other: InceptionResNetV2, folder: Path, h5py: Any
) -> None:
    with h5py.File(folder / "keras.h5", "w") as file:
        write_keras(file, net, 1, write_values)  # Keras' published file counts from 1
    load_weights(other, folder / "keras.h5")
    torch.testing.assert_close(other.state_dict(), net.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(("group", "first"), [("/", 0), ("/", 300), ("model_weights", 0)])
def test_numbering_may_begin_anywhere(
    net: InceptionResNetV2,
    other: InceptionResNetV2,
    tmp_path: Path,
    h5py: Any,
    group: str,
    first: int,
) -> None:
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        write_keras(file.require_group(group), net, first, write_first)
    load_weights(other, tmp_path / "keras.h5")
    wanted = net.state_dict()
    for name, value in other.state_dict().items():
        first_number = wanted[name].flatten()[0]
        assert bool((value == first_number).all()), name


def test_safetensors_round_trip(
    net: InceptionResNetV2, other: InceptionResNetV2, folder: Path
) -> None:
    save_file(net.state_dict(), folder / "net.safetensors")
    load_weights(other, str(folder / "net.safetensors"))
    torch.testing.assert_close(other.state_dict(), net.state_dict(), rtol=0, atol=0)


def drop_layer(file: Any) -> None:
    del file["batch_normalization_7"]


def add_layer(file: Any) -> None:
    file.create_dataset("conv2d_203/conv2d_203/kernel:0", (1, 1, 2, 2), "f4")


def reshape_layer(file: Any) -> None:
    del file["conv_7b/conv_7b/kernel:0"]
    file.create_dataset("conv_7b/conv_7b/kernel:0", (1, 1, 2, 2), "f4")


def spoil_layer(file: Any) -> None:
    file["conv_7b_bn/conv_7b_bn/beta:0"][3] = float("nan")


def rename_layer(file: Any) -> None:
    file.move("conv_7b", "top_conv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_layer, "another network"),
        (add_layer, r"unknown 1: conv2d_203/kernel"),
        (reshape_layer, r"conv_7b\.conv\.weight is \(2, 2, 1, 1\)"),
        (spoil_layer, r"damaged \(conv_7b\.norm\.beta"),
        (rename_layer, "no conv_7b"),
    ],
)
def test_wrong_keras_file(
    net: InceptionResNetV2,
    tmp_path: Path,
    h5py: Any,
    change: Callable[[Any], None],
    message: str,
) -> None:
    path = tmp_path / "keras.h5"
    with h5py.File(path, "w") as file:
        write_keras(file, net, 0, write_first)
        change(file)
    before = net.state_dict()["stem.0.conv.weight"].clone()
    with pytest.raises(PlaitError, match=message):
        load_weights(net, path)
    assert torch.equal(net.state_dict()["stem.0.conv.weight"], before)  # nothing half-loaded


def test_keras_3_weights_file_names_the_mend(
    net: InceptionResNetV2, tmp_path: Path, h5py: Any
) -> None:
    with h5py.File(tmp_path / "net.weights.h5", "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (3, 3, 3, 32), "f4")
    with pytest.raises(PlaitError, match=r"model\.save\('NAME\.h5'\)"):
        load_weights(net, tmp_path / "net.weights.h5")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.h5", None, "does not exist"),
        ("net.bin", b"x", "ends in '.bin'"),
        ("net.safetensors", b"", "cannot be read"),
        ("net.safetensors", b"no safetensors at all", "cannot be read"),
        ("net.h5", b"", "cannot be read as HDF5"),
        ("net.h5", b"no HDF5 at all", "cannot be read as HDF5"),
    ],
)
def test_bad_file(
    net: InceptionResNetV2, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if name.endswith(".h5") and content is not None:
        pytest.importorskip("h5py", reason="needs the extra plait[keras]")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PlaitError, match=message) as caught:
        load_weights(net, tmp_path / name)
    assert str(tmp_path / name) in caught.value.what
    assert caught.value.expected
    assert caught.value.hint


def test_truncated_keras_file(net: InceptionResNetV2, tmp_path: Path, h5py: Any) -> None:
    path = tmp_path / "keras.h5"
    with h5py.File(path, "w") as file:
        write_keras(file, net, 0, write_first)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PlaitError, match="cannot be read as HDF5"):
        load_weights(net, path)


def test_directory(net: InceptionResNetV2, tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="is a directory"):
        load_weights(net, tmp_path)


def test_safetensors_of_another_network(net: InceptionResNetV2, tmp_path: Path) -> None:
    save_file({"conv_7b.norm.beta": torch.zeros(3)}, tmp_path / "net.safetensors")
    with pytest.raises(PlaitError, match="another network"):
        load_weights(net, tmp_path / "net.safetensors")


def test_without_h5py(
    net: InceptionResNetV2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.h5").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[keras\]'"):
        load_weights(net, tmp_path / "net.h5")
