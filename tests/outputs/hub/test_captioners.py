"""Whole captioners of the transformers library: tiny ones of each family, with random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from captioners import FAMILIES, photos, save_captioner
from commands import run_plait
from PIL import Image
from servers import run as run_server
from torch import Tensor
from vision_models import save_vision_model

import plait
from plait.cli import main as cli
from plait.config.recipe import check_recipe, load_recipe, recipe_text
from plait.data.tables import as_table
from plait.model import Model
from plait.network import Network
from plait.nn import hub
from plait.outputs.hub.networks import ADAPTER, HubHead
from plait.package.card import pretrained_parts
from plait.tasks.caption import CaptionSettings, caption_photos
from plait.types import BadCell, PlaitError, UsageError
from plait.web.serve import load_models

LONG = {"min_words": 2, "max_words": 6}
ANSWERS = {"num": 2, **LONG}
PROMPTS = {"florence2": "<CAPTION>", "paligemma": "<image>caption en"}
NO_TILES = {"smolvlm", "idefics3"}
CLOSED = {"git"}  # its library's own example generates from the start token alone


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioners")
    photos(folder)
    return folder


@pytest.fixture(scope="module")
def paths(here: Path) -> list[str]:
    return [str(path) for path in sorted(here.glob("*.png"))]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, here: Path) -> Path:
    return save_captioner(request.param, here / request.param)


@pytest.fixture(scope="module")
def model(family: Path) -> Model:
    return plait.load(f"hub:{family}")


@pytest.fixture(scope="module")
def blip(here: Path) -> Path:
    return save_captioner("blip", here / "another" / "blip")


def head_of(model: Model) -> HubHead:
    head = model.network.head("caption")
    assert isinstance(head, HubHead)
    return head


def theirs(folder: Path, path: str) -> tuple[Any, Any, dict[str, Tensor]]:
    """The library's own model, tokenizer and input for one photo, as its documentation says."""
    import transformers as t

    network = t.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    kind, photo = folder.name, Image.open(path).convert("RGB")
    if kind == "vision_encoder_decoder":
        pixels = t.AutoImageProcessor.from_pretrained(folder)(images=photo, return_tensors="pt")
        return network, t.AutoTokenizer.from_pretrained(folder), dict(pixels)
    cls = hub.without_videos(t.PROCESSOR_MAPPING[type(network.config)])
    processor = cls.from_pretrained(folder)
    prompt, options = (
        PROMPTS.get(kind, ""),
        {"do_image_splitting": False} if kind in NO_TILES else {},
    )
    if processor.chat_template:
        text = {"type": "text", "text": "Describe the photo in one short sentence."}
        prompt = processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, text]}],
            chat_template=processor.chat_template, tokenize=False, add_generation_prompt=True,
        )  # fmt: skip
    inputs = dict(processor(images=[photo], text=[prompt], return_tensors="pt", **options))
    inputs.pop("labels", None)
    if kind in CLOSED:
        inputs = {k: v[:, :1] if v.ndim == 2 else v for k, v in inputs.items()}
    return network, processor.tokenizer, inputs


