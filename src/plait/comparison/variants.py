"""What is compared: a recipe's inputs alone, its fusions, its representations, fewer rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import yaml

from plait.config import registry
from plait.config.recipe import Recipe, check_recipe
from plait.types import UsageError
from plait.util.suggest import did_you_mean

ALL = "all"
HOW = "how"
"""The parameter by which a fusion has several ways."""

JOINT = "joint"
"""The parameter of a fusion that has another one inside."""

Role = Literal["alone", "without", "fused", "rows", "classical"]


@dataclass(frozen=True)
class Variant:
    """One way to learn from the table.

    Attributes:
        name: unique among those compared.
        role: ``alone``: one input; ``without``: all inputs but one; ``fused``: all of them;
            ``rows``: all of them, from fewer training rows; ``classical``: the baseline, which
            takes its inputs from the recipe.
        about: the input that is alone or left out, the number of rows; else empty.
        recipe: what is trained, but for the seed.
        of: the variant that it is, but for the input or the rows that it lacks; else empty.
    """

    name: str
    role: Role
    about: str
    recipe: Recipe
    of: str = ""


def make_variants(
    recipe: Recipe,
    fusions: Sequence[str] = (),
    representations: Mapping[str, Any] | None = None,
    rows: Sequence[int] = (),
) -> list[Variant]:
    """The single inputs first, then all but one, then the fusions, then fewer rows.

    All but one, and fewer rows, have the fusion and the representations of the recipe, or the
    first ones that are tried where the recipe's own are not.

    Args:
        recipe: where everything else comes from.
        fusions: names as ``early.gated``, ``late`` (all its ways) or ``all``; none is the recipe's.
        representations: input -> ``all``, a name or settings, or a list of those; the recipe's own
            where an input is not named.
        rows: numbers of training rows to learn from, beside all of them.

    Raises:
        UsageError: there is no such input, fusion or representation.
    """
    tried = _representations(recipe, representations or {})
    settings = _fusions(recipe, fusions)
    several = len(recipe.inputs) > 1
    fused = list(_fused(recipe, tried, settings))
    # What lacks something is held against the same fusion, or a better one would be its loss.
    whole = next((variant for variant in fused if variant.recipe == recipe), fused[0])
    found = [*_alone(recipe, tried)] if several else []
    if len(recipe.inputs) > 2:
        found += _without(whole)
    return [*found, *fused, *(_of_rows(whole, number) for number in sorted(set(rows)))]


def parse_representations(given: Iterable[str]) -> dict[str, Any]:
    """``audio=all``, ``audio=mfcc,waveform`` or ``audio=[mfcc, {kind: waveform, rate: 8000}]`` ->
    input -> what `make_variants` takes."""
    found = {}
    for item in given:
        name, equals, text = item.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not (equals and name and value):
            raise UsageError(
                f"--representation {item!r} names none",
                expected="INPUT=all, INPUT=NAME,NAME or INPUT=[NAME, {kind: NAME, SETTING: VALUE}]",
            )
        found[name] = value.split(",") if isinstance(value, str) and value != ALL else value
    return found


def _alone(recipe: Recipe, tried: Mapping[str, list[dict[str, Any]]]) -> Iterator[Variant]:
    alone = {"kind": "none", **_same(recipe, "none")}
    for name, choices in tried.items():
        for settings in choices:
            how = _differences({name: choices}, {name: settings})
            changed = _changed(recipe, {name: settings}, alone)
            yield Variant(" ".join([f"{name} alone", *how]), "alone", name, changed)


def _fused(
    recipe: Recipe, tried: Mapping[str, list[dict[str, Any]]], fusions: Mapping[str, dict[str, Any]]
) -> Iterator[Variant]:
    for choice in product(*tried.values()):
        chosen = dict(zip(tried, choice, strict=True))
        how = _differences(tried, chosen)
        for name, fusion in fusions.items():
            title = " ".join([name, *how]) if len(tried) > 1 else " ".join(how) or name
            yield Variant(title, "fused", "", _changed(recipe, chosen, fusion))


def _without(whole: Variant) -> Iterator[Variant]:
    recipe = whole.recipe
    for name in recipe.inputs:
        others = {n: s.representation for n, s in recipe.inputs.items() if n != name}
        changed = _changed(recipe, others, recipe.fusion)
        yield Variant(f"without {name}", "without", name, changed, of=whole.name)


def _of_rows(whole: Variant, number: int) -> Variant:
    data = whole.recipe.model_dump()
    data["data"]["rows"] = number
    return Variant(f"{number} rows", "rows", str(number), check_recipe(data), of=whole.name)


def _changed(
    recipe: Recipe, representations: Mapping[str, dict[str, Any]], fusion: Mapping[str, Any]
) -> Recipe:
    """With these inputs only, in these representations. What learned with an input that is not
    there learns by itself."""
    data = recipe.model_dump()
    gone = {f"inputs.{name}" for name in recipe.inputs if name not in representations}
    for part in (*data["inputs"].values(), *data["outputs"].values()):
        if part["learn_with"] in gone:
            part["learn_with"] = None
    data["inputs"] = {
        name: {**data["inputs"][name], "representation": settings}
        for name, settings in representations.items()
    }
    data["fusion"] = dict(fusion)
    return check_recipe(data)


def _differences(
    tried: Mapping[str, list[dict[str, Any]]], chosen: Mapping[str, dict[str, Any]]
) -> list[str]:
    """``audio=mfcc`` of each input that has several representations; numbered where two of them
    have one name."""
    found = []
    for name, choices in tried.items():
        if len(choices) > 1:
            kinds = [choice["kind"] for choice in choices]
            kind, place = chosen[name]["kind"], choices.index(chosen[name]) + 1
            found.append(f"{name}={kind}" + (f"-{place}" if kinds.count(kind) > 1 else ""))
    return found


def _representations(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Input -> settings to try."""
    for name in given:
        if name not in recipe.inputs:
            raise UsageError(
                f"--representation: there is no input {name!r}",
                expected=f"one of: {', '.join(recipe.inputs)}",
                hint=did_you_mean(name, recipe.inputs),
            )
    found = {}
    for name, spec in recipe.inputs.items():
        own = spec.representation
        wanted = given.get(name, own)
        if wanted == ALL:
            others = [n for n in _buildable(spec.modality) if n != own["kind"]]
            wanted = [own, *others]
        items = wanted if isinstance(wanted, list) else [wanted]
        found[name] = [_as_settings(spec.modality, item, own) for item in items]
    return found


