"""A package from outside adds a modality, a fusion, two outputs and a command, without an edit in
plait: installed as users would, it trains, evaluates, explains, exports and serves."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait

PACKAGE = Path(__file__).parent / "pointcloud"
ROWS, TRAINING = 120, 90
RECIPE = """
name: clouds
inputs:
  shape: {modality: points, representation: {kind: point-net, views: 2}}
  words: {modality: text, representation: {kind: bag-of-words, min_count: 1}}
fusion: {kind: average}
outputs:
  corner: {kind: position, column: [x, y, z]}
  profile: {kind: profile, weight: 0.3}
training:
  {epochs: 40, patience: 40, batch: 16, learning_rate: 0.01, averaging: 0, modality_dropout: 0.3}
"""
MOVED = """
import numpy as np
from plait.config.recipe import load_recipe
from plait.data.cells import ErrorPolicy
from plait.network import TorchEngine, build_network
from plait.pipeline.engine import build_parts
from plait.pipeline.records import Preparer, fit_parts, open_table

recipe = load_recipe("clouds.yaml")
table, columns = open_table(recipe, build_parts(recipe), "clouds.jsonl")
parts = fit_parts(recipe, build_parts(recipe), table, columns)
engine = TorchEngine(build_network(recipe, parts))
records, _ = Preparer(parts, engine, columns, ErrorPolicy()).prepare(table, views=True)
rows = range(len(table))
still, moved = records.batch(rows), records.batch(rows, np.random.default_rng(0))
flipped = []
for was, now in zip(still.prepared["shape"], moved.prepared["shape"]):
    flipped.append(not np.allclose(was[:, 0], now[:, 0]))
    assert np.allclose(was[:, :3] * ((-1, 1, 1) if flipped[-1] else 1), now[:, :3])
for flip, was, now in zip(flipped, still.targets["corner"], moved.targets["corner"]):
    assert now == (-was[0] if flip else was[0], *was[1:])
assert all(profile.shape == (8,) for profile in moved.targets["profile"])
print(sum(flipped), "of", len(flipped))
"""


@dataclass(frozen=True)
class Place:
    """A folder with a table, and plait with the plug-in installed."""

    folder: Path
    environment: dict[str, str]

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A process that has ended."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def plait(self, *arguments: str) -> str:
        """What a command prints."""
        done = self.python("-m", "plait", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self, model: str, engine: str) -> list[dict[str, Any]]:
        """Of each row of the table."""
        return json.loads(
            self.plait("predict", model, "clouds.jsonl", "--engine", engine, "--json")
        )


def environment(*folders: Path) -> dict[str, str]:
    """In which plait and the packages of these folders can be imported; no modules of the tests."""
    source = Path(plait.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, source]))}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The plug-in is installed from a copy, as building it leaves files beside its source."""
    site, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)
    install = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *install, "--target", site, source], check=True)
    folder = tmp_path_factory.mktemp("clouds")
    write_table(folder)
    cache = str(tmp_path_factory.mktemp("cache"))
    return Place(folder, {**environment(site), "PLAIT_CACHE": cache})