@torch.no_grad()
def test_captions_are_those_of_the_library(family: Path, model: Model, paths: list[str]) -> None:
    for path in paths:
        network, tokenizer, inputs = theirs(family, path)
        out = network.generate(
            **inputs, num_beams=3, num_return_sequences=2, do_sample=False, length_penalty=1.0,
            min_new_tokens=2, max_new_tokens=6, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        steps = int((out.beam_indices >= 0).sum(1).max())
        wanted = [
            tokenizer.decode(ids[-steps:], skip_special_tokens=True).strip()
            for ids in out.sequences
        ]
        found = model.predict(path, **ANSWERS)
        assert [found.value, *(other.value for other in found.alternatives)] == wanted


def test_the_photos_differ_in_their_captions(model: Model, paths: list[str]) -> None:
    found = [model.predict(path, **LONG) for path in paths]
    assert len({round(answer.score, 5) for answer in found}) == len(paths)
    assert len({answer.value for answer in found}) > 1


@torch.no_grad()
def test_the_score_is_the_mean_log_probability_of_a_token(
    family: Path, model: Model, paths: list[str]
) -> None:
    network, _, inputs = theirs(family, paths[0])
    out = network.generate(
        **inputs, do_sample=False, num_beams=1, min_new_tokens=2, max_new_tokens=6,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    ids = out.sequences[0, -len(out.logits) :].tolist()
    each = [float(row[0].log_softmax(-1)[i]) for row, i in zip(out.logits, ids, strict=True)]
    found = model.predict(paths[0], beam=1, **LONG)
    assert found.score == pytest.approx(np.mean(each), abs=1e-4)


@torch.no_grad()
def test_a_given_caption_is_as_probable_as_a_generated_one(model: Model, paths: list[str]) -> None:
    head, seen, most = head_of(model), 0, 3
    (batch,) = model._batches([{"image": path} for path in paths], Path(), None)
    for row, path in enumerate(paths):
        fused = model.network.fuse(batch.rows(slice(row, row + 1)))
        found = model.predict(path, sample=True, num=24, max_words=most)
        for answer in (found, *found.alternatives):
            *ids, _ = head.reader.token_ids(answer.value, 64)
            if head.reader.caption(ids, [0.0] * 9).tokens != tuple(answer.value.split()) or not ids:
                continue
            support, steps = head.steps(fused, answer.value)
            ended = steps.shape[1] < most
            wanted = support[0] if ended else steps[0].mean()
            if len(ids) <= most and answer.score == pytest.approx(float(wanted), abs=1e-4):
                seen += 1
    assert seen >= 3  # others had special tokens among them, which are not part of the text


def test_a_photo_ignores_its_batch(model: Model, paths: list[str]) -> None:
    for options in ({}, {"batch": 1}, {"batch": 2}, {"sample": True, "seed": 3}):
        together = [row["caption"] for row in model.predict_batch(paths, **ANSWERS, **options)]
        for path, answer in zip(paths, together, strict=True):
            alone = model.predict(path, **ANSWERS, **options)
            assert alone.value == answer.value
            assert alone.score == pytest.approx(answer.score, abs=1e-4)
            assert alone.details.words == answer.details.words


def test_samples_come_from_the_seed(model: Model, paths: list[str]) -> None:
    def drawn(seed: int, **options: Any) -> list[str]:
        sampled = model.predict(paths[0], sample=True, num=4, seed=seed, **LONG, **options)
        scores = [sampled.score, *(other.score for other in sampled.alternatives)]
        assert scores == sorted(scores, reverse=True)
        return [sampled.value, *(other.value for other in sampled.alternatives)]

    before = torch.get_rng_state()
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) > 1
    assert len(set(drawn(1, top_k=1))) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_how_long_a_caption_is(model: Model, paths: list[str]) -> None:
    head = head_of(model)
    special = set(head.reader.tokenizer.all_special_ids)
    for path in paths:
        found = model.predict(path, min_words=5, max_words=5, beam=1)
        ids = head.reader.tokenizer(found.value, add_special_tokens=False)["input_ids"]
        assert len([i for i in ids if i not in special]) <= 5
        assert len(found.details.words) <= 5
        assert model.parts.outputs["caption"].confidence(found) == pytest.approx(
            np.exp(found.score)
        )


def test_steps_and_alternatives_of_an_explanation(model: Model, paths: list[str]) -> None:
    head = head_of(model)
    (batch,) = model._batches([{"image": path} for path in paths], Path(), None)
    with torch.no_grad():
        fused = model.network.fuse(batch)
        support, steps = head.steps(fused, "a dog runs")
        assert steps.shape == (3, steps.shape[1])
        torch.testing.assert_close(support, head.support(fused, ["a dog runs"] * 3))
        said = head.alternatives(fused, "a dog runs", 2)
    assert len(said) == steps.shape[1]
    for step, (own, *others) in zip(steps[0].exp().tolist(), said, strict=True):
        assert own.score == pytest.approx(step, rel=1e-3)
        assert others[0].score >= others[1].score


# Training ------------------------------------------------------------------------------------

LEARN = [
    "training.epochs=6", "training.patience=9", "training.batch=6", "training.learning_rate=0.02",
    "inputs.image.representation.views=1", "inputs.image.representation.size=64",
    "outputs.caption.settings.decoding.max_words=6", "outputs.caption.settings.lora.dropout=0.0",
]  # fmt: skip


def adapting(family: Path, *more: str) -> list[str]:
    return [f"outputs.caption.settings.name={family}", *LEARN, *more]


def coloured(folder: Path, count: int = 18) -> dict[str, list[str]]:
    """Photos whose captions name their colours; all but twelve are for validation."""
    rng = np.random.default_rng(0)
    colours = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
    rows: dict[str, list[str]] = {"image": [], "caption": [], "split": []}
    for number in range(count):
        name, colour = list(colours.items())[number % 3]
        pixels = np.clip(np.array(colour) + rng.normal(0, 15, (40, 48, 3)), 0, 255)
        path = folder / f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        split = "train" if number < 12 else "val"
        rows["image"].append(str(path))
        rows["caption"].append(f"a {name} dog")
        rows["split"].append(split)
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return coloured(tmp_path_factory.mktemp("coloured"))


def test_only_the_adapters_learn_and_are_kept(
    family: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    """Trained, saved and loaded: each family learns, and its package holds its adapters alone."""
    losses: list[float] = []
    model = plait.train(
        "captioning-hub", rows, tmp_path / "mine", overrides=adapting(family),
        report=lambda line: losses.append(line["loss"]) if line["event"] == "step" else None,
    )  # fmt: skip
    assert losses[-1] < 0.6 * losses[0]
    head = head_of(model)
    learning = {name for name, p in head.model.named_parameters() if p.requires_grad}
    assert learning == head.adapters
    assert all(ADAPTER in name for name in learning)
    kept = [name for name in model.network.state_dict() if name.startswith("heads.caption.")]
    adapters = [f"heads.caption.model.{name}" for name in head.adapters]
    assert sorted(kept) == sorted([*adapters, "heads.caption.sure"])
    size = sum(file.stat().st_size for file in (tmp_path / "mine").iterdir())
    assert size < 250_000
    again = plait.load(tmp_path / "mine")
    for path in rows["image"][-3:]:
        before, after = model.predict(path), again.predict(path)
        assert (before.value, before.score) == (after.value, pytest.approx(after.score, abs=1e-4))
    assert list(pretrained_parts(again.recipe, again.states)) == [f"hub:{family}"]
    assert f"hub:{family}" in (tmp_path / "mine" / "card.md").read_text()
    with torch.no_grad():  # the same frozen weights
        plain = head_of(plait.load(f"hub:{family}"))
        names = dict(plain.model.named_parameters())
        for name, value in head_of(again).model.named_parameters():
            if name.replace(".base_layer", "") in names:
                torch.testing.assert_close(value, names[name.replace(".base_layer", "")])


@pytest.fixture(scope="module")
def adapted(
    blip: Path, rows: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "mine"
    plait.train("captioning-hub", rows, out, overrides=adapting(blip))
    return out


@pytest.fixture(scope="module")
def calibrated(
    blip: Path,
    adapted: Path,
    rows: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """It calls everything a dog, and is least sure of green photos, which show birds."""
    folder = tmp_path_factory.mktemp("calibrated")
    more = coloured(folder, 102)
    for row, text in enumerate(more["caption"]):
        if "green" in text:
            more["caption"][row] = "a bird"
    again = adapting(blip, f"training.start={adapted}", "training.epochs=0")
    plait.train("captioning-hub", more, folder / "mine", overrides=again)
    return folder / "mine"


def test_how_sure_it_is_was_fitted_to_the_validation_photos(
    adapted: Path, calibrated: Path, rows: dict[str, list[str]]
) -> None:
    before, model = plait.load(adapted), plait.load(calibrated)
    output = model.parts.outputs["caption"]
    sure = {}
    for path, text in zip(rows["image"], rows["caption"], strict=True):
        plain, found = before.predict(path), model.predict(path)
        assert (found.value, found.score) == (plain.value, pytest.approx(plain.score, abs=1e-4))
        assert before.parts.outputs["caption"].calibrated(plain) is None  # too few photos
        sure[text] = output.calibrated(found)
    assert sure["a green dog"] < 0.2
    assert min(sure["a red dog"], sure["a blue dog"]) > 0.8
    scores = model.scores["validation"]["scores"]["caption"]
    assert scores["right"] == pytest.approx(2 / 3)
    assert scores["auroc"] > 0.95
    assert scores["calibration_error"] < 0.15


def test_a_killed_run_ends_as_an_unbroken_one(
    blip: Path, adapted: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(line: Any) -> None:
        if line["event"] == "validation" and line["epoch"] == 3:
            raise Killed

    out = tmp_path / "mine"
    with pytest.raises(Killed):
        plait.train("captioning-hub", rows, out, overrides=adapting(blip), report=kill)
    resumed = plait.train("captioning-hub", rows, out, overrides=adapting(blip))
    first = plait.load(adapted).network.state_dict()
    for name, value in resumed.network.state_dict().items():
        torch.testing.assert_close(value, first[name])


def test_it_starts_from_an_adapted_one_and_is_trained_again(
    blip: Path, adapted: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    start = [f"training.start={adapted}", "training.epochs=0"]
    same = plait.train("captioning-hub", rows, tmp_path / "same", overrides=adapting(blip, *start))
    path = rows["image"][0]
    assert same.predict(path).value == plait.load(adapted).predict(path).value
    more = plait.train(
        "captioning-hub", rows, tmp_path / "more",
        overrides=adapting(blip, "training.refit=true", "training.epochs=2"),
    )  # fmt: skip
    assert more.scores["trained"]["refit"] == 18


def test_chosen_layers_and_their_names(blip: Path, rows: dict[str, list[str]]) -> None:
    def head(*more: str) -> HubHead:
        recipe = load_recipe("captioning-hub", adapting(blip, *more))
        output = plait.model.build_parts(recipe).outputs["caption"]
        fitted = output.with_state(output.fit([], Path()))
        made = fitted.head(32, ["image"], True)
        assert isinstance(made, HubHead)
        return made

    chosen = head("outputs.caption.settings.lora.layers=[query, value]").adapters
    assert {name.split(".")[-4] for name in chosen} == {"query", "value"}
    everywhere = head().adapters
    assert any("vision_model" in name for name in everywhere)
    assert not any("predictions.decoder" in name for name in everywhere)  # the embedding's weights
    with pytest.raises(UsageError, match=r"lora.layers nothing: .*q_proj"):
        head("outputs.caption.settings.lora.layers=[nothing]")
    made = head()
    copied = deepcopy(made)
    assert copied.state_dict().keys() == made.state_dict().keys()
    assert copied.model is not made.model
    with pytest.raises(UsageError, match="has nothing to train"):
        head("outputs.caption.settings.lora=null").begin([("a dog",)])


def test_a_package_without_its_base_says_so(
    here: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    base = save_captioner("git", tmp_path / "base")
    plait.train(
        "captioning-hub", rows, tmp_path / "mine", overrides=adapting(base, "training.epochs=1")
    )
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(PlaitError, match=f"no model '{base}' could be loaded"):
        plait.load(tmp_path / "mine")


# Use -----------------------------------------------------------------------------------------


def test_the_command(
    blip: Path, here: Path, paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = CaptionSettings(ANSWERS, tmp_path / "captions.csv")
    caption_photos([here], f"hub:{blip}", settings)
    lines = (tmp_path / "captions.csv").read_text().splitlines()
    assert lines[0] == "image,caption,score,caption_2"
    assert len(lines) == 4
    capsys.readouterr()
    for wrong, message in {
        f"hub:{blip.parent}": "no model",
        "hub:nobody/nothing-at-all": "no model 'nobody/nothing-at-all' could be loaded",
    }.items():
        with pytest.raises(PlaitError, match=message):
            caption_photos(paths, wrong, CaptionSettings({}))
    with pytest.raises(UsageError, match="the attention of blip isn't available"):
        caption_photos(paths, f"hub:{blip}", CaptionSettings(ANSWERS, explain=tmp_path / "why"))
    assert capsys.readouterr().out == ""  # before any photo is captioned


def test_evaluation_and_a_table(
    blip: Path, rows: dict[str, list[str]], paths: list[str], tmp_path: Path
) -> None:
    model = plait.load(f"hub:{blip}")
    evaluation = model.evaluate(rows, split="val", max_words=5)
    val = [path for path, split in zip(rows["image"], rows["split"], strict=True) if split == "val"]
    alone = [model.predict(path, max_words=5).value for path in val]
    assert [answer.value for answer in evaluation.predictions["caption"]] == alone
    assert "cider" in evaluation.scores["caption"].points
    assert evaluation.scores["caption"].records == 6
    with pytest.raises(UsageError, match="can't answer when an input is missing"):
        model.evaluate(rows, split="val", shares=True)
    table = as_table({"image": paths})
    answers = list(model.predict_table(table, {"image": "image"}, **ANSWERS))
    for path, answer in zip(paths, answers, strict=True):
        assert answer is not None
        assert answer["caption"].value == model.predict(path, **ANSWERS).value


def test_a_bad_photo_is_named_and_skipped(blip: Path, paths: list[str], tmp_path: Path) -> None:
    model, bad = plait.load(f"hub:{blip}"), tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG")
    with pytest.raises(BadCell, match=r"bad\.png"):
        model.predict(bad)
    settings = CaptionSettings(ANSWERS, tmp_path / "captions.json", on_bad="skip")
    caption_photos([paths[0], bad], f"hub:{blip}", settings)
    first, second = json.loads((tmp_path / "captions.json").read_text())
    assert (first["caption"] is None, second["caption"] is None) == (False, True)


def test_what_is_not_sure_is_marked(
    blip: Path,
    calibrated: Path,
    rows: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = partial(run_plait, monkeypatch, capsys)
    asked = ("caption", *rows["image"][:3], "--sure", "0.5", "--model")
    code, printed, _ = run(*asked, calibrated, "--json")
    assert code == 0
    found = json.loads(printed)
    assert [row["sure"] for row in found] == [True, False, True]
    assert [row["confidence"] >= 0.5 for row in found] == [True, False, True]
    code, _, errors = run(*asked, f"hub:{blip}")
    assert (code, "has no calibrated confidence" in errors) == (2, True)
    code, _, errors = run(*asked, calibrated, "--set", "prompt=a photo of")
    assert (code, "leave out prompt" in errors) == (2, True)


def test_the_server(blip: Path, adapted: Path, calibrated: Path, paths: list[str]) -> None:
    models = load_models([f"hub:{blip}", f"mine={adapted}", f"sure={calibrated}"])
    assert list(models) == ["blip", "mine", "sure"]
    with run_server(models) as running:
        for name, model in models.items():
            with open(paths[0], "rb") as photo:
                body = photo.read()
            answer = running.form(f"/models/{name}/predict", {"inputs.image": body})
            wanted = model.predict(paths[0])
            found = answer.json["answers"]["caption"]
            assert found["value"] == wanted.value
            wanted_confidence = model.parts.outputs["caption"].confidence(wanted)
            assert found["confidence"] == pytest.approx(wanted_confidence, abs=1e-4)
            assert found["calibrated"] == (name == "sure")


@pytest.mark.slow
def test_offline_it_comes_from_the_cache_of_the_hub(
    blip: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    """Without a way to the Hub, and without its library's retries, which take minutes."""
    model, commit = tmp_path / "hub" / "models--me--tiny", "a" * 40
    shutil.copytree(blip, model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    code = (
        "import json, sys, plait\n"
        "rows, out, *settings = map(json.loads, sys.argv[1:])\n"
        "first = plait.load('hub:me/tiny').predict(rows['image'][0], max_words=4)\n"
        "plait.train('captioning-hub', rows, out, overrides=settings)\n"
        "model = plait.load(out)\n"
        "print(model.states['outputs.caption']['config']['revision'], first.value)\n"
    )
    settings = adapting(Path("me/tiny"), "training.epochs=1")
    out = tmp_path / "mine"
    given = [json.dumps(value) for value in (rows, str(out), *settings)]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code, *given], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Retrying" not in done.stderr
    caption = plait.load(f"hub:{blip}").predict(rows["image"][0], max_words=4).value
    assert done.stdout.splitlines()[-1] == f"{commit} {caption}"
    assert f"hub:me/tiny at commit {commit}" in (out / "card.md").read_text()
    environment["HF_HUB_CACHE"] = str(tmp_path / "nothing")
    code = "import sys, plait\nplait.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], env=environment, capture_output=True, text=True
    )
    assert "PlaitError: no model 'me/tiny@" in done.stderr


def test_adapters_beside_smaller_weights(
    blip: Path, rows: dict[str, list[str]], tmp_path: Path
) -> None:
    half = "outputs.caption.settings.dtype=bfloat16"
    losses: list[float] = []
    model = plait.train(
        "captioning-hub", rows, tmp_path / "half", overrides=adapting(blip, half),
        report=lambda line: losses.append(line["loss"]) if line["event"] == "step" else None,
    )  # fmt: skip
    assert losses[-1] < 0.6 * losses[0]
    types = {ADAPTER in n: p.dtype for n, p in head_of(model).model.named_parameters()}
    assert types == {True: torch.float32, False: torch.bfloat16}
    again = plait.load(tmp_path / "half")
    assert again.predict(rows["image"][0]).value == model.predict(rows["image"][0]).value


def test_prompts(here: Path, paths: list[str]) -> None:
    model = plait.load(f"hub:{save_captioner('blip', here / 'prompted')}")
    usual = model.predict(paths[0], **LONG)
    asked = model.predict(paths[0], prompt="a photo of", **LONG)
    assert usual.value != asked.value
    assert not asked.value.startswith("a photo of") or usual.value.startswith("a photo of")


def test_types_of_weights(blip: Path, paths: list[str]) -> None:
    half = plait.load(f"hub:{blip}", engine="torch:cpu:bfloat16")
    assert head_of(half).model.dtype == torch.bfloat16
    full = plait.load(f"hub:{blip}", engine="torch:float32")
    assert head_of(full).model.dtype == torch.float32
    one, other = (m.predict(paths[0], **LONG) for m in (half, full))
    assert one.score == pytest.approx(other.score, abs=0.2)
    assert one.score != other.score


def test_engines_that_there_are_not(blip: Path, adapted: Path) -> None:
    for engine, message in {
        "torch:nowhere": "can't run on the device 'nowhere'",
        "torch:cpu:int3": "can't run on the device 'cpu:int3'",
        "torch:": "there is no engine 'torch:'",
        "onnx:cpu": "there is no engine 'onnx:cpu'",
        "onnx": "can't run by onnx",
    }.items():
        with pytest.raises(UsageError, match=message):
            plait.load(f"hub:{blip}", engine=engine)
    assert plait.load(adapted, engine="torch:cpu").engine.device == "cpu"
    with pytest.raises(UsageError, match="can't run as bfloat16"):
        plait.load(adapted, engine="torch:bfloat16")
    with pytest.raises(UsageError, match=r"can't be exported"):
        plait.load(adapted, engine="onnx")


def test_models_that_do_not_caption(here: Path, tmp_path: Path) -> None:
    save_vision_model("vit", tmp_path / "vit")
    with pytest.raises(UsageError, match=r"\(vit\) doesn't turn a photo into a text; expected BLI"):
        plait.load(f"hub:{tmp_path / 'vit'}")
    bare = save_captioner("git", tmp_path / "bare")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (bare / file).unlink()
    with pytest.raises(PlaitError, match="bare"):
        plait.load(f"hub:{bare}")


def test_without_the_library_for_adapters(
    blip: Path, rows: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PlaitError, match=r"peft.*plait\[captioners\]"):
        plait.train("captioning-hub", rows, tmp_path / "mine", overrides=adapting(blip))


def test_what_the_recipe_needs(blip: Path) -> None:
    with pytest.raises(
        UsageError, match=r"outputs.caption: 'hub' is a whole model; expected one i"
    ):
        load_recipe("captioning-hub", ["inputs.image.representation={kind: pixels}"])
    raw = yaml.safe_load(recipe_text("captioning-hub"))
    raw["outputs"]["caption"] = {"kind": "hub:some/model"}
    named = check_recipe(raw)
    assert named.outputs["caption"].kind == "hub"
    assert named.outputs["caption"].settings["name"] == "some/model"
    assert check_recipe(named.model_dump()) == named


def test_it_is_explained_by_no_method(
    blip: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything is read or loaded again."""
    model = plait.load(f"hub:{blip}")

    def read(*given: Any) -> Any:
        pytest.fail("a photo was read")

    monkeypatch.setattr(Model, "reader", read)
    for ask in (
        lambda: model.explain(paths[0]),
        lambda: model.predict(paths[0], shares=True),
        lambda: next(model.predict_table(as_table({"image": paths}), {}, shares=True)),
        lambda: model.evaluate({"image": paths, "caption": paths}, shares=True),
    ):
        with pytest.raises(UsageError, match="have no shares and no explanation"):
            ask()


def test_the_network_is_a_plain_one(blip: Path) -> None:
    model = plait.load(f"hub:{blip}")
    assert type(model.network) is Network
    assert (model.inputs, model.outputs) == ({"image": "image"}, {"caption": "hub"})
    assert model.name == "blip"
    assert model.recipe.about.endswith("as it was published")


def test_a_caption_from_the_command_line(
    blip: Path,
    paths: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["plait", "caption", paths[0], "--model", f"hub:{blip}", "--num", "2", "--beam", "2"]
    monkeypatch.setattr("sys.argv", [*words, "--set", "max_words=4"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    wanted = plait.load(f"hub:{blip}").predict(paths[0], num=2, beam=2, max_words=4)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{paths[0]}: {wanted.value}"
    assert len(printed) == 2
