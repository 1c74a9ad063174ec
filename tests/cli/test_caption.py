"""Captions in every form: printed, in tables, in pictures, in photos, of scenes."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import film
from PIL import Image
from samples import COLOURS, draw
from untrained import make_model

from plait.data.descriptions import read_description
from plait.data.video import Scene
from plait.model import Model
from plait.network import TorchEngine
from plait.outputs.text.output import TextDetails
from plait.outputs.text.search import Decoding
from plait.tasks.caption import CaptionSettings, Wording, _wordings
from plait.types import Alternative, Prediction

SCENES = ("red", "blue", "green")


@pytest.fixture
def photo(squares: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(squares.with_name("000.png"), tmp_path / "photo.png"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of one and a half seconds each: a square of a colour, on grey noise."""
    pictures = [np.array(draw(colour, "left", number)) for number, colour in enumerate(SCENES)]
    frames = [picture for picture in pictures for _ in range(15)]
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    path.write_bytes(film(frames, "mp4", "libx264", "yuv444p", crf="10"))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answering(
    monkeypatch: pytest.MonkeyPatch, *captions: str, later: tuple[tuple[str, ...], ...] = ()
) -> list[dict[str, Any]]:
    """The model finds these captions, best first, and ``later`` these; the options that it was
    asked with."""
    asked: list[dict[str, Any]] = []

    def predict_batch(self: Model, records: Any, policy: Any = None, **options: Any) -> Any:
        found = (captions, *later)[min(len(asked), len(later))]
        asked.append(options)
        first, *others = [Alternative(text, -float(n)) for n, text in enumerate(found, start=1)]
        for _ in records:
            yield {"caption": Prediction(first.value, first.score, tuple(others))}

    monkeypatch.setattr(Model, "predict_batch", predict_batch)
    return asked


def test_samples_differ(run: Any, trained: Path, photo: Path) -> None:
    sampling = ("--sample", "--num", 3, "--set", "temperature=3")
    code, out, _ = run("caption", photo, "--model", trained, "--json", *sampling)
    assert code == 0
    (row,) = json.loads(out)
    found = [row["caption"], *(other["caption"] for other in row["alternatives"])]
    assert len(found) == len(set(found)) == 3


