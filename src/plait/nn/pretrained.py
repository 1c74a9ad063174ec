"""Networks of the transformers library, by their name on the Hugging Face Hub or a local folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from plait.nn.hub import FAILURES, REVISION, clearly, read_pretrained, transformers
from plait.types import PlaitError, State
from plait.util.files import located

M = TypeVar("M", bound=nn.Module)


def new_cache(layers: Iterable[tuple[Tensor, Tensor]]) -> Any:
    """transformers' cache, holding the keys and values (N, H, P, Dh) of each layer."""
    cache = transformers().DynamicCache()
    for i, (key, value) in enumerate(layers):
        cache.update(key, value, i)
    return cache


def build_model(
    kind: str,
    name: str,
    config: State,
    pretrained: bool,
    dtype: torch.dtype = torch.float32,
    attention: str | None = "eager",
) -> tuple[Any, set[str]]:
    """A model, and the names of the parameters that its weights file lacks.

    Args:
        kind: transformers' class, such as ``AutoModel``.
        name: read only for pretrained weights.
        config: what `load_config` returned.
        pretrained: load the weights; else they are random, to be overwritten by a package's own.
        dtype: of the weights.
        attention: transformers' implementation of it; eager is the one that can return its weights;
            None: the library's choice.
    """
    library = transformers()
    with clearly(name):
        plain = {key: copy.deepcopy(value) for key, value in config.items() if key != REVISION}
        built = library.CONFIG_MAPPING[config["model_type"]].from_dict(plain)
        cls = getattr(library, kind)
        options = {} if attention is None else {"attn_implementation": attention}
        if not pretrained:
            return cls.from_config(built, **options).to(dtype), set()
    model, info = read_pretrained(
        cls, pinned(name, config), config=built, dtype=dtype, output_loading_info=True, **options
    )
    return model.to(dtype), set(info["missing_keys"])


def pinned(name: str, config: State) -> str:
    """The name with the commit that the architecture is of, if it is known: a branch may have moved
    since."""
    return f"{located(name)[0]}@{config[REVISION]}" if REVISION in config else name


def build_features(
    name: str,
    config: State,
    pretrained: bool,
    wrap: Callable[[Any], M],
    trial: tuple[Tensor, ...],
    what: str,
    expected: str,
    hint: str,
    kind: str = "AutoModel",
) -> tuple[M, Tensor]:
    """A module round a model, in evaluation mode, and its result of a trial input.

    Only the parameters that the result depends on can learn: a pooler or the vector of a mask has
    nothing to learn here.

    Args:
        name, config, pretrained: as for `build_model`.
        wrap: makes the module of the model.
        trial: its arguments.
        what, expected, hint: of the error where the module can't read the trial.
        kind: as for `build_model`.

    Raises:
        PlaitError: the module can't read the trial, or the weights lack some.
    """
    model, missing = build_model(kind, name, config, pretrained)
    features = wrap(model).eval()
    parameters = [parameter for parameter in features.parameters() if parameter.requires_grad]
    try:
        with torch.enable_grad():
            values = features(*trial)
        found = torch.autograd.grad(values.sum(), parameters, allow_unused=True)
    except (*FAILURES, TypeError, AttributeError, IndexError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise PlaitError(f"{what}: {first}", expected=expected, hint=hint) from None
    used = {id(p) for p, g in zip(parameters, found, strict=True) if g is not None}
    refuse_missing(name, model, missing, used)
    for parameter in features.parameters():
        parameter.requires_grad_(id(parameter) in used)
    return features, values.detach()


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
