from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = [f"{first}{second}" for first in "bdfgklmn" for second in ("ax", "ex", "ox")]


def run(script: str, *args: Path) -> subprocess.CompletedProcess[str]:
    """An example as a reader starts it."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder like the package's: food and plants with 24 stamps each, and two kinds of tool."""
    here = tmp_path / "stamps"
    plants = [word[::-1] for word in WORDS]
    for category, words in {"food": WORDS, "plants": plants, "tools": ["hammer", "saw"]}.items():
        for word in words:
            put(here / category / "kind" / word, f"A {word} of {category}.")
    return here


def put(place: Path, text: str, picture: str | None = None, speech: str | None = None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".png").write_text(picture or str(place))
    place.with_suffix(".txt").write_text(f"{text}\nes.utf8=Algo.\n")
    if speech:
        place.with_name(f"{place.name}_desc_es.ogg").write_text(speech)


def stamps(installed: Path) -> tuple[dict[str, dict[str, str]], str]:
    """The table's rows by their pictures' names, and what the script said."""
    done = run("stamps.py", installed, installed.parent / "table")
    assert done.returncode == 0, done.stderr
    with (installed.parent / "table" / "stamps.csv").open(newline="") as file:
        return {Path(row["image"]).stem: row for row in csv.DictReader(file)}, done.stdout


def test_stamps_have_their_picture_text_and_speech(installed: Path) -> None:
    put(installed / "food" / "quince", "“A quince”, yellow.", speech="membrillo")
    (installed / "food" / "quince.svg").write_text("")
    (installed / "food" / "untold.png").write_text("a picture without a description")
    table, said = stamps(installed)
    quince = table["quince"]
    assert Path(quince["image"]) == (installed / "food" / "quince.png").resolve()
    assert Path(quince["speech"]) == (installed / "food" / "quince_desc_es.ogg").resolve()
    assert quince["text"] == "“A quince”, yellow."
    assert quince["category"] == "food"
    assert table["bax"]["speech"] == ""
    assert "untold" not in table
    assert "49 stamps, 1 of them spoken, in 2 categories" in said


def test_small_categories_are_left_out_and_named(installed: Path) -> None:
    table, said = stamps(installed)
    assert {row["category"] for row in table.values()} == {"food", "plants"}
    assert said.rstrip().endswith("fewer than 15 families: tools")


def test_near_duplicates_are_a_family(installed: Path) -> None:
    food = installed / "food"
    put(food / "apple_red", "A ripe apple.")
    put(food / "apple2", "A big apple.")  # the drawing
    put(food / "apple2_mirror", "An apple, mirrored.")  # the drawing
    put(food / "round", "A Ripe apple.", speech="una manzana")  # the description
    put(food / "other", "A malus.", speech="una manzana")  # the recording
    put(food / "copy", "A copied one.", picture=str(food / "apple2"))  # the picture
    put(food / "001", "One.")
    put(food / "002", "Two.")  # a name of digits says nothing of the drawing
    table, _ = stamps(installed)
    same = ["apple_red", "apple2", "apple2_mirror", "round", "other", "copy"]
    assert len({table[name]["family"] for name in same}) == 1
    assert len({row["family"] for row in table.values()}) == len(table) - len(same) + 1
    assert len({table[name]["split"] for name in same}) == 1


def test_every_category_is_in_every_split(installed: Path) -> None:
    table, _ = stamps(installed)
    for category in ("food", "plants"):
        splits = [row["split"] for row in table.values() if row["category"] == category]
        counts = [splits.count(split) for split in ("train", "val", "test")]
        assert counts == [16, 3, 5]


def test_the_split_is_the_same_wherever_the_stamps_lie(installed: Path, tmp_path: Path) -> None:
    before, _ = stamps(installed)
    after, _ = stamps(installed.rename(tmp_path / "moved"))
    for name, row in before.items():
        assert (row["family"], row["split"]) == (after[name]["family"], after[name]["split"])


