"""Stored weights: their size, their error, and that storing them again changes nothing."""

from __future__ import annotations

import pytest
import torch

from plait.package.weights import pack, unpack
from plait.types import Storage

STORAGES: tuple[Storage, ...] = ("float32", "float16", "int8")


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(64, 32, generator=generator) * torch.logspace(-3, 2, 64)[:, None],
        "convolution": torch.randn(48, 8, 3, 3, generator=generator),
        "small": torch.randn(4, 4, generator=generator),
        "vector": torch.randn(5000, generator=generator),
        "empty": torch.empty(0, 3),
        "count": torch.arange(7),
        "zeros": torch.zeros(64, 32),
    }


def size(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


@pytest.mark.parametrize("storage", STORAGES)
def test_storing_them_again_changes_nothing(storage: Storage) -> None:
    once = unpack(pack(weights(), storage))
    again = unpack(pack(once, storage))
    assert list(once) == list(weights())
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_as_they_are() -> None:
    assert all(torch.equal(weights()[n], v) for n, v in unpack(pack(weights(), "float32")).items())


def test_int8_keeps_each_row_to_its_own_step() -> None:
    kept = unpack(pack(weights(), "int8"))
    for name in ("matrix", "convolution", "zeros"):
        rows, found = (w[name].flatten(start_dim=1) for w in (weights(), kept))
        step = rows.abs().amax(dim=1, keepdim=True) / 127
        assert ((rows - found).abs() <= 0.501 * step + 1e-9).all()
    assert not torch.equal(kept["matrix"], weights()["matrix"])
    for name in ("small", "vector"):  # as in float16
        assert torch.equal(kept[name], weights()[name].half().float())
    assert torch.equal(kept["count"], weights()["count"])


def test_the_sizes() -> None:
    matrices = {name: weights()[name] for name in ("matrix", "convolution", "zeros")}
    full, half, whole = (size(pack(matrices, storage)) for storage in STORAGES)
    assert half == full / 2
    assert whole < 0.55 * half


def test_weights_too_large_for_float16_stay_as_they_are() -> None:
    large = {"a": torch.tensor([1e6, 1.2345678]), "b": torch.randn(64, 64)}
    for storage in STORAGES:
        assert all(torch.equal(large[n], v) for n, v in unpack(pack(large, storage)).items())
