"""Captions as data sets publish them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from plait.data.tables import read_table
from plait.types import PlaitError


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def photos(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, "x")


def karpathy(folder: str, splits: list[str]) -> dict[str, Any]:
    images = [
        {
            "filename": f"{number}.jpg",
            "split": split,
            "imgid": number,
            "sentences": [
                {"raw": f"A dog {number}.", "tokens": ["a", "dog"]},
                {"raw": "Dog", "tokens": ["dog"]},
            ],
        }
        for number, split in enumerate(splits)
    ]
    return {
        "dataset": "x",
        "images": [i | ({"filepath": folder} if folder else {}) for i in images],
    }


@pytest.mark.parametrize("place", ["", "annotations"])
@pytest.mark.parametrize("images", ["", "images"])
def test_karpathys_coco(tmp_path: Path, place: str, images: str) -> None:
    photos(tmp_path / images / "val2014", "0.jpg")
    content = karpathy("val2014", ["restval", "train", "val", "test"])
    found = read_table(write(tmp_path / place / "dataset_coco.json", content))
    assert found.column("image")[0] == "val2014/0.jpg"
    assert found.column("captions")[1] == ["A dog 1.", "Dog"]
    assert found.column("split") == ["train", "train", "val", "test"]
    assert (found.root / found.column("image")[0]).is_file()
    assert read_table(tmp_path).columns == found.columns


@pytest.mark.parametrize("folder", ["Images", "Flicker8k_Dataset", "flickr30k-images"])
def test_karpathys_flickr(tmp_path: Path, folder: str) -> None:
    photos(tmp_path / folder, "0.jpg")
    found = read_table(write(tmp_path / "dataset_flickr8k.json", karpathy("", ["train", "test"])))
    assert found.column("image") == ["0.jpg", "1.jpg"]
    assert found.root == tmp_path / folder


def annotation(image: int, caption: str, **marks: Any) -> dict[str, Any]:
    return {"image_id": image, "caption": caption, **marks}


def test_vizwiz_without_what_was_rejected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [{"id": n, "file_name": f"VizWiz_train_{n}.jpg", "text_detected": 1} for n in range(3)]
    annotations = [
        annotation(0, "A can of soup.", is_precanned=False, is_rejected=False),
        annotation(0, "Quality issues are too severe.", is_precanned=True, is_rejected=False),
        annotation(1, "Quality issues are too severe.", is_precanned=True, is_rejected=True),
        annotation(2, "A shelf.", is_precanned=False, is_rejected=False),
    ]
    photos(tmp_path / "train", "VizWiz_train_0.jpg")
    content = {"info": {}, "images": images, "annotations": annotations}
    found = read_table(write(tmp_path / "annotations" / "train.json", content))
    assert found.columns == {
        "image": ["VizWiz_train_0.jpg", "VizWiz_train_2.jpg"],
        "captions": [["A can of soup."], ["A shelf."]],
    }
    assert found.root == tmp_path / "train"
    assert "2 of 4 captions left out" in caplog.text
    assert "images that have no other: 1" in caplog.text


def test_nocaps_keeps_its_domains(tmp_path: Path) -> None:
    images = [
        {"id": n, "file_name": f"{n}.jpg", "coco_url": "http://x", "domain": domain, "width": 9}
        for n, domain in enumerate(["in-domain", "out-domain"])
    ]
    content = {"images": images, "annotations": [annotation(0, "A dog."), annotation(1, "A cat.")]}
    photos(tmp_path / "validation", "0.jpg")
    found = read_table(write(tmp_path / "nocaps_val_4500_captions.json", content))
    assert found.columns == {
        "image": ["0.jpg", "1.jpg"],
        "captions": [["A dog."], ["A cat."]],
        "domain": ["in-domain", "out-domain"],
    }
    assert found.root == tmp_path / "validation"


def test_images_without_captions_are_to_be_captioned(tmp_path: Path) -> None:
    content = {"info": {}, "images": [{"id": 1, "file_name": "a.jpg", "height": 2}]}
    assert read_table(write(tmp_path / "image_info_test2017.json", content)).columns == {
        "image": ["a.jpg"]
    }


def test_coco_in_a_folder_is_all_its_splits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split, count in (("train2017", 3), ("val2017", 2)):
        images = [{"id": n, "file_name": f"{split[0]}{n}.jpg"} for n in range(count)]
        content = {"images": images, "annotations": [annotation(n, "A dog.") for n in range(count)]}
        write(tmp_path / "annotations" / f"captions_{split}.json", content)
        write(tmp_path / "annotations" / f"instances_{split}.json", {"images": [], "x": 1})
        photos(tmp_path / split, *(image["file_name"] for image in images))
    found = read_table(tmp_path)
    assert found.columns == {
        "image": [f"train2017/t{n}.jpg" for n in range(3)]
        + [f"val2017/v{n}.jpg" for n in range(2)],
        "captions": [["A dog."]] * 5,
        "split": ["train"] * 3 + ["val"] * 2,
    }
    assert found.root == tmp_path
    assert "read 3 + 2 rows of the splits train, val" in caplog.text


FLICKR30K = (
    "image_name| comment_number| comment\n"
    '1.jpg| 0| Two men , "talking" | outside .\n'
    "1.jpg| 1| Two men .\n"
    "2.jpg| 4   A dog runs across the grass .\n"
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_flickr30k_with_bars(tmp_path: Path, end: str) -> None:
    photos(tmp_path / "flickr30k_images", "1.jpg")
    path = tmp_path / "results.csv"
    path.write_text(FLICKR30K, newline=end)
    for found in (read_table(path), read_table(tmp_path)):
        assert found.columns == {
            "image": ["1.jpg", "2.jpg"],
            "captions": [
                ['Two men , "talking" | outside .', "Two men ."],
                ["A dog runs across the grass ."],
            ],
        }
        assert found.root == tmp_path / "flickr30k_images"


def test_flickr30k_with_tabs(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg")
    text = '1.jpg#0\tTwo "men" .\n1.jpg#1\tMen\n2.jpg#0\tA dog\n'
    for name in ("results_20130124.token", "captions.txt"):
        found = read_table(write(tmp_path / name, text))
        assert found.columns == {
            "image": ["1.jpg", "2.jpg"], "captions": [['Two "men" .', "Men"], ["A dog"]],
        }  # fmt: skip


def test_flickr8ks_tokens_with_its_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "Flickr8k.token.txt", "1.jpg#0\tA dog\n2.jpg.1#0\tA cat\n")
    write(tmp_path / "Flickr_8k.devImages.txt", "1.jpg\n")
    assert read_table(path).column("split") == ["val", None]


def test_lj_speech(tmp_path: Path) -> None:
    photos(tmp_path / "wavs", "LJ001-0001.wav", "LJ001-0002.wav")
    write(tmp_path / "metadata.csv", 'LJ001-0001|In 1837, "he"|In eighteen\nLJ001-0002|he|he\n')
    found = read_table(tmp_path)
    assert found.columns == {
        "audio": ["wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav"],
        "text": ['In 1837, "he"', "he"],
        "normalized_text": ["In eighteen", "he"],
    }
    assert (found.root / "wavs" / "LJ001-0001.wav").is_file()
    write(tmp_path / "metadata.csv", "LJ001-0001|he|he\nLJ001-0002|he\n")
    with pytest.raises(PlaitError, match="line 2 is broken"):
        read_table(tmp_path)


def test_libri_speech(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, chapter in (("train-clean-100", "84-1"), ("train-clean-100", "84-2"), ("dev", "7-1")):
        folder = tmp_path / part / chapter.replace("-", "/")
        photos(folder, f"{chapter}-0000.flac", f"{chapter}-0001.flac")
        lines = f"{chapter}-0000 GO DO\n{chapter}-0001 YOU HEAR\n"
        write(folder / f"{chapter}.trans.txt", lines)
    found = read_table(tmp_path)
    assert found.column("audio")[0] == "dev/7/1/7-1-0000.flac"
    assert found.column("text") == ["GO DO", "YOU HEAR"] * 3
    assert found.column("split") == ["val"] * 2 + ["train"] * 4
    assert "read 4 + 2 rows of the splits train, val" in caplog.text


def test_a_line_that_is_not_as_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "results.csv", FLICKR30K + "3.jpg, 0, A dog\n")
    with pytest.raises(PlaitError, match=r"results\.csv line 5 is broken; expected name\.jpg\| 0"):
        read_table(path)


def test_karpathys_file_without_its_splits(tmp_path: Path) -> None:
    content = karpathy("", ["train"])
    del content["images"][0]["split"]
    with pytest.raises(PlaitError, match="lacks 'split'"):
        read_table(write(tmp_path / "t.json", content))


def test_nothing_is_told_of_captions_of_which_none_was_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    images = [{"id": 1, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": [annotation(1, "A dog.", is_rejected=False)]}
    read_table(write(tmp_path / "t.json", content))
    assert not caplog.records