def test_spoken_stamps_are_small_letters_split_by_description(installed: Path) -> None:
    french = {
        "plum": "Une prune\u00a0!", "plum2": "Une  prune", "pair": "Deux pièces (l’une rouge).",
        "cent": "Une pièce de 5 cents.", "none": "",
    }  # fmt: skip
    for name, text in french.items():
        put(installed / "food" / name, "Said.")
        (installed / "food" / f"{name}.txt").write_text(f"Said.\nes.utf8=x\nfr.utf8={text}\n")
        (installed / "food" / f"{name}_desc_fr.ogg").write_text(name)
    done = run("spoken_stamps.py", "fr", installed, installed.parent)
    assert done.returncode == 0, done.stderr
    with (installed.parent / "spoken_fr.csv").open(newline="", encoding="utf-8") as file:
        table = {Path(row["audio"]).name.split("_")[0]: row for row in csv.DictReader(file)}
    assert {name: row["text"] for name, row in table.items()} == {
        "plum": "une prune", "plum2": "une prune", "pair": "deux pièces l'une rouge",
    }  # fmt: skip
    assert table["plum"]["split"] == table["plum2"]["split"]
    assert "3 recordings of 2 descriptions" in done.stdout
    assert "2 left out" in done.stdout
    done = run("spoken_stamps.py", "de", installed, installed.parent)
    assert done.returncode == 1
    assert "apt-get install tuxpaint-stamps-default" in done.stderr


def test_absent_stamps_say_how_to_get_them(tmp_path: Path) -> None:
    done = run("stamps.py", tmp_path / "nowhere", tmp_path)
    assert done.returncode == 1
    assert "apt-get install tuxpaint-stamps-default" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_colours_and_things_are_taken_out_of_translations(tmp_path: Path) -> None:
    pytest.importorskip("pattern", reason="needs the extra plait[wordnet]")
    english = ["A Black dog runs and a red-haired man stands.", "It rains."]
    rows = [
        {"image": "../photos/1.jpg", "split": split, "en": text, "de": "Ein Satz."}
        for text, split in zip(english, ("train", "test_2016_flickr"), strict=True)
    ]
    data = tmp_path / "data"
    data.mkdir()
    (data / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("translation_tables.py", data / "t.jsonl", tmp_path)
    assert done.returncode == 0, done.stderr
    found = {
        name: [json.loads(row) for row in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("pairs", "pairs_without_colours", "pairs_without_nouns")
    }
    assert [row["en"] for row in found["pairs"]] == english
    assert [row["split"] for row in found["pairs"]] == ["train", "test"]
    assert Path(found["pairs"][0]["image"]) == (tmp_path / "photos" / "1.jpg").resolve()
    colourless = [row["en"] for row in found["pairs_without_colours"]]
    assert colourless == ["A [v] dog runs and a [v] man stands.", "It rains."]
    assert [row["hidden"] for row in found["pairs_without_colours"]] == [2, 0]
    assert found["pairs_without_nouns"][1]["en"] == "It rains."
    assert found["pairs_without_nouns"][0]["en"] == "A Black [v] runs and a red-haired [v] stands."


def test_each_speaker_is_held_out_once(tmp_path: Path) -> None:
    recordings = tmp_path / "r.csv"
    rows = [
        (f"{who}_{word}_{take}.wav", word, who)
        for who in ("ann", "bob")
        for word in ("one", "two")
        for take in range(11)
    ]
    with recordings.open("w", newline="") as file:
        csv.writer(file).writerows([("audio", "word", "speaker"), *rows])
    done = run("speakers_table.py", recordings, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.split()] == [
        "without_ann.csv", "without_bob.csv",
    ]  # fmt: skip
    with (tmp_path / "out" / "without_ann.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["split"] for row in table[:22]] == ["test"] * 22
    assert [row["split"] for row in table[22:33]] == ["val", *["train"] * 9, "val"]
    assert Path(table[0]["audio"]) == (tmp_path / "ann_one_0.wav").resolve()


@pytest.mark.parametrize(
    ("script", "lacking"), [("speakers_table.py", "audio"), ("translation_tables.py", "image")]
)
def test_a_table_of_another_kind_is_one_line(tmp_path: Path, script: str, lacking: str) -> None:
    (tmp_path / "text.jsonl").write_text('{"split": "train", "en": "A dog.", "de": "Ein Hund."}\n')
    for given, said in (
        ([tmp_path / "gone.csv"], "there is no table"),
        ([tmp_path / "text.jsonl"], f"has no column '{lacking}'"),
        ([], f"usage: python examples/{script}"),
    ):
        done = run(script, *given, *[tmp_path / "out"] * bool(given))
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_names_that_are_digits_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{n % 2},{'01' if n % 2 else '02'}" for n in range(6)]
    (tmp_path / "recordings.csv").write_text("\n".join(["audio,word,speaker", *rows]) + "\n")
    done = run("speakers_table.py", tmp_path / "recordings.csv", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"without_01.csv", "without_02.csv"}
