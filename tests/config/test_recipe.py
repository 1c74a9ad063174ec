from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.config import registry
from plait.config.recipe import check_recipe, load_recipe, recipe_text, shipped
from plait.outputs.category import CategoryOutput
from plait.outputs.text.decoders.base import Decoder
from plait.outputs.text.decoders.networks.base import DecoderNetwork
from plait.types import UsageError


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_valid_and_stable(name: str) -> None:
    recipe = load_recipe(name)
    assert check_recipe(yaml.safe_load(recipe.to_yaml())) == recipe


def test_defaults_are_written_out() -> None:
    recipe = load_recipe("captioning")
    assert recipe.inputs["image"].representation["network"] == "lite0"
    assert recipe.outputs["caption"].settings["decoding"]["beam"] == 3


def test_all_errors_come_together() -> None:
    with pytest.raises(UsageError) as error:
        load_recipe(
            "captioning",
            [
                "training.epocs=3",
                "inputs.image.representation.trian=frozen",
                "outputs.caption.settings.decoder.layers=0",
                "fusion.kind=nine",
            ],
        )
    text = str(error.value)
    assert "4 errors" in text
    assert "training.epocs: unknown setting" in text
    assert "did you mean 'epochs'" in text
    assert "inputs.image.representation.trian" in text
    assert "did you mean 'train'" in text
    assert "outputs.caption.settings.decoder.layers: got 0" in text
    assert "there is no fusion called 'nine'" in text


def test_a_file_to_learn_from_must_be_there(tmp_path: Path) -> None:
    raw = yaml.safe_load(recipe_text("speech-digits"))
    for language in ({"kind": "ngram", "texts": "none.txt"}, {"kind": "arpa", "file": "none.txt"}):
        raw["outputs"]["text"]["settings"]["language_model"] = language
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
        wanted = r"outputs.text.settings.language_model.(texts|file): there is no file none.txt"
        with pytest.raises(UsageError, match=wanted):
            load_recipe(str(tmp_path / "mine.yaml"))
        check_recipe(raw)  # a package's recipe: what the file told is in the package


def test_what_learns_no_language_is_no_language_model() -> None:
    for name in registry.names("decoder"):
        decoder: type[Decoder] = registry.find("decoder", name).cls
        other = name == "hub" or (
            type(decoder().network(9, 8, 5)).sequence_loss is not DecoderNetwork.sequence_loss
        )
        assert (decoder.fit is not Decoder.fit) == (name == "hub")
        raw = yaml.safe_load(recipe_text("speech-digits"))
        kind = {"kind": name, "name": "some/model"} if name == "hub" else {"kind": name}
        raw["outputs"]["text"]["settings"]["language_model"] = {"kind": "neural", "decoder": kind}
        if not other:
            check_recipe(raw)
            continue
        wanted = f"language_model.decoder.kind: got '{name}'; expected one of: gru-attention, tr"
        with pytest.raises(UsageError, match=wanted):
            check_recipe(raw)


def test_unknown_recipe_suggests() -> None:
    with pytest.raises(UsageError, match="did you mean 'captioning'"):
        load_recipe("captionin")


def test_override_needs_a_value() -> None:
    with pytest.raises(UsageError, match="expected path=value"):
        load_recipe("captioning", ["training.epochs"])


def test_two_inputs_need_a_fusion() -> None:
    with pytest.raises(UsageError, match="takes one input"):
        load_recipe(
            "captioning", ["inputs.other={modality: image, representation: {kind: pixels}}"]
        )


def test_settings_of_a_kind_that_is_overridden_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = load_recipe("driving", ["fusion.kind=hybrid", "fusion.branch_loss_weight=0.5"])
    assert recipe.fusion["kind"] == "hybrid"
    assert recipe.fusion["branch_loss_weight"] == 0.5
    assert [record.message for record in caplog.records] == [
        "fusion.kind=hybrid: dropped the settings of early: dropout, how, width"
    ]
    # Late fusion's way is none of early fusion's.
    assert load_recipe("digits", ["fusion.kind=early"]).fusion["how"] != "mean"
    caplog.clear()
    assert load_recipe("digits", ["fusion.kind=early", "fusion.how=gated"]).fusion["how"] == "gated"
    assert load_recipe("digits", ["fusion.kind=late"]).fusion["how"] == "mean"
    assert not caplog.records
    with pytest.raises(UsageError, match=r"fusion\.how: unknown setting"):
        load_recipe("digits", ["fusion.kind=hybrid", "fusion.how=mean"])


def test_settings_of_an_output_or_decoder_that_is_overridden_are_left_out() -> None:
    recipe = load_recipe("driving", ["outputs.steering.kind=category"])
    assert "spread" not in recipe.outputs["steering"].settings
    decoder = "outputs.caption.settings.decoder.kind=gru-attention"
    assert load_recipe("captioning", [decoder]).outputs["caption"].settings["decoder"]
    image = "inputs.image.representation.kind=pixels"
    assert load_recipe("captioning", [image]).inputs["image"].representation["kind"] == "pixels"


def with_output(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> dict[str, Any]:
    """A recipe of two inputs whose output, a class, declares these facts."""
    odd = type("Odd", (CategoryOutput,), facts | {"__module__": __name__})
    known = registry.Registered("output", "odd", odd)
    monkeypatch.setitem(registry._COMPONENTS, ("output", "odd"), known)
    words = {"modality": "text", "representation": {"kind": "bag-of-words"}}
    return {
        "name": "odd",
        "inputs": {"one": words, "other": words},
        "fusion": {"kind": "late"},
        "outputs": {"y": {"kind": "odd"}},
    }


def test_what_an_output_declares_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_output(monkeypatch, branches=False, mixup=False, columns="none")
    recipe |= {"outputs": {"y": {"kind": "odd", "column": "y"}}, "training": {"mixup": 0.2}}
    with pytest.raises(UsageError) as error:
        check_recipe(recipe)
    for words in (
        "3 errors",
        "training.mixup: the targets of outputs.y can't be mixed; expected 0",
        "fusion: outputs.y can't answer for each branch; choose another fusion",
        "outputs.y.column: got 'y'; expected null, as it reads no column",
    ):
        assert words in str(error.value)
    recipe = with_output(monkeypatch, branches=False, mixup=False, columns="none")
    assert check_recipe(recipe | {"fusion": {"kind": "early"}}).outputs["y"].column is None


def test_one_column_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_output(monkeypatch)
    named = recipe | {"outputs": {"y": {"kind": "odd", "column": ["a", "b"]}}}
    with pytest.raises(UsageError, match=r"outputs.y.column: got \['a', 'b'\]; expected one col"):
        check_recipe(named)
    with pytest.raises(UsageError, match="can't read several columns: a, b"):
        check_recipe(recipe).with_columns({"y": ["a", "b"]})
    with_output(monkeypatch, columns="several")
    assert check_recipe(named).outputs["y"].column == ["a", "b"]
    assert check_recipe(recipe).with_columns({"y": ["a", "b"]}).outputs["y"].column == ["a", "b"]


def test_a_joint_branch_has_no_branches_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_output(monkeypatch) | {"fusion": {"kind": "hybrid", "joint": {"kind": "late"}}}
    with pytest.raises(UsageError, match="fusion 'late' can't be the joint branch"):
        check_recipe(recipe)
