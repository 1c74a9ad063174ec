"""Networks of the transformers library, by their name on the Hugging Face hub or a local folder."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from plait.nn.hub import (
    FAILURES,
    HubName,
    HubTrain,
    build_extractor,
    check_reachable,
    clearly,
    load_config,
    load_extractor,
    load_json,
    load_processor,
    load_tokenizer,
    transformers,
)
from plait.types import PlaitError, State

__all__ = [
    "FAILURES", "HubName", "HubTrain", "build_extractor", "build_model", "check_reachable",
    "clearly", "load_config", "load_extractor", "load_json", "load_processor", "load_tokenizer",
    "new_cache", "probe", "refuse_missing", "transformers",
]  # fmt: skip


def new_cache(layers: Iterable[tuple[Tensor, Tensor]]) -> Any:
    """transformers' cache, holding the keys and values (N, H, P, Dh) of each layer."""
    cache = transformers().DynamicCache()
    for i, (key, value) in enumerate(layers):
        cache.update(key, value, i)
    return cache


def build_model(kind: str, name: str, config: State, pretrained: bool) -> tuple[Any, set[str]]:
    """A model in float32, and the names of the parameters that its weights file lacks.

    Args:
        kind: transformers' class, such as ``AutoModel``.
        name: read only for pretrained weights.
        config: what `load_config` returned.
        pretrained: load the weights; else they are random, to be overwritten by a package's own.
    """
    library = transformers()
    with clearly(name):
        built = library.CONFIG_MAPPING[config["model_type"]].from_dict(copy.deepcopy(config))
        cls = getattr(library, kind)
        # Eager attention is the one that can return its weights.
        options = {"attn_implementation": "eager"}
        if not pretrained:
            return cls.from_config(built, **options).float(), set()
        model, found = cls.from_pretrained(
            name, config=built, output_loading_info=True, trust_remote_code=False, **options
        )
    return model.float(), set(found["missing_keys"])


def probe(
    module: nn.Module, *trial: Tensor, what: str, expected: str, hint: str
) -> tuple[Tensor, set[int]]:
    """What a module makes of a trial input, and the ``id`` of the parameters it depends on and
    that can learn.

    Raises:
        PlaitError: it can't read the input; ``what``, ``expected`` and ``hint`` say so.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        with torch.enable_grad():
            values = module(*trial)
        found = torch.autograd.grad(values.sum(), parameters, allow_unused=True)
    except (*FAILURES, TypeError, AttributeError, IndexError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise PlaitError(f"{what}: {first}", expected=expected, hint=hint) from None
    used = {id(p) for p, g in zip(parameters, found, strict=True) if g is not None}
    return values.detach(), used


def refuse_missing(name: str, model: nn.Module, missing: set[str], used: set[int]) -> None:
    """Never go on from weights that were to be pretrained and are random.

    Args:
        name: the model's name, for the message.
        model: the whole model.
        missing: names that the weights file lacks.
        used: ``id`` of the parameters that matter.
    """
    lacking = [n for n, p in model.named_parameters() if n in missing and id(p) in used]
    if lacking:
        raise PlaitError(
            f"the weights of {name!r} lack {len(lacking)} parameters, such as {lacking[0]}",
            expected="a checkpoint of the whole model",
        )
