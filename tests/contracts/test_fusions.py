"""What holds for every registered fusion, with any subset of its inputs."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from plait.config import registry
from plait.config.recipe import ALIASES
from plait.fusion.base import Fusion
from plait.fusion.networks import FusionNetwork
from plait.types import Fused, Tokens

WIDTH, B = 16, 4
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "linear": [{}],
    "none": [{}],
    "early": [
        {"how": how, "heads": 2, "layers": 2, "dropout": 0.0}
        for how in ("concat", "gated", "tensor", "attention", "bottleneck")
    ],
    "late": [{"how": how} for how in ("mean", "learned", "stacking")],
    "hybrid": [{"joint": {"kind": "early", "how": "gated", "width": WIDTH}}],
}
INPUTS = {"none": ("a",)}
WITHOUT_WIDTH = {"hybrid", "linear"}
CASES = [(name, i) for name, found in SETTINGS.items() for i in range(len(found))]
LENGTHS = {"a": 5, "b": 3, "c": 1}


def test_every_registered_name_is_here() -> None:
    assert sorted(SETTINGS) == registry.names("fusion")


def test_old_names_of_settings_lead_to_new_ones() -> None:
    places = {at: new for at, new in ALIASES.items() if at.startswith("fusion/")}
    assert places["fusion/hybrid"]["own"] == "branch_loss_weight"
    for place, names in places.items():
        fields = registry.find("fusion", place.removeprefix("fusion/")).cls.model_fields  # type: ignore[attr-defined]
        assert set(names.values()) <= set(fields)
        assert not set(names) & set(fields)


Built = tuple[FusionNetwork, tuple[str, ...]]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def built(request: pytest.FixtureRequest) -> Built:
    name, index = request.param
    torch.manual_seed(0)
    names = INPUTS.get(name, ("a", "b", "c"))
    width = {} if name in WITHOUT_WIDTH else {"width": WIDTH}
    settings = {"kind": name, **width, **SETTINGS[name][index]}
    fusion: Fusion = registry.build("fusion", settings)
    network = fusion.network(names).eval()
    adapters(network, names)  # by which a fusion may learn its width
    assert network.branches == fusion.branches(names)
    assert (network.branches is not None) == fusion.has_branches
    return network, names


def adapters(fusion: FusionNetwork, names: tuple[str, ...]) -> dict[str, Any]:
    """What stands before the fusion, for encoders of one width."""
    encoders: Any = {n: SimpleNamespace(width=WIDTH, length=LENGTHS[n]) for n in names}
    return {name: adapter.eval() for name, adapter in fusion.adapters(encoders, 0.0).items()}


def parts(
    fusion: FusionNetwork, names: tuple[str, ...], absent: tuple[str, ...] = (),
    garbage: float = 0.0,
) -> dict[str, Tokens]:  # fmt: skip
    """Tokens as the adapters give them: an absent input shows one token, "missing"."""
    found = {}
    for name in names:
        generator = torch.Generator().manual_seed(ord(name))
        length, width = (1, WIDTH + 1) if fusion.takes_vectors else (LENGTHS[name], WIDTH)
        values = torch.randn(B, length, width, generator=generator)
        mask = torch.ones(B, length, dtype=torch.bool)
        mask[0, 1:] = False  # a record of one token
        if name in absent:
            mask[:, 1:] = False
            values[:, 0] = 0.5
        found[name] = Tokens(torch.where(mask[..., None], values, garbage), mask)
    return found


def numbers(fused: Fused) -> torch.Tensor:
    """All that an output can see: pooled, the tokens under their mask, and so each branch."""
    tokens = fused.tokens.values * fused.tokens.mask[..., None]
    seen = [fused.pooled, tokens.flatten(1), *map(numbers, fused.branches.values())]
    return torch.cat(seen if fused.weights is None else [*seen, fused.weights], dim=1)


def there(names: tuple[str, ...], absent: tuple[str, ...] = (), b: int = B) -> dict[str, Tensor]:
    return {name: torch.full((b,), name not in absent) for name in names}


def test_shapes(built: Built) -> None:
    fusion, names = built
    fused = fusion(parts(fusion, names), there(names))
    assert fused.pooled.shape == (B, fusion.width)
    assert fused.tokens.values.shape[0] == B
    assert fused.tokens.values.shape[2] == fusion.width
    assert bool(fused.tokens.mask.any(dim=1).all())  # there is always something to look at
    assert set(fused.parts) == set(names)


def test_finite_with_any_subset_and_garbage_changes_nothing(built: Built) -> None:
    fusion, names = built
    for flags in product([False, True], repeat=len(names)):
        absent = tuple(name for name, flag in zip(names, flags, strict=True) if flag)
        clean = numbers(fusion(parts(fusion, names, absent), there(names, absent)))
        assert bool(torch.isfinite(clean).all())
        torch.testing.assert_close(
            clean, numbers(fusion(parts(fusion, names, absent, 1e3), there(names, absent)))
        )


def test_a_record_ignores_its_batch(built: Built) -> None:
    fusion, names = built
    whole = parts(fusion, names)
    alone = {n: Tokens(t.values[1:2], t.mask[1:2]) for n, t in whole.items()}
    together = numbers(fusion(whole, there(names)))[1]
    torch.testing.assert_close(numbers(fusion(alone, there(names, b=1)))[0], together)


def test_gradients_reach_every_weight_and_every_input(built: Built) -> None:
    fusion, names = built
    given = parts(fusion, names)
    for tokens in given.values():
        tokens.values.requires_grad_(True)
    found = numbers(fusion.train()(given, there(names)))
    (found * torch.randn_like(found)).sum().backward()
    for name, tokens in given.items():
        assert tokens.values.grad is not None, name
        assert bool((tokens.values.grad[tokens.mask] != 0).any(dim=-1).all()), name
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_an_adapter_s_missing_token_is_what_fusion_sees(built: Built) -> None:
    """One learned token stands for an absent input, whatever lies in its row."""
    fusion, names = built
    lengths = {n: 1 if fusion.takes_vectors else LENGTHS[n] for n in names}
    before = {
        n: Tokens(torch.randn(B, length, WIDTH), torch.zeros(B, length, dtype=torch.bool))
        for n, length in lengths.items()
    }
    each = adapters(fusion, names)
    fused = fusion({n: each[n](t) for n, t in before.items()}, there(names, names))
    assert bool(torch.isfinite(numbers(fused)).all())
    torch.testing.assert_close(numbers(fused)[0], numbers(fused)[1])


def test_a_branch_sees_its_input_alone_and_counts_only_where_it_is(built: Built) -> None:
    fusion, names = built
    fused = fusion(parts(fusion, names, ("a",)), there(names, ("a",)))
    if fusion.branches is None:
        assert not fused.branches
        assert fused.weights is None
        return
    assert tuple(fused.branches) == fusion.branches.names
    assert fused.weights is not None
    torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(B))
    counts = dict(zip(fused.branches, fused.weights.unbind(dim=1), strict=True))
    for name in set(names) & set(fused.branches):
        assert list(fused.branches[name].parts) == [name]
        assert bool((counts[name] == 0).all()) == (name == "a")


@pytest.mark.parametrize("how", ["attention", "bottleneck"])
def test_an_input_may_be_called_as_torch_calls_its_own(how: str) -> None:
    names = ("type", "values", "training")
    fusion = registry.build("fusion", {"kind": "early", "how": how, "width": WIDTH}).network(names)
    tokens = Tokens(torch.ones(B, 2, WIDTH), torch.ones(B, 2, dtype=torch.bool))
    assert fusion(dict.fromkeys(names, tokens), there(names)).pooled.shape == (B, WIDTH)
