"""What is compared, by name."""

from __future__ import annotations

import pytest

from plait.comparison.variants import make_variants, parse_representations
from plait.config.recipe import load_recipe
from plait.types import UsageError


def test_the_recipe_alone() -> None:
    found = make_variants(load_recipe("digits"))
    assert [v.role for v in found] == ["alone", "alone", "fused"]
    assert [list(v.recipe.inputs) for v in found] == [["audio"], ["image"], ["audio", "image"]]
    assert found[0].recipe.fusion["kind"] == "none"
    assert found[2].recipe == load_recipe("digits")


def test_a_single_input_keeps_the_width() -> None:
    for fusion in ("{kind: late, width: 48}", "{kind: hybrid, joint: {kind: early, width: 48}}"):
        variants = make_variants(load_recipe("digits", [f"fusion={fusion}"]), [])
        alone = [v.recipe.fusion for v in variants if v.role == "alone"]
        assert alone == [{"kind": "none", "width": 48}] * 2


def test_all_fusions_keep_the_width() -> None:
    recipe = load_recipe("digits", ["fusion={kind: early, how: gated, width: 48, dropout: 0.4}"])
    found = {v.name: v.recipe.fusion for v in make_variants(recipe, ["all"]) if v.role == "fused"}
    assert set(found) == {
        "early.concat", "early.gated", "early.tensor", "early.attention", "early.bottleneck",
        "late.mean", "late.learned", "late.stacking", "hybrid",
    }  # fmt: skip
    assert found["early.gated"] == recipe.fusion
    assert found["early.concat"]["dropout"] == 0.4
    assert found["late.mean"]["width"] == 48
    assert found["hybrid"]["joint"] == recipe.fusion


def test_representations_and_fusions_in_all_combinations() -> None:
    given = parse_representations(["audio=[mfcc, {kind: mfcc, rate: 8000}]", "image=cnn,pixels"])
    found = make_variants(load_recipe("digits"), ["late.mean", "hybrid"], given)
    names = [v.name for v in found]
    assert len(set(names)) == len(names) == 2 + 2 + 2 * 2 * 2
    assert "audio alone audio=mfcc-2" in names
    own = next(v for v in found if v.name == "image alone image=pixels")
    assert own.recipe.inputs["image"] == load_recipe("digits").inputs["image"]  # its own settings


def test_all_representations_but_those_that_need_a_name() -> None:
    found = make_variants(load_recipe("sentiment"), (), {"text": "all"})
    alone = [v.recipe.inputs["text"] for v in found if (v.role, v.about) == ("alone", "text")]
    kinds = {spec.representation["kind"] for spec in alone}
    assert kinds == {"bag-of-words", "word-sequence", "word-vectors"}


def test_three_inputs_are_left_out_one_at_a_time() -> None:
    recipe = load_recipe("sentiment")
    left_out = {
        v.about: list(v.recipe.inputs) for v in make_variants(recipe) if v.role == "without"
    }
    assert left_out == {
        "text": ["words", "image"], "words": ["text", "image"], "image": ["text", "words"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tried", "of"),
    [
        ([], "early.concat image=cnn"),
        (["late.mean", "all"], "early.concat image=cnn"),
        (["late", "hybrid"], "late.mean image=pixels"),
    ],
)
def test_what_lacks_something_is_but_for_that_the_variant_that_it_names(
    tried: list[str], of: str
) -> None:
    recipe = load_recipe("sentiment", ["fusion={kind: early, how: concat}"])
    found = {v.name: v for v in make_variants(recipe, tried, {"image": ["pixels", "cnn"]}, [100])}
    whole = found[of]
    for name in ("without text", "without words", "100 rows"):
        assert found[name].of == of
        assert found[name].recipe.fusion == whole.recipe.fusion
        assert found[name].recipe.inputs["image"] == whole.recipe.inputs["image"]


def test_fewer_rows() -> None:
    found = [v for v in make_variants(load_recipe("digits"), rows=[300, 100]) if v.role == "rows"]
    assert [(v.name, v.recipe.data.rows) for v in found] == [("100 rows", 100), ("300 rows", 300)]


@pytest.mark.parametrize(
    ("fusions", "representations", "message"),
    [
        (["erly"], {}, "did you mean 'early"),
        (["gated"], {}, r"did you mean 'early.gated'\?"),
        (["mean"], {}, r"did you mean 'late.mean'\?"),
        ([], {"sound": "all"}, "there is no input 'sound'"),
        ([], {"audio": "mfc"}, "did you mean 'mfcc'"),
        ([], {"audio": 3}, "3 is not a representation"),
    ],
)
def test_mistakes(fusions: list[str], representations: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_variants(load_recipe("digits"), fusions, representations)


@pytest.mark.parametrize("text", ["audio", "audio=", "=mfcc", "audio=[mfcc"])
def test_no_representation_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="names no representation"):
        parse_representations([text])


def test_an_output_without_its_partner_learns_by_itself() -> None:
    found = make_variants(load_recipe("translation-photo"))
    partners = {v.about: v.recipe.outputs["translation"].fit_with for v in found}
    assert partners == {"text": "inputs.text", "image": None, "": "inputs.text"}