def _as_settings(modality: str, item: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """A name's settings are the recipe's own where it is the recipe's, else the defaults."""
    settings = {"kind": item.strip()} if isinstance(item, str) else item
    if not (isinstance(settings, dict) and isinstance(settings.get("kind"), str)):
        raise UsageError(f"{item!r} is no representation", expected="a name, or kind and settings")
    settings = registry.canonical(modality, settings)
    return dict(own) if settings == {"kind": own["kind"]} else settings


def _buildable(modality: str) -> list[str]:
    """Representations that need no setting."""
    return [
        name
        for name in registry.names(modality)
        if all(
            default is not ... for _, default in registry.find(modality, name).parameters.values()
        )
    ]


def _fusions(recipe: Recipe, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name -> settings, as the recipe has them where they fit."""
    if len(recipe.inputs) == 1:
        return {recipe.name: dict(recipe.fusion)}
    if not names:
        return {_title(recipe.fusion): dict(recipe.fusion)}
    known = {title: s for kind in registry.names("fusion") for title, s in _ways(recipe, kind)}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        fitting = {t: s for t, s in known.items() if name in (ALL, t, t.split(".")[0])}
        if not fitting:
            raise UsageError(
                f"there is no fusion {name!r}",
                expected=f"{ALL}, or of: {', '.join(known)}",
                hint=_meant(name, known),
            )
        found |= fitting
    return found


def _meant(name: str, known: Iterable[str]) -> str:
    """``gated`` may be any fusion's way of that name; otherwise the nearest name."""
    ways = [repr(title) for title in known if title.endswith(f".{name}")]
    if ways:
        return f"did you mean {' or '.join(ways)}?"
    return did_you_mean(name, [*known, *registry.names("fusion")])


def _title(fusion: Mapping[str, Any]) -> str:
    return ".".join([fusion["kind"], *([fusion[HOW]] if HOW in fusion else [])])


def _same(recipe: Recipe, kind: str) -> dict[str, Any]:
    """The settings of the recipe's fusion that another kind has too, but for its way."""
    fields = registry.find("fusion", kind).schema.model_fields
    known = {**recipe.fusion.get(JOINT, {}), **recipe.fusion}
    return {
        key: value for key, value in known.items() if key in fields and key not in ("kind", HOW)
    }


def _ways(recipe: Recipe, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every way of a kind of fusion that takes several inputs. Settings that the recipe's fusion
    has too are kept; a fusion inside it is the recipe's own where that can be."""
    cls: Any = registry.find("fusion", kind).cls
    if not cls.several_inputs:
        return
    fields = cls.model_fields
    own, same = recipe.fusion, _same(recipe, kind)
    own_cls: Any = registry.find("fusion", own["kind"]).cls
    if JOINT in fields and not own_cls.has_branches:
        same[JOINT] = dict(own)
    ways = get_args(fields[HOW].annotation) if HOW in fields else [None]
    for way in ways:
        settings = {"kind": kind, **same, **({HOW: way} if way else {})}
        yield _title(settings), settings