def test_more_samples_are_drawn_than_shown(
    run: Any, trained: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = ("a dog runs", "a dog is", "a dog runs", "the dog runs", "a cat runs")
    asked = answering(monkeypatch, *same)
    sampling = ("caption", photo, "--model", trained, "--sample", "--num", 4)
    monkeypatch.setattr(Wording, "is_enough", lambda self, shown: True)
    _, out, _ = run(*sampling)
    assert out.split(": ")[1].split("\n") == [
        "a dog runs",
        " " * len(f"{photo}: ") + "a cat runs",
        "",
    ]
    run(*sampling, "--set", "top_p=1")
    run(*sampling, "--num", 60)
    run("caption", photo, "--model", trained, "--sample")
    run("caption", photo, "--model", trained, "--num", 4)
    assert asked == [
        {"num": 32, "sample": True},
        {"num": 32, "sample": True, "top_p": 1},
        {"num": 64, "sample": True},
        {"sample": True},
        {"num": 4},
    ]
    assert Decoding(num=64)  # as many as can be drawn


def test_samples_are_drawn_until_enough_differ(
    run: Any, trained: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, "a dog runs", "a dog runs", later=(("a cat runs", "a dog"),))
    sampling = ("caption", photo, "--model", trained, "--sample", "--set", "seed=6",
                "--set", "temperature=2", "--num")  # fmt: skip
    _, out, _ = run(*sampling, 3)
    shown = [line.split(": ")[-1].strip() for line in out.splitlines()]
    assert sorted(shown) == ["a cat runs", "a dog", "a dog runs"]
    first, second = asked
    assert (first["num"], first["seed"], first["temperature"]) == (24, 6, 2)
    assert (second["num"], second["seed"], second["temperature"]) == (64, 7, 2.5)
    asked.clear()
    _, out, _ = run(*sampling, 4)
    assert len(out.splitlines()) == 3  # there are no more
    assert [options["temperature"] for options in asked] == [2, 2.5, 3]
    asked.clear()
    run(*sampling, 1)
    assert len(asked) == 1
    asked.clear()
    run("caption", photo, "--model", trained, "--num", 4)  # nothing is drawn
    assert len(asked) == 1


@pytest.mark.parametrize("how", ["print", "csv", "json"])
def test_alternative_texts(
    run: Any, trained: Path, photo: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a man in a blue shirt is standing beside a dog " * 3
    asked = answering(monkeypatch, long, "a man in the", "a man and his dog", "a dog")
    out = tmp_path / f"out.{how}"
    where = [] if how == "print" else ["--out", out]
    _, text, _ = run("caption", photo, "--model", trained, "--style", "alt", *where)
    assert asked == [{"num": 3}]  # one for each beam
    if how == "print":
        assert text == f"{photo}: A man and his dog.\n"
    elif how == "csv":
        assert rows(out) == [
            {"image": str(photo), "caption": "A man and his dog.", "score": "-3.0000"}
        ]
    else:
        (row,) = json.loads(out.read_text())
        assert (row["caption"], row["score"], row["alternatives"]) == ("A man and his dog.", -3, [])


def test_alternative_texts_of_a_real_model(run: Any, trained: Path, squares: Path) -> None:
    photos = [squares.with_name(f"0{n}0.png") for n in range(5)]
    _, out, _ = run("caption", *photos, "--model", trained, "--style", "alt", "--num", 2)
    lines = out.splitlines()
    assert len(lines) == 10
    for line in lines:
        text = line.split(": ")[-1].strip()
        assert text[0].isupper()
        assert text.endswith(".")
        assert len(text) <= 125


def test_pictures_with_captions(run: Any, trained: Path, photo: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide" / "photo.png"
    wide.parent.mkdir()
    Image.new("RGB", (900, 300), COLOURS["red"]).save(wide)
    where = tmp_path / "pictures"
    code, out, err = run(
        "caption", photo, wide, "--model", trained, "--pictures", where, "--num", 2
    )
    assert code == 0
    assert len(out.splitlines()) == 4
    assert str(where) in err
    assert sorted(p.name for p in where.iterdir()) == ["photo.png", "wide-photo.png"]
    with Image.open(where / "wide-photo.png") as picture:
        assert picture.width == 900
        assert picture.height > 300
        assert np.all(np.array(picture)[:300] == COLOURS["red"])
    with Image.open(where / "photo.png") as small:
        assert small.height > 64


def test_a_folder_of_all_kinds_to_a_csv(
    run: Any, trained: Path, photo: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "ünter ordner" / "深い"
    deep.mkdir(parents=True)
    for name in ("é.png", 'con,ma "q".png', "new\nline.png"):
        shutil.copy(photo, deep / name)
    (deep / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (deep / "notes.txt").write_text("no photo")
    out = tmp_path / "out.csv"
    code, text, err = run("caption", tmp_path, "--model", trained, "--out", out, "--on-bad", "skip")
    assert code == 0
    assert "4 of 5 photos captioned" in text
    assert "broken.jpg" in err
    found = {row["image"]: row["caption"] for row in rows(out)}
    assert set(found) == {
        str(path) for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg")
    }
    assert [bool(caption) for caption in found.values()].count(False) == 1
    assert found[str(deep / "broken.jpg")] == ""


def test_captions_are_written_into_photos(
    run: Any, trained: Path, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyexiv2", reason="needs the extra plait[metadata]")
    gif, own = tmp_path / "moving.gif", tmp_path / "own.jpg"
    draw("red", "left", 1).save(gif)
    exif = Image.Exif()
    exif[270] = "my own words"
    draw("red", "left", 1).save(own, exif=exif)
    before = photo.read_bytes()
    command = ("caption", tmp_path, "--model", trained, "--write-metadata", "--on-bad", "skip")
    code, out, err = run(*command)
    assert code == 0
    captions = {line.split(": ")[0]: line.split(": ")[1] for line in out.splitlines()}
    assert read_description(photo) == captions[str(photo)]
    assert photo.with_name("photo.png.original").read_bytes() == before
    assert read_description(own) == "my own words"
    assert "captions written into 1 of 3 photos; the originals are kept as NAME.original" in err
    assert "descriptions left as they were in 1 of 3 photos; --overwrite replaces them" in err
    assert "moving.gif" in err
    assert gif.read_bytes().startswith(b"GIF8")
    again = run(*command)
    assert "captions written into 0 of 3 photos\n" in again[2]
    _, out, _ = run("caption", own, "--model", trained, "--write-metadata", "--overwrite",
                    "--style", "alt")  # fmt: skip
    assert read_description(own) == out.split(": ")[1].strip()
    assert out.strip().endswith(".")


def test_a_photo_that_cannot_hold_a_caption_stops_before_any_is_changed(
    run: Any, trained: Path, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyexiv2", reason="needs the extra plait[metadata]")
    gif = tmp_path / "moving.gif"
    draw("red", "left", 1).save(gif)
    code, _, err = run("caption", photo, gif, "--model", trained, "--write-metadata")
    assert code == 2
    assert f"1 of 2 photos can't hold a description: {gif}" in err
    assert "--on-bad skip writes into the others" in err
    assert read_description(photo) is None
    gone = tmp_path / "gone.png"
    code, _, err = run("caption", gone, "--model", trained, "--write-metadata")
    assert code == 1
    assert f"{gone} is missing" in err


def test_scenes_of_a_video_are_captioned(run: Any, trained: Path, video: Path) -> None:
    code, out, _ = run("caption", video, "--model", trained)
    assert code == 0
    times = ("0:00-0:01", "0:01-0:03", "0:03-0:04")
    for line, time, colour in zip(out.splitlines(), times, SCENES, strict=True):
        assert line.startswith(f"{video} {time}: ")
        assert f"{colour} square" in line


def test_scenes_in_tables(
    run: Any, trained: Path, video: Path, photo: Path, tmp_path: Path
) -> None:
    table, where = tmp_path / "out.csv", tmp_path / "pictures"
    _, text, _ = run("caption", photo, video, "--model", trained, "--out", table)
    assert "4 of 4 photos and scenes captioned" in text
    first, *found = rows(table)
    assert (first["image"], first["video"], first["start"]) == (str(photo), "", "")
    assert [(row["video"], row["start"], row["end"]) for row in found] == [
        (str(video), "0.0", "1.5"), (str(video), "1.5", "3.0"), (str(video), "3.0", "4.5"),
    ]  # fmt: skip
    _, out, _ = run("caption", video, "--model", trained, "--json", "--pictures", where,
                    "--explain", tmp_path / "why")  # fmt: skip
    assert [(row["start"], row["end"]) for row in json.loads(out)] == [
        (0.0, 1.5), (1.5, 3.0), (3.0, 4.5),
    ]  # fmt: skip
    names = ["film-0m00s.png", "film-0m01s.png", "film-0m03s.png"]
    assert sorted(p.name for p in where.iterdir()) == names
    assert sorted(p.name for p in (tmp_path / "why").iterdir()) == names


@pytest.mark.parametrize("how", [["--style", "alt"], ["--num", 3, "--sample"]], ids=str)
def test_captions_that_were_not_the_likeliest_are_explained(
    run: Any, trained: Path, photo: Path, tmp_path: Path, how: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def others(captions: list[Alternative], expected: object = ()) -> list[Alternative]:
        return captions[1:]

    monkeypatch.setattr("plait.tasks.caption.alternative_texts", others)
    monkeypatch.setattr("plait.tasks.caption.sensible", others)
    where, table = tmp_path / "why", tmp_path / "out.csv"
    code, _, err = run("caption", photo, "--model", trained, "--explain", where, "--out", table,
                       "--set", "temperature=3", *how)  # fmt: skip
    assert code == 0, err
    assert [row["caption"] != "" for row in rows(table)] == [True]
    assert (where / "photo.png").exists()


def test_a_damaged_video_stops_or_is_skipped(
    run: Any, trained: Path, video: Path, photo: Path, tmp_path: Path
) -> None:
    broken, out = tmp_path / "broken.mp4", tmp_path / "out.csv"
    broken.write_bytes(video.read_bytes()[:2000])
    code, _, err = run("caption", broken, "--model", trained)
    assert code == 1
    assert "broken.mp4" in err
    code, text, err = run(
        "caption", broken, photo, video, "--model", trained, "--out", out, "--on-bad", "skip"
    )
    assert code == 0
    assert "4 of 5" in text
    assert err.count("broken.mp4") == 1
    assert [row["caption"] != "" for row in rows(out)] == [False, True, True, True, True]
    first = rows(out)[0]
    assert (first["video"], first["start"], first["end"]) == (str(broken), "", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--style", "poem"], "there is no style 'poem'; expected plain or alt"),
        (["--overwrite"], "--overwrite has no effect without --write-metadata"),
        (["film.mp4", "--write-metadata"], "--write-metadata can't write into videos"),
        (["--set", "num=0"], "num is 0"),
    ],
)
def test_what_does_not_fit_together(
    run: Any, trained: Path, photo: Path, options: list[str], said: str
) -> None:
    code, _, err = run("caption", photo, "--model", trained, *options)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_model_without_texts_has_no_alternative_texts(run: Any, tmp_path: Path) -> None:
    model = make_model(
        {"image": {"modality": "image", "representation": {"kind": "pixels", "size": 32}}},
        {"kind": {"kind": "category", "column": "kind"}},
        {"image": [b"", b""], "kind": ["dog", "cat"]},
        {"kind": "none"},
    )
    model.save(tmp_path / "model")
    photo = tmp_path / "a.png"
    draw("red", "left", 1).save(photo)
    code, _, err = run("caption", photo, "--model", tmp_path / "model", "--style", "alt")
    assert code == 2
    assert "expected a model with a text output" in err
    assert run("caption", photo, "--model", tmp_path / "model")[0] == 0


def sure_of(monkeypatch: pytest.MonkeyPatch, *probable: float | None) -> None:
    """The model says "a cat" of each photo, and how probable it is that it is right."""

    def predict_batch(self: Model, records: Any, policy: Any = None, **options: Any) -> Any:
        for _, sure in zip(records, probable, strict=True):
            yield {"caption": Prediction("a cat", -1.0, details=TextDetails(confidence=sure))}

    monkeypatch.setattr(Model, "predict_batch", predict_batch)
    monkeypatch.setattr(TorchEngine, "fitted", lambda self, output: {"confidence": [1.0]})


def test_what_was_captioned_before_a_bad_photo_is_kept(
    run: Any, trained: Path, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        shutil.copy(photo, folder / name)
    (folder / "b.png").write_bytes(photo.read_bytes()[:60])
    table = tmp_path / "out.csv"
    code, printed, errors = run("caption", folder, "--model", trained, "--out", table)
    assert code == 1
    assert "b.png is damaged" in errors
    assert f"1 captioned before the error, written to {table}" in printed
    assert [Path(row["image"]).name for row in rows(table)] == ["a.png"]
    _, printed, _ = run("caption", folder, "--model", trained)
    assert printed.startswith(f"{folder / 'a.png'}: ")
    code, printed, errors = run("caption", folder, "--model", trained, "--json")
    assert code == 1
    assert "b.png is damaged" in errors
    assert [Path(row["image"]).name for row in json.loads(printed)] == ["a.png"]


def test_that_an_exported_model_is_not_explained_is_said_at_once(
    run: Any, trained: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, "a dog runs")
    code, printed, errors = run("caption", photo, "--model", trained, "--engine", "onnx",
                                "--explain", tmp_path / "why")  # fmt: skip
    assert (code, printed, asked) == (2, "", [])
    assert "runs as exported graphs (by onnx), which can't do this" in errors


def test_frames_of_a_video_wait_encoded(
    run: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, most = list[Any](), list[int]()

    def find_scenes(*_: Any) -> Any:
        for number in range(9):
            frame = np.full((8, 8, 3), number, np.uint8)
            frames.append(weakref.ref(frame))
            yield Scene(float(number), number + 1.0, (frame,))
            del frame
            gc.collect()
            most.append(sum(kept() is not None for kept in frames))

    def predict_batch(self: Model, records: Any, **options: Any) -> Any:
        for number, _ in enumerate(list(records)):  # all are read before the first is answered
            yield {"caption": Prediction(f"number {number}", -1.0)}

    monkeypatch.setattr("plait.tasks.caption.find_scenes", find_scenes)
    monkeypatch.setattr(Model, "predict_batch", predict_batch)
    _, printed, _ = run("caption", "film.mp4", "--model", trained)
    assert [line.split(": ")[1] for line in printed.splitlines()] == [
        f"number {n}" for n in range(9)
    ]  # fmt: skip
    assert max(most) == 1


def test_samples_of_one_output_do_not_limit_the_texts_of_another() -> None:
    decoding = {"samples": {"sample": True, "num": 2}, "texts": {"num": 20}}
    model = make_model(
        {"image": {"modality": "image", "representation": {"kind": "pixels", "size": 32}}},
        {name: {"kind": "text", "settings": {"min_count": 1, "decoding": own}}
         for name, own in decoding.items()},
        {"image": [b"", b""], "samples": ["a dog", "a cat"], "texts": ["a dog", "a cat"]},
        {"kind": "none"},
    )  # fmt: skip
    options, wordings = _wordings(model, CaptionSettings({}))
    assert options == {"num": 20}
    assert {name: wording.count for name, wording in wordings.items()} == {
        "samples": 2, "texts": 20,
    }  # fmt: skip
    assert [bool(wording.redraws) for wording in wordings.values()] == [True, False]


def test_every_text_output_shows_as_many_texts_as_it_is_to(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(
        {"image": {"modality": "image", "representation": {"kind": "pixels", "size": 32}}},
        {name: {"kind": "text", "settings": {"min_count": 1, "decoding": {"num": num}}}
         for name, num in (("one", 1), ("three", 3))},
        {"image": [b"", b""], "one": ["a dog", "a cat"], "three": ["a dog", "a cat"]},
        {"kind": "none"},
    )  # fmt: skip
    model.save(tmp_path / "model")
    draw("red", "left", 1).save(tmp_path / "a.png")
    asked = list[Any]()

    def predict_batch(self: Model, records: Any, policy: Any = None, **options: Any) -> Any:
        asked.append(options)
        others = tuple(Alternative(f"a dog {n}", -1.0 - n) for n in range(1, 6))
        for _ in records:
            yield dict.fromkeys(("one", "three"), Prediction("a dog", -1.0, others))

    monkeypatch.setattr(Model, "predict_batch", predict_batch)
    photo = ("caption", tmp_path / "a.png", "--model", tmp_path / "model", "--style", "alt")
    code, printed, errors = run(*photo, "--json")
    assert code == 0, errors
    (row,) = json.loads(printed)
    assert (row["one"], row["one_alternatives"]) == ("A dog.", [])
    assert [row["three"], *(other["three"] for other in row["three_alternatives"])] == [
        "A dog.", "A dog 1.", "A dog 2.",
    ]  # fmt: skip
    assert asked == [{"num": 3}]


def test_captions_that_are_not_sure_are_marked(
    run: Any, trained: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copy(photo, tmp_path / "other.png"))
    sure_of(monkeypatch, 0.81, 0.34)
    arguments = ["caption", str(photo), str(other), "--model", str(trained), "--sure", "0.6"]
    _, printed, _ = run(*arguments)
    assert printed.splitlines() == [
        f"{photo}: a cat",
        f"{other}: not sure (34% likely right): a cat",
    ]
    _, printed, _ = run(*arguments[:-2])  # as 34 % is little
    assert "not sure (34% likely right): a cat" in printed
    assert f"{photo}: a cat\n" in printed
    _, printed, _ = run(*arguments[:-1], "0.3")
    assert "not sure" not in printed
    table = tmp_path / "out.csv"
    run(*arguments, "--out", str(table))
    found = [(row["sure"], row["caption_confidence"]) for row in rows(table)]
    assert found == [("True", "0.81"), ("False", "0.34")]
    _, printed, _ = run(*arguments, "--json")
    marked = [(row["sure"], row["confidence"], row["caption"]) for row in json.loads(printed)]
    assert marked == [(True, 0.81, "a cat"), (False, 0.34, "a cat")]


def test_only_outputs_with_a_confidence_are_marked(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(
        {"image": {"modality": "image", "representation": {"kind": "pixels", "size": 32}}},
        {"caption": {"kind": "text", "settings": {"min_count": 1}},
         "alt": {"kind": "text", "settings": {"min_count": 1}},
         "kind": {"kind": "category"}},
        {"image": [b"", b""], "caption": ["a dog", "a cat"], "alt": ["a dog", "a cat"],
         "kind": ["dog", "cat"]},
        {"kind": "none"},
    )  # fmt: skip
    model.save(tmp_path / "model")
    draw("red", "left", 1).save(tmp_path / "a.png")

    def predict_batch(self: Model, records: Any, policy: Any = None, **options: Any) -> Any:
        sure = Prediction("a cat", -1.0, details=TextDetails(confidence=0.9))
        unsure = Prediction("a dog", -1.0, details=TextDetails(confidence=0.3))
        for _ in records:
            yield {"caption": unsure, "alt": sure, "kind": Prediction("cat", 0.7)}

    monkeypatch.setattr(Model, "predict_batch", predict_batch)
    monkeypatch.setattr(TorchEngine, "fitted", lambda self, output: {"confidence": [1.0]})
    arguments = ["caption", tmp_path / "a.png", "--model", tmp_path / "model", "--sure", "0.6"]
    _, printed, _ = run(*arguments)
    assert [line.split(", ", 1)[1] for line in printed.splitlines()] == [
        "caption: not sure (30% likely right): a dog", "alt: a cat", "kind: cat",
    ]  # fmt: skip


def test_captions_that_are_not_sure_are_not_written_into_photos(
    run: Any, trained: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyexiv2", reason="needs the extra plait[metadata]")
    sure_of(monkeypatch, 0.34)
    before = photo.read_bytes()
    arguments = ["caption", str(photo), "--model", str(trained), "--write-metadata"]
    _, _, errors = run(*arguments, "--sure", "0.6")
    assert photo.read_bytes() == before
    assert "captions written into 0 of 1 photo\n" in errors
    assert "captions left out of 1 of 1 photo, as they are not sure" in errors
    run(*arguments, "--sure", "0.2")
    assert read_description(photo) == "a cat"


def test_a_model_that_is_not_calibrated_can_not_be_sure(
    run: Any, trained: Path, photo: Path
) -> None:
    code, _, errors = run("caption", photo, "--model", trained, "--sure", "0.6")
    assert code == 2
    assert "has no calibrated confidence, which --sure needs" in errors


def test_sure_is_for_the_usual_search(
    run: Any, trained: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure_of(monkeypatch, 0.9)
    asked = ("caption", photo, "--model", trained, "--sure", "0.6")
    code, _, errors = run(*asked, "--sample", "--beam", 4)
    assert code == 2
    assert "leave out beam and sample" in errors
    code, _, errors = run(*asked, "--beam", 3)  # as in the recipe
    assert code == 0, errors


def test_it_is_an_error_if_nothing_can_be_captioned(
    run: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"no photo")
    code, _, err = run("caption", tmp_path / "a.png", "--model", trained, "--on-bad", "skip")
    assert code == 1
    assert "a.png is not an image" in err
    assert "nothing could be captioned" in err