def write_table(folder: Path) -> None:
    """Clouds beside a corner, which is the right answer; a word; a curve that is
    highest at the corner's height."""
    rng, rows = np.random.default_rng(0), []
    for number in range(ROWS):
        x, y, z = corner = rng.normal(0, 1, 3)
        cloud = corner + rng.uniform(0, 0.5, (rng.integers(20, 40), 3))
        file, curve = f"{number}.{('npy', 'ply')[number % 2]}", f"curve{number}.npy"
        (np.save if file.endswith("npy") else save_ply)(folder / file, cloud)
        np.save(folder / curve, np.exp(-((np.linspace(-2, 2, 8) - z) ** 2)))
        split = "train" if number < TRAINING else "val"
        rows.append({"lidar": file, "words": "left" if x < 0 else "right", "x": x, "y": y, "z": z,
                     "profile": curve, "split": split})  # fmt: skip
    (folder / "clouds.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "clouds.yaml").write_text(RECIPE)


def save_ply(file: Path, cloud: np.ndarray[Any, Any]) -> None:
    """Binary, with a colour between the coordinates."""
    kind = [("x", "<f4"), ("red", "u1"), ("y", "<f4"), ("z", "<f4")]
    vertices = np.zeros(len(cloud), kind)
    for axis, values in zip("xyz", cloud.T, strict=True):
        vertices[axis] = values
    lines = ["ply", "format binary_little_endian 1.0", "comment made up",
             f"element vertex {len(cloud)}", "property float x", "property uchar red",
             "property float y", "property float z", "end_header"]  # fmt: skip
    file.write_bytes("\n".join(lines).encode() + b"\n" + vertices.tobytes())


@pytest.fixture(scope="module")
def training(place: Place) -> list[dict[str, Any]]:
    """What a training run reports, which leaves a package in the folder ``model``."""
    reported = place.plait("train", "clouds.yaml", "clouds.jsonl", "--out", "model", "--json")
    return [json.loads(line) for line in reported.splitlines()]


@pytest.fixture(scope="module")
def model(training: list[dict[str, Any]]) -> str:
    """A trained package's folder."""
    return "model"


@pytest.fixture(scope="module")
def answers(place: Place, model: str) -> list[dict[str, Any]]:
    """The trained model's, by torch."""
    return place.answers(model, "torch")


def test_its_parts_are_listed_with_their_settings(place: Place) -> None:
    assert "points read, at most" in place.plait("list", "points")
    assert "position" in place.plait("list", "output")
    assert "average" in place.plait("list", "fusion")


def test_its_modality_may_stand_in_a_recipe(place: Place) -> None:
    schema = json.loads(place.plait("recipe", "--schema"))
    assert "points" in schema["$defs"]["InputSpec"]["properties"]["modality"]["enum"]


def test_its_command_counts_points(place: Place) -> None:
    assert "points" in place.plait("--help")
    counted = place.plait("points", "0.npy", "1.ply")
    assert re.fullmatch(r"0\.npy: \d\d points\n1\.ply: \d\d points\n", counted)


def test_the_errors_of_its_command_are_one_line(place: Place) -> None:
    (place.folder / "cut.ply").write_bytes((place.folder / "1.ply").read_bytes()[:-1])
    done = place.python("-m", "plait", "points", "cut.ply")
    assert done.returncode == 1
    assert re.fullmatch(r"plait: cut\.ply can't be read \(.*\); expected a PLY file\n", done.stderr)


def test_its_files_are_recognised_in_a_table(place: Place) -> None:
    columns = json.loads(place.plait("data", "clouds.jsonl", "--json"))["columns"]
    assert columns["lidar"]["kind"] == "points"


def test_its_column_is_guessed(training: list[dict[str, Any]]) -> None:
    """The column has neither the input's name nor a usual one."""
    assert training[0]["columns"]["inputs.shape"] == "lidar"


def test_it_learns_what_only_the_cloud_tells(
    place: Place, model: str, answers: list[dict[str, Any]]
) -> None:
    evaluate = ["evaluate", model, "clouds.jsonl", "--split", "val", "--subsets", "--json"]
    found = json.loads(place.plait(*evaluate))
    corner = found["scores"]["corner"]
    assert corner["r2"] > 0.75
    assert found["scores"]["profile"]["r2"] > 0.5
    alone = {tuple(each["inputs"]): each["scores"]["corner"]["r2"] for each in found["subsets"]}
    assert alone["shape",] > 0.4 > alone["words",]
    table = map(json.loads, (place.folder / "clouds.jsonl").read_text().splitlines())
    away = [
        np.linalg.norm(np.subtract(answer["corner"], [row["x"], row["y"], row["z"]]))
        for answer, row in zip(answers, table, strict=True)
    ]
    assert corner["distance"] == pytest.approx(np.mean(away[TRAINING:]), abs=1e-3)


def test_it_is_explained_on_a_page(place: Place, model: str) -> None:
    place.plait("explain", model, "clouds.jsonl", "--row", "1", "--out", "why.html")
    page = (place.folder / "why.html").read_text()
    assert "right, back, high" in page
    assert re.search(r"[1-9] points", page)
    assert "Integrated gradients" in page


def test_it_answers_alike_where_it_is_exported(
    place: Place, model: str, answers: list[dict[str, Any]]
) -> None:
    place.plait("export", model, "exported")
    assert list((place.folder / "exported").glob("*.onnx"))
    for source in ("exported", model):
        for one, other in zip(answers, place.answers(source, "onnx"), strict=True):
            np.testing.assert_allclose(one["corner"], other["corner"], atol=2e-3)
            np.testing.assert_allclose(one["profile"], other["profile"], atol=2e-3)


@pytest.fixture(scope="module")
def server(place: Place, model: str) -> Iterator[int]:
    """The port of a server that ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plait", "serve", model, "--port", "0"],
        cwd=place.folder, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line or process.communicate()[1]
        yield int(found[1])
    finally:
        process.terminate()
        _, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged


def ask(port: int, path: str, body: Any = None) -> tuple[int, str]:
    """The status and the text of a server's answer; with a body, which is sent as JSON, of a
    POST."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


def test_it_is_served(place: Place, model: str, server: int, answers: list[dict[str, Any]]) -> None:
    for row, file in enumerate(("0.npy", "1.ply")):
        sent = base64.b64encode((place.folder / file).read_bytes()).decode()
        words = answers[row]["words"]
        body = {"inputs": {"shape": sent, "words": words}, "shares": True}
        status, text = ask(server, f"/models/{model}/predict", body)
        assert status == 200, text
        answered = json.loads(text)["answers"]
        np.testing.assert_allclose(answered["corner"]["value"], answers[row]["corner"], atol=2e-3)
        np.testing.assert_allclose(answered["profile"]["value"], answers[row]["profile"], atol=2e-3)
        assert set(answered["corner"]["shares"]) == {"shape", "words"}


def test_what_it_can_not_read_is_refused(model: str, server: int) -> None:
    body = {"inputs": {"shape": base64.b64encode(b"ply, or not").decode()}}
    status, text = ask(server, f"/models/{model}/predict", body)
    assert status == 422
    assert "shape: a file of 11 bytes can't be read (its header is damaged)" in text


def test_the_web_page_has_a_form_for_it(server: int) -> None:
    """The page makes a field of each input's ``form``, which the modality's facts fill in."""
    status, page = ask(server, "/")
    assert status == 200
    assert "app.js" in page
    (served,) = json.loads(ask(server, "/models")[1])["models"]
    shape, words = served["inputs"]
    assert (shape["name"], shape["modality"]) == ("shape", "points")
    assert shape["schema"]["form"] == {
        "widget": "file", "accept": "application/octet-stream", "noun": "a point cloud",
        "example": "scan.ply",
    }  # fmt: skip
    assert words["schema"]["form"]["widget"] == "text"
    for widget in ("file", "text"):
        assert f'form.widget === "{widget}"' in ask(server, "/page/inputs.js")[1]


def test_targets_move_with_their_input(place: Place) -> None:
    done = place.python("-c", MOVED)
    assert done.returncode == 0, done.stderr
    flipped = int(done.stdout.split()[0])
    assert 20 < flipped < 100


def test_a_broken_plug_in_is_named(tmp_path: Path) -> None:
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[plait.components]\nbroken = no_such_module\n")
    done = Place(tmp_path, environment(tmp_path)).python("-m", "plait", "list", "fusion")
    assert done.returncode == 0
    assert "no_such_module" in done.stderr
    assert "Traceback" not in done.stderr
    assert "early" in done.stdout
