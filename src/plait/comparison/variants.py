"""What is compared: a recipe's inputs alone, its fusions, its representations, fewer rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias, get_args

import yaml

from plait.config import registry
from plait.config.recipe import Recipe, check_recipe
from plait.types import UsageError
from plait.util.suggest import did_you_mean

ALL = "all"
HOW = "how"
"""The setting by which a kind of fusion has several ways."""

JOINT = "joint"
"""The setting of a fusion that contains another one."""

Role = Literal["alone", "without", "fused", "rows", "classical"]
Settings: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One way to learn from the table, by its role in the comparison.

    ``alone``: one input; ``without``: all inputs but one; ``fused``: all inputs; ``rows``: all
    inputs, with fewer training rows; ``classical``: the baseline, a linear model of the same
    inputs.
    """

    name: str  # unique within a comparison
    role: Role
    about: str  # the input that is alone or left out, or the number of rows
    recipe: Recipe  # what is trained, apart from the seed
    of: str = ""  # name of the variant from which an input or rows were taken away


def make_variants(
    recipe: Recipe,
    fusions: Sequence[str] = (),
    representations: Mapping[str, Any] | None = None,
    rows: Sequence[int] = (),
) -> list[Variant]:
    """The single inputs, all but one, the fusions, and fewer rows, in this order.

    "All but one" and "fewer rows" use the recipe's fusion and representations, or, where these are
    not among those tried, the first that are.

    Args:
        recipe: provides everything else.
        fusions: names such as ``early.gated``, ``late`` (all its ways) or ``all``; the recipe's own
            if empty.
        representations: input -> ``all``, a name or settings, or a list of those; the recipe's own
            for inputs that are not named.
        rows: numbers of training rows to learn from, besides all of them.

    Raises:
        UsageError: there is no such input, fusion or representation.
    """
    tried = _representations(recipe, representations or {})
    alone = [
        Variant(
            " ".join([f"{name} alone", *_differences({name: choices}, {name: settings})]),
            "alone",
            name,
            _changed(recipe, {name: settings}, {"kind": "none", **_shared(recipe, "none")}),
        )
        for name, choices in tried.items()
        for settings in choices
        if len(tried) > 1
    ]
    fused = list(_fused(recipe, tried, _fusions(recipe, fusions)))
    # What lacks something is compared with the same fusion, so that only the lack counts.
    full = next((variant for variant in fused if variant.recipe == recipe), fused[0])
    own = {name: spec.representation for name, spec in full.recipe.inputs.items()}
    without = [
        Variant(
            f"without {name}",
            "without",
            name,
            _changed(full.recipe, {n: r for n, r in own.items() if n != name}, full.recipe.fusion),
            of=full.name,
        )
        for name in own
        if len(own) > 2
    ]
    fewer = []
    for number in sorted(set(rows)):
        changed = full.recipe.model_dump()
        changed["data"]["rows"] = number
        name, learned = f"{number} rows", check_recipe(changed)
        fewer.append(Variant(name, "rows", str(number), learned, of=full.name))
    return [*alone, *without, *fused, *fewer]


def parse_representations(given: Iterable[str]) -> dict[str, Any]:
    """``audio=all``, ``audio=mfcc,waveform`` or ``audio=[mfcc, {kind: waveform, rate: 8000}]`` ->
    input -> what `make_variants` takes."""
    parsed = {}
    for item in given:
        name, equals, text = item.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if not (equals and name and value):
            raise UsageError(
                f"--representation {item!r} names no representation",
                expected="INPUT=all, INPUT=NAME,NAME or INPUT=[NAME, {kind: NAME, SETTING: VALUE}]",
            )
        parsed[name] = value.split(",") if isinstance(value, str) and value != ALL else value
    return parsed


def _fused(
    recipe: Recipe, tried: Mapping[str, list[Settings]], fusions: Mapping[str, Settings]
) -> Iterator[Variant]:
    for choice in product(*tried.values()):
        chosen = dict(zip(tried, choice, strict=True))
        differences = _differences(tried, chosen)
        for name, fusion in fusions.items():
            parts = [name, *differences] if len(tried) > 1 or not differences else differences
            yield Variant(" ".join(parts), "fused", "", _changed(recipe, chosen, fusion))


def _changed(
    recipe: Recipe, representations: Mapping[str, Settings], fusion: Mapping[str, Any]
) -> Recipe:
    """The recipe with these inputs only, in these representations. What learned together with an
    input that is gone learns by itself."""
    data = recipe.model_dump()
    gone = {f"inputs.{name}" for name in recipe.inputs if name not in representations}
    for part in (*data["inputs"].values(), *data["outputs"].values()):
        if part["fit_with"] in gone:
            part["fit_with"] = None
    data["inputs"] = {
        name: {**data["inputs"][name], "representation": settings}
        for name, settings in representations.items()
    }
    data["fusion"] = dict(fusion)
    return check_recipe(data)


