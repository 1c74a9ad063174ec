"""The commands as a user meets them: output, exit codes, one clear line for a mistake."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plait.config import registry


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_caption_prints_a_line_a_photo(run: Any, trained: Path, squares: Path) -> None:
    photos = [squares.with_name(f"00{i}.png") for i in range(2)]
    code, out, _ = run("caption", *photos, "--model", trained)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(str(photos[0]))
    assert "red square" in lines[0]


def test_caption_a_folder_to_a_csv(run: Any, trained: Path, squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "captions.csv"
    code, text, _ = run(
        "caption", squares.parent, "--model", trained, "--out", out, "--num", 5, "--beam", 3
    )
    assert code == 0
    assert "60 of 60 photos captioned" in text
    rows = table(out)
    assert len(rows) == 60
    assert list(rows[0]) == ["image", "caption", "score", *(f"caption_{k}" for k in range(2, 6))]
    assert float(rows[0]["score"]) < 0


def test_caption_json_and_sampling(run: Any, trained: Path, squares: Path) -> None:
    photo = squares.with_name("000.png")
    args = ("caption", photo, "--model", trained, "--json", "--sample", "--num", 3)
    code, out, _ = run(*args, "--set", "seed=1")
    assert code == 0
    (row,) = json.loads(out)
    assert len(row["alternatives"]) == 2
    assert run(*args, "--set", "seed=1")[1] == out


def test_explain_draws_a_tile_a_word(
    run: Any, trained: Path, squares: Path, tmp_path: Path
) -> None:
    photo = squares.with_name("000.png")
    picture, numbers = tmp_path / "why.png", tmp_path / "why.json"
    assert run("explain", trained, photo, "--out", picture)[0] == 0
    code, out, _ = run("explain", trained, photo, "--out", numbers)
    assert code == 0
    assert "random order" in out
    found = json.loads(numbers.read_text())
    tiles = 1 + len(found["words"])
    with Image.open(picture) as image:
        width, height = image.size
    assert (width // 328) * (height // 358) >= tiles
    assert sum(sum(row) for row in found["words"][0]["attention"]) == pytest.approx(1, abs=1e-2)
    assert found["words"][0]["word"] == found["caption"].split()[0]
    code, _, err = run("explain", trained, photo, "--out", tmp_path / "why.txt")
    assert code == 2
    assert ".html, .png or .json" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "name one record to explain; the model's inputs are image"),
        (["{table}"], "expected --row with the number of a row"),
        (["{table}", "--row", "999"], "has no row 999; expected 1 to 60"),
        (["--input", "photo"], "--input 'photo' names no cell; expected NAME=CELL"),
        (["--input", "sound=a.wav"], "unknown input sound; expected image"),
        (["{photo}", "--output", "mood"], "has no output 'mood'; expected caption"),
        (["nothing.png"], "nothing.png"),
    ],
)
def test_explain_says_what_it_needs(
    run: Any, trained: Path, squares: Path, args: list[str], said: str
) -> None:
    names = {"table": squares, "photo": squares.with_name("000.png")}
    code, _, err = run("explain", trained, *(arg.format(**names) for arg in args))
    assert code in (1, 2)
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_caption_explain_writes_a_picture_a_photo(
    run: Any, trained: Path, squares: Path, tmp_path: Path
) -> None:
    photos = [squares.with_name(f"00{i}.png") for i in range(2)]
    code, _, _ = run("caption", *photos, "--model", trained, "--explain", tmp_path / "why")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "why").iterdir()) == ["000.png", "001.png"]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(photos[0], tmp_path / folder / "a.png")
    both = [tmp_path / "one" / "a.png", tmp_path / "two" / "a.png"]
    assert run("caption", *both, "--model", trained, "--explain", tmp_path / "two whys")[0] == 0
    assert sorted(p.name for p in (tmp_path / "two whys").iterdir()) == ["a.png", "two-a.png"]


def test_train_evaluate_predict(
    run: Any, squares: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    sets = [word for setting in small for word in ("--set", setting)]
    code, _, err = run("train", "captioning", squares, "--out", model, *sets)
    assert code == 0
    assert "inputs.image <- column 'image'" in err
    assert "train 48, val 12" in err
    code, _, err = run("train", "captioning", squares, "--out", model, *sets)
    assert code == 0
    assert "is finished" in err
    code, out, _ = run("evaluate", model, squares, "--split", "val", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["records"] == 12
    assert 0 <= found["scores"]["caption"]["bleu1"] <= 1
    code, _, _ = run("predict", model, squares, "--out", tmp_path / "p.csv")
    assert code == 0
    assert len(table(tmp_path / "p.csv")) == 60


def test_long_work_reports_on_the_error_stream(
    run: Any, trained: Path, squares: Path, tmp_path: Path, small: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("plait.render.progress.EVERY", 0.0)
    sets = [word for setting in small for word in ("--set", setting)]
    model, page = tmp_path / "model", tmp_path / "report.html"
    out = tmp_path / "out.json"
    stages = {
        "likelihood": ["train", "captioning", squares, "--out", model, *sets, "--json"],
        "scores": ["evaluate", trained, squares, "--split", "val", "--json"],
        "answers": ["predict", trained, squares, "--out", out, "--json"],
        "answers ": ["caption", squares.parent, "--model", trained, "--json"],
        "scores ": ["report", trained, squares, "--split", "val", "--out", page],
    }
    for stage, args in stages.items():
        code, text, err = run(*args)
        assert code == 0, err
        assert re.search(rf"^{stage.strip()}: [\d,]+ of [\d,]+", err, re.M), args
        assert " of " not in text
        if args[0] == "train":
            assert all(json.loads(line) for line in text.splitlines())
        elif args[-1] == "--json":
            assert json.loads(text)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["caption", "gone.jpg"], 1, "gone.jpg"),
        (["caption", "photo.png", "--model", "captoiner"], 2, "no model"),
        (["train", "captioning", "gone.csv"], 1, "gone.csv"),
        (["train", "captoning", "table.jsonl"], 2, "did you mean 'captioning'"),
        (["train", "captioning", "table.jsonl", "--set", "seed=x"], 2, "seed: got 'x'"),
        (["train", "captioning", "table.jsonl", "--set", "inputs.image.column=foto"], 2, "'foto'"),
        (["train", "captioning", "empty.csv"], 1, "empty.csv"),
        (["train", "captioning", "nocaption.csv"], 2, "holds text data"),
        (["train", "captioning", "allempty.jsonl"], 1, "all training cells are empty"),
        (["evaluate", "gone", "table.jsonl"], 2, "no model 'gone'"),
        (["summary", "nothing"], 2, "nothing"),
        (["list", "decoders"], 2, "did you mean 'decoder'"),
        (["recipe", "nothing"], 2, "no recipe"),
        (["data", "gone.csv"], 1, "gone.csv"),
        (["caption"], 2, "Missing argument"),
        (["captoin", "x"], 2, "No such command"),
        (["caption", "photo.png", "--on-bad", "ignore"], 2, "stop or skip or missing"),
        (["caption", "photo.png", "--set", "beam=["], 2, "is not a setting; expected NAME=VALUE"),
        (["caption", "photo.png", "--set", "num=x", "--out", "o.csv"], 2, "num"),
        (["caption", "photo.png", "--set", "max_words=100"], 2, "at most 64"),
        (["caption", "photo.png", "--set", "min_words=60"], 2, "above max_words"),
        (["caption", "x" * 300], 1, "is neither a path"),
        (["train", "captioning", "table.jsonl", "--out", "."], 2, "--out"),
        (["train", "captioning", "notrain.jsonl"], 1, "no row in train"),
        (["train", "captioning", "table.jsonl", "--column", "image"], 2, "NAME=COLUMN"),
        (["train", "captioning", "table.jsonl", "--column", "foto=a"], 2, "inputs.image"),
        (["train", "captioning", "table.jsonl", "--column", "image=foto"], 2, "--column inputs"),
        (["train", "captioning", "table.jsonl", "--set", "a", "--set", "seed.x=1"], 2, "seed.x"),
        (["caption", "table.jsonl"], 2, "plait predict"),
        (["predict", "captioner", "photo.png"], 1, "plait caption"),
        (["caption", "photo.png", "--set", "bem=2"], 2, "did you mean 'beam'"),
        (["caption", "photo.png", "--set", "beam=0"], 2, "beam is 0: input should be greater"),
        (["caption", "photo.png", "--out", "o.txt"], 2, ".csv or .json"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(
    run: Any, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    args: list[str], code: int, words: str, trained: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copy(squares.with_name("000.png"), "photo.png")
    shutil.copy(squares, "table.jsonl")
    Path("empty.csv").write_text("image,caption\n")
    Path("nocaption.csv").write_text("image,number\nphoto.png,3\n")
    Path("notrain.jsonl").write_text('{"image": "photo.png", "caption": "a", "split": "val"}\n')
    photos = [str(squares.with_name(f"0{i:02d}.png")) for i in range(20)]
    rows = [{"image": photo, "caption": ""} for photo in photos]
    Path("allempty.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if args[0] == "caption" and "--model" not in args and len(args) > 1:
        args = [*args, "--model", str(trained)]
    got, _, err = run(*args)
    assert got == code, err
    assert words in err
    assert not list(tmp_path.glob("model*")) or code != 2


@pytest.mark.parametrize("policy", ["skip", "missing"])
def test_bad_photos_go_by_the_policy(
    run: Any, trained: Path, squares: Path, tmp_path: Path, policy: str
) -> None:
    shutil.copy(squares.with_name("000.png"), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "c.jpg").write_bytes(b"")
    code, _, err = run("caption", tmp_path, "--model", trained)
    assert code == 1
    assert "b.png" in err
    out = tmp_path / "out.csv"
    code, text, err = run("caption", tmp_path, "--model", trained, "--on-bad", policy, "--out", out)
    assert code == 0
    assert "b.png" in err
    assert "c.jpg" in err
    assert "1 of 3 photos captioned" in text
    rows = {Path(r["image"]).name: r["caption"] for r in table(out)}
    assert rows["a.png"]
    assert not rows["b.png"]  # nothing was seen, so nothing is said


def test_a_whole_table_is_left_when_it_fails(
    run: Any, trained: Path, squares: Path, tmp_path: Path
) -> None:
    shutil.copy(squares.with_name("000.png"), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    code, _, _ = run("caption", tmp_path, "--model", trained, "--out", tmp_path / "out.csv")
    assert code == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "out.csv"]
    assert [Path(row["image"]).name for row in table(tmp_path / "out.csv")] == ["a.png"]


def test_answers_as_json(run: Any, trained: Path, squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    photo = squares.with_name("000.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    code, text, err = run(
        "caption", photo, tmp_path / "b.png", "--model", trained, "--out", out, "--on-bad", "skip"
    )
    assert code == 0
    assert "1 of 2 photos captioned" in text
    assert "row" not in err  # a photo given by name stands in no table
    first, second = json.loads(out.read_text())
    assert first["image"] == str(photo)
    assert first["caption"]
    assert second["caption"] is None


def test_columns_can_be_named(run: Any, trained: Path, squares: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in squares.read_text().splitlines()][:6]
    lines = ["foto,text,comment"]
    lines += [
        f"{squares.with_name(row['image'])},nobody knows it,{row['captions'][0]}" for row in rows
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = {}
    for column in ("text", "comment"):
        options = ["--column", f"outputs.caption={column}", "--column", "image=foto"]
        options.append("--include-training")
        code, out, err = run("evaluate", trained, tmp_path / "t.csv", *options, "--json")
        assert code == 0, err
        found[column] = json.loads(out)
        assert found[column]["columns"] == {"inputs.image": "foto", "outputs.caption": column}
    bleu = {name: scores["scores"]["caption"]["bleu1"] for name, scores in found.items()}
    assert bleu["text"] < 0.2 < bleu["comment"]


def test_a_guess_among_several_is_said(
    run: Any, trained: Path, squares: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = squares.with_name("000.png")
    (tmp_path / "t.csv").write_text(f"image,text,comment\n{photo},a red square,a blue one\n")
    code, _, _ = run("evaluate", trained, tmp_path / "t.csv", "--include-training")
    assert code == 0
    assert "column 'text' for outputs.caption, not 'comment'; choose another with" in caplog.text


def test_version(run: Any) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.strip() == f"plait {version('plait')}"


def test_lists_and_recipes(run: Any) -> None:
    code, out, _ = run("list", "decoder", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"gru-attention", "transformer"} <= set(rows)
    settings = {s["name"]: s for s in rows["transformer"]["settings"]}
    assert settings["layers"]["default"] == 2
    assert settings["layers"]["about"] == "decoder blocks"
    assert "captioning-reference" in run("list", "recipe")[1]
    found = json.loads(run("recipe", "captioning", "--json", "--set", "seed=3")[1])
    assert (found["name"], found["seed"]) == ("captioning", 3)
    code, out, _ = run("recipe", "captioning", "--resolved")
    assert code == 0
    assert "length_penalty" in out


def test_kinds_are_listed(run: Any) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert "fusion  early, hybrid, late, linear, none" in out
    told = {row["name"]: row["about"] for row in json.loads(run("list", "--json")[1])}
    assert list(told) == ["recipe", "model", *registry.kinds()]
    assert "captioner" in told["model"]
    _, out, _ = run("list", "--help")
    assert all(kind in out for kind in told)


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_what_a_component_is_is_a_whole_sentence(kind: str) -> None:
    for name in registry.names(kind):
        assert registry.find(kind, name).about.endswith("."), name


def test_data_profile(run: Any, squares: Path, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.jsonl.gz", "wt") as file:
        for line in squares.read_text().splitlines():
            row = json.loads(line)
            file.write(json.dumps({**row, "image": str(squares.parent / row["image"])}) + "\n")
    code, out, _ = run("data", tmp_path / "t.jsonl.gz", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["photos"]["count"] == 60
    assert found["photos"]["bad"]["count"] == 0
    for n in range(25):
        (tmp_path / f"{n}.png").write_bytes(b"broken")
    (tmp_path / "metadata.csv").write_text(
        "file_name,caption\n" + "".join(f"{n}.png,a red square\n" for n in range(25))
    )
    code, out, err = run("data", tmp_path)
    assert code == 0
    assert "column 'file_name'" in out
    assert "column 'caption'" in out
    assert err.count("bad: row") == 20  # the rest is counted
    assert "and 5 more bad cells" in err


def test_module_entry_point() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plait", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "caption" in done.stdout


def test_files_are_named_in_many_ways(
    run: Any, trained: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer for each, and one clear line for what is no file."""
    monkeypatch.chdir(tmp_path)
    Path("img").mkdir()
    photo = Path(shutil.copy(squares.with_name("000.png"), "img/café.png"))
    text = base64.b64encode(photo.read_bytes()).decode()
    cells = [
        "img/café.png", "img/cafe\u0301.png", "img\\café.png", "img/café.png ", "'img/café.png'",
        f"file://{tmp_path}/img/caf%C3%A9.png", text, f"data:image/png;base64,{text}",
    ]  # fmt: skip
    Path("t.jsonl").write_text("".join(json.dumps({"image": cell}) + "\n" for cell in cells))
    code, out, err = run("predict", str(trained), "t.jsonl", "--json")
    assert code == 0, err
    answers = json.loads(out)
    assert len(answers) == len(cells)
    assert len({json.dumps(answer["caption"]) for answer in answers}) == 1
    for cell, words in (
        ("img/cafe.png", "did you mean 'img/café.png'?"),
        ("https://127.0.0.1:1/p.png", "--allow-urls"),
    ):
        Path("t.csv").write_text(f"image\n{cell}\n")
        code, _, err = run("predict", str(trained), "t.csv")
        assert code == 1
        assert words in err
    for command in (
        ("caption", cell, "--model", str(trained)), ("explain", str(trained), cell),
        ("explain", str(trained), "--input", f"image={cell}"),
    ):  # fmt: skip
        assert f"{cell} is an address, not a file" in run(*command)[2]
        assert f"{cell} can't be downloaded: " in run(*command, "--allow-urls")[2]
    code, out, err = run("caption", f"data:image/png;base64,{text}", "--model", str(trained))
    assert code == 0, err
    code, _, err = run("predict", str(trained), "t.csv", "--allow-urls")
    assert code == 1
    assert "can't be downloaded: " in err
    code, out, err = run("data", "t.csv", "--allow-urls", "--json")
    assert code == 0, err
    assert "can't be downloaded: " in json.loads(out)["photos"]["bad"]["first"][0]["why"]