def _differences(tried: Mapping[str, list[Settings]], chosen: Mapping[str, Settings]) -> list[str]:
    """``audio=mfcc`` for each input that has several representations; numbered where two of these
    have the same name."""
    differences = []
    for name, choices in tried.items():
        if len(choices) > 1:
            kinds = [choice["kind"] for choice in choices]
            kind, place = chosen[name]["kind"], choices.index(chosen[name]) + 1
            differences.append(f"{name}={kind}" + (f"-{place}" if kinds.count(kind) > 1 else ""))
    return differences


def _representations(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, list[Settings]]:
    """Input -> settings to try."""
    for name in given:
        if name not in recipe.inputs:
            raise UsageError(
                f"--representation: there is no input {name!r}",
                expected=f"one of: {', '.join(recipe.inputs)}",
                hint=did_you_mean(name, recipe.inputs),
            )
    tried = {}
    for name, spec in recipe.inputs.items():
        own, modality = spec.representation, spec.modality
        items = given.get(name, own)
        if items == ALL:
            fields = {n: registry.find(modality, n).cls.model_fields.values()
                      for n in registry.names(modality) if n != own["kind"]}  # fmt: skip
            items = [own, *(n for n in fields if not any(f.is_required() for f in fields[n]))]
        items = items if isinstance(items, list) else [items]
        tried[name] = [_as_settings(modality, item, own) for item in items]
    return tried


def _as_settings(modality: str, item: Any, own: Mapping[str, Any]) -> Settings:
    """The settings of a name: the recipe's own where it has this representation, else the
    defaults."""
    settings = {"kind": item.strip()} if isinstance(item, str) else item
    if not (isinstance(settings, dict) and isinstance(settings.get("kind"), str)):
        raise UsageError(
            f"{item!r} is not a representation", expected="a name, or kind and settings"
        )
    settings = registry.canonical(modality, settings)
    return dict(own) if settings == {"kind": own["kind"]} else settings


def _fusions(recipe: Recipe, names: Sequence[str]) -> dict[str, Settings]:
    """Name -> settings, the recipe's own where they apply."""
    if len(recipe.inputs) == 1:
        return {recipe.name: dict(recipe.fusion)}
    if not names:
        return {_title(recipe.fusion): dict(recipe.fusion)}
    known = {title: s for kind in registry.names("fusion") for title, s in _ways(recipe, kind)}
    chosen: dict[str, Settings] = {}
    for name in names:
        fitting = {t: s for t, s in known.items() if name in (t, s["kind"])}
        if name == ALL:  # what is fitted at once can't train the inputs' networks
            fitting = {t: s for t, s in known.items() if not _component(s["kind"]).fitted_at_once}
        if not fitting:
            # ``gated`` may be any fusion's way of that name.
            ways = [repr(title) for title in known if title.endswith(f".{name}")]
            raise UsageError(
                f"there is no fusion {name!r}",
                expected=f"{ALL}, or one of: {', '.join(known)}",
                hint=f"did you mean {' or '.join(ways)}?"
                if ways
                else did_you_mean(name, [*known, *registry.names("fusion")]),
            )
        chosen |= fitting
    return chosen


def _component(kind: str) -> Any:
    return registry.find("fusion", kind).cls


def _title(fusion: Mapping[str, Any]) -> str:
    return f"{fusion['kind']}.{fusion[HOW]}" if HOW in fusion else str(fusion["kind"])


def _shared(recipe: Recipe, kind: str) -> Settings:
    """The settings of the recipe's fusion that another kind has too, except for its way."""
    fields = _component(kind).model_fields
    own = {**recipe.fusion.get(JOINT, {}), **recipe.fusion}
    return {key: value for key, value in own.items() if key in fields and key not in ("kind", HOW)}


def _ways(recipe: Recipe, kind: str) -> Iterator[tuple[str, Settings]]:
    """Title and settings of every way of a kind of fusion that takes several inputs. Settings that
    the recipe's fusion has too are kept; a fusion inside it is the recipe's own where possible."""
    cls = _component(kind)
    if not cls.several_inputs:
        return
    fields = cls.model_fields
    shared = _shared(recipe, kind)
    own = _component(recipe.fusion["kind"])
    if JOINT in fields and not own.has_branches:
        shared[JOINT] = dict(recipe.fusion)
    for way in get_args(fields[HOW].annotation) if HOW in fields else [None]:
        settings = {"kind": kind, **shared, **({HOW: way} if way else {})}
        yield _title(settings), settings
