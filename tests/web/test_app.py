"""The server's routes: what comes in, what goes out, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from servers import Running, Watched, png, run, wait_until
from untrained import make_model

from plait.model import Model
from plait.outputs.labels import LabelsOptions
from plait.outputs.text.search import Decoding
from plait.web.schema import Schema, _options
from plait.web.settings import Settings, read_keys

BOTH, SQUARES = "/models/both", "/models/squares"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_json_and_forms_are_answered_as_the_model_does(served: Running, two_inputs: Model) -> None:
    photo, words = png(), "it is left number 8"
    wanted = two_inputs.predict({"photo": photo, "words": words})
    as_json = served.post(f"{BOTH}/predict", {"inputs": {"photo": encoded(photo), "words": words}})
    as_form = served.form(f"{BOTH}/predict", {"inputs.photo": photo, "inputs.words": words})
    assert as_json.status == as_form.status == 200, as_json.body
    answer = as_json.json["answers"]["answer"]
    assert answer["value"] == wanted.value == "red left"
    assert answer["confidence"] == pytest.approx(wanted.score, abs=1e-4)
    assert answer["calibrated"] is False
    assert answer["doubtful"] is False
    assert as_form.json == as_json.json


@pytest.mark.parametrize("given", ["photo", "words"])
def test_inputs_may_be_missing(served: Running, two_inputs: Model, given: str) -> None:
    cells: dict[str, Any] = {"photo": png(), "words": "it is left number 8"}
    wanted = two_inputs.predict({given: cells[given]})
    found = served.form(f"{BOTH}/predict", {f"inputs.{given}": cells[given], "shares": "true"})
    answer = found.json["answers"]["answer"]
    assert answer["confidence"] == pytest.approx(wanted.score, abs=1e-4)
    other = ({"photo", "words"} - {given}).pop()
    assert answer["shares"][other] == pytest.approx(0, abs=1e-6)
    assert answer["shares"][given] != 0


def test_options_explanations_and_alternatives(served: Running, squares_model: Model) -> None:
    photo = png("blue", "right")
    wanted = squares_model.predict(photo, beam=4, num=3)
    parts = {"inputs.image": photo, "options.beam": "4", "options.num": "3", "explain": "true"}
    answer = served.form(f"{SQUARES}/predict", parts).json["answers"]["caption"]
    assert answer["value"] == wanted.value
    assert [a["value"] for a in answer["alternatives"]] == [a.value for a in wanted.alternatives]
    looked = answer["looked"]
    assert looked["input"] == "image"
    assert looked["words"] == list(wanted.details.words)
    assert len(looked["maps"]) == len(wanted.details.words)
    assert all(len(rows) == 4 and len(rows[0]) == 4 for rows in looked["maps"])
    assert looked["picture"].startswith("data:image/jpeg;base64,")
    assert (
        served.form(f"{SQUARES}/predict", {"inputs.image": photo}).json["answers"]["caption"][
            "looked"
        ]
        is None
    )


@pytest.mark.parametrize(
    "options",
    [
        *({"temperature": t} for t in (1e-300, 100, 101, 1e300)),
        *({"top_p": p} for p in (1e-300, 1e-9, 1.0)),
        *({"seed": s} for s in (2**63 - 1, 2**63, 2**64, 10**30)),
        *({"top_k": k} for k in (1, 10**30)),
        {"max_words": 10**30}, {"min_words": 24, "max_words": 1}, {"no_repeat": 10**30},
    ],
)  # fmt: skip
def test_no_option_is_too_much_for_the_server(served: Running, options: dict[str, Any]) -> None:
    body = {"inputs": {"image": encoded(png())}, "options": options | {"sample": True}}
    assert served.post(f"{SQUARES}/predict", body).status in (200, 422)


def test_a_bad_record_does_not_spoil_the_others_of_a_batch(served: Running) -> None:
    records = [
        {"words": "it is left number 8"},
        {"photo": encoded(b"no picture"), "words": "it is left number 8"},
        {"photo": encoded(png("green"))},
    ]
    found = served.post(f"{BOTH}/batch", {"records": records})
    assert found.status == 200
    first, bad, last = found.json["results"]
    assert first["answers"]["answer"]["value"].endswith("left")
    assert bad["error"].startswith("photo: a file of 10 bytes is not an image")
    assert last["answers"]["answer"]["value"].startswith("green")
    parts = {"records.0.words": "it is left number 8", "records.1.photo": png("green")}
    again = served.form(f"{BOTH}/batch", parts).json["results"]
    assert again[0] == first
    assert again[1] == last


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": {}}, "a record without an input; expected at least one of: photo, words"),
        ({"inputs": {"words": ""}}, "a record without an input"),
        ({"inputs": {"photo": None}}, "a record without an input"),
        ({}, "inputs: field required"),
        ({"inputs": {"sound": "a"}}, "inputs.sound: there is no such field"),
        ({"inputs": {"words": 3}}, "inputs.words: input should be a valid string"),
        ({"inputs": {"words": "a"}, "options": {"beam": 3}}, "options.beam: there is no such"),
        ({"inputs": {"words": "a"}, "options": {"num": 0}}, "options.num: input should be greater"),
        ({"inputs": {"words": "a"}, "explain": "perhaps"}, "explain: input should be a valid bool"),
        ({"inputs": {"photo": "not base64!"}}, "inputs.photo: this is not a file in base64"),
        ({"inputs": {"photo": encoded(png()[:300])}}, "photo: a file of 300 bytes is damaged"),
        ([1], "the request: input should be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(served: Running, body: Any, words: str) -> None:
    found = served.post(f"{BOTH}/predict", body)
    assert found.status == 422
    assert words in found.json["error"]
    assert "\n" not in found.json["error"]


@pytest.mark.parametrize("parts", [
    {"inputs": "a", "inputs.words": "b"}, {"inputs.words": "b", "inputs": "a"},
    {"options": "a", "options.num": "1", "inputs.words": "b"},
    {"records.x.words": "a"}, {"records.12345.words": "a"},
])  # fmt: skip
def test_a_form_with_names_that_fit_nothing(served: Running, parts: dict[str, str | bytes]) -> None:
    reply = served.form(f"{BOTH}/predict", parts)
    assert reply.status == 422
    assert reply.json["error"].startswith("the part ")


def test_a_path_or_an_address_is_never_opened(served: Running, tmp_path: Path) -> None:
    """A photo that lies there, by its path, by its address, and by a form's text or file name."""
    path = tmp_path / "there.png"
    path.write_bytes(png())
    names = [str(path), f"file://{path}", str(path).strip("/"), f"{served.address}/page/icon.svg"]
    for name in names:
        for padded in (name, name + "A" * (-len(name) % 4)):
            found = served.post(f"{BOTH}/predict", {"inputs": {"photo": padded}})
            assert found.status == 422, padded
            found = served.form(f"{BOTH}/predict", {"inputs.photo": padded})
            assert found.status == 422, padded
            found = served.form(f"{BOTH}/predict", {"inputs.photo": padded.encode()})
            assert found.status == 422, padded


def test_paths_that_climb_find_nothing(served: Running) -> None:
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/../../etc/passwd",
                 "/models/../both/predict", "/page/app.js%00.png"):  # fmt: skip
        assert served.get(path).status in {404, 405}, path


def test_the_page_and_its_files_need_nothing_from_elsewhere(served: Running) -> None:
    page = served.get("/")
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for path in ("/", "/docs", "/page/app.js", "/page/docs.js", "/page/style.css"):
        found = served.get(path)
        assert found.status == 200, path
        text = found.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "<script>" not in text, path


def test_openapi_tells_the_schema_of_the_recipe(served: Running) -> None:
    api = served.get("/openapi.json").json
    content = api["paths"][f"{BOTH}/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    reference = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = api["components"]["schemas"]
    inputs = schemas[schemas[reference]["properties"]["inputs"]["$ref"].rpartition("/")[2]]
    assert list(inputs["properties"]) == ["photo", "words"]
    assert inputs["properties"]["photo"]["anyOf"][0]["contentEncoding"] == "base64"
    text = json.dumps(api)
    for reference in set(json.loads(f"[{','.join(_references(text))}]")):
        assert reference.rpartition("/")[2] in schemas, reference
    content = api["paths"][f"{SQUARES}/predict"]["post"]["requestBody"]["content"]
    reference = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    reference = schemas[reference]["properties"]["options"]["$ref"].rpartition("/")[2]
    options = schemas[reference]["properties"]
    assert options["beam"]["minimum"] == 1
    assert options["beam"]["default"] == 3


def _references(text: str) -> list[str]:
    return re.findall(r'"\$ref": ("[^"]+")', text)


def test_models_health_and_metrics(served: Running) -> None:
    listed = served.get("/models").json
    both, squares = listed["models"]
    assert [i["name"] for i in both["inputs"]] == ["photo", "words"]
    photo, words = (i["schema"]["form"] for i in both["inputs"])
    assert (photo["widget"], photo["accept"], photo["noun"]) == (
        "file",
        "image/*,.heic,.heif,.hif,.avif",
        "a photo",
    )
    assert words["widget"] == "text"
    assert squares["outputs"] == ["caption"]
    assert served.get("/health").json["status"] == "ok"
    served.form(f"{BOTH}/predict", {"inputs.words": "it is left number 8"})
    metrics = served.get("/metrics").body.decode()
    assert f'plait_requests_total{{route="{BOTH}/predict",status="200"}}' in metrics
    assert 'plait_batch_records_count{model="both"}' in metrics
    assert "plait_waiting_records 0.0" in metrics


def test_other_kinds_of_body_and_method(served: Running) -> None:
    assert served.ask("POST", f"{BOTH}/predict", b"a", {"content-type": "text/plain"}).status == 415
    assert served.get(f"{BOTH}/predict").status == 405
    assert served.get("/nothing").status == 404
    deep = b'{"inputs":' + b"[" * 100_000
    found = served.ask("POST", f"{BOTH}/predict", deep, {"content-type": "application/json"})
    assert found.status == 422


def test_limits(two_inputs: Model) -> None:
    limits: dict[str, Any] = {"request_bytes": 20_000, "pixels": 4000, "records": 2, "queue": 1}
    with run({"both": two_inputs}, **limits) as small:
        large = small.form(f"{BOTH}/predict", {"inputs.photo": b"a" * 30_000})
        assert large.status == 413
        assert "at most 20,000 bytes" in large.json["error"]
        photo = small.form(f"{BOTH}/predict", {"inputs.photo": png()})
        assert photo.status == 422
        assert photo.json["error"].startswith("photo: 4,096 pixels; expected at most 4,000")
        three = small.post(f"{BOTH}/batch", {"records": [{"words": "left"}] * 3})
        assert three.status == 422
        two = small.post(f"{BOTH}/batch", {"records": [{"words": "left"}] * 2})
        assert two.status == 429  # one may wait
        assert two.headers["retry-after"] == "1"


def test_an_answer_that_takes_too_long(two_inputs: Model) -> None:
    with run({"both": two_inputs}, timeout=0.0001) as hasty:
        found = hasty.form(f"{BOTH}/predict", {"inputs.words": "left"})
        assert found.status == 503
        assert found.headers["retry-after"] == "1"


def test_a_body_that_comes_too_slowly(two_inputs: Model) -> None:
    with (
        run({"both": two_inputs}, read_timeout=0.2) as hasty,
        socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection,
    ):
        head = f"POST {BOTH}/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n"
        connection.sendall(head.encode() + b"abc")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


KEY = "correct-horse-battery"


def test_keys(two_inputs: Model) -> None:
    with run(
        {"both": two_inputs}, keys=read_keys(["# mine", KEY, "another-key-of-mine"])
    ) as locked:
        body = {"inputs": {"words": "left"}}
        for headers in ({}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": "ä"}, {"Authorization": KEY}):
            found = locked.post(f"{BOTH}/predict", body, headers)
            assert found.status == 401, headers
            assert KEY not in found.body.decode()
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert locked.post(f"{BOTH}/predict", body, headers).status == 200
        assert locked.get("/models").status == 401
        assert locked.get("/metrics").status == 401
        assert locked.get("/health").status == 200
        assert locked.get("/").status == 200
        assert locked.get("/openapi.json").json["security"] == [{"key": []}]


def test_pages_of_other_sites_are_kept_out(two_inputs: Model) -> None:
    body = {"inputs": {"words": "left"}}
    with run({"both": two_inputs}, hosts=frozenset({"127.0.0.1", "localhost"})) as here:
        assert here.post(f"{BOTH}/predict", body, {"Origin": "https://evil.example"}).status == 403
        assert here.post(f"{BOTH}/predict", body, {"Origin": "null"}).status == 403
        assert here.post(f"{BOTH}/predict", body, {"Origin": "http://["}).status == 403
        assert here.post(f"{BOTH}/predict", body, {"Host": "evil.example"}).status == 421
        assert here.post(f"{BOTH}/predict", body, {"Origin": here.address}).status == 200
        reply = here.post(f"{BOTH}/predict", body)
        assert "access-control-allow-origin" not in reply.headers


def test_it_may_be_called_by_addresses_and_no_other_name(two_inputs: Model) -> None:
    """A name can be made to lead here; an address can't."""
    with run({"both": two_inputs}, hosts=frozenset({"here"})) as there:
        for host in ("here", "HERE:80", "192.0.2.7", "192.0.2.7:8000", "[2001:db8::1]:8000"):
            assert there.get("/health", Host=host).status == 200, host
        for host in ("elsewhere", "192.0.2.7.elsewhere", ""):
            assert there.get("/health", Host=host).status == 421, host


def test_beams_are_limited_and_the_limit_is_told(squares_model: Model) -> None:
    with run({"squares": squares_model}, beams=5) as careful:
        parts: dict[str, str | bytes] = {"inputs.image": png(), "options.beam": "5"}
        assert careful.form(f"{SQUARES}/predict", parts).status == 200
        for option in ("beam", "num"):
            found = careful.form(
                f"{SQUARES}/predict", {"inputs.image": png(), f"options.{option}": "6"}
            )
            assert found.status == 422
            expected = f"options.{option}: input should be less than or equal to 5"
            assert found.json["error"] == expected
            (model,) = careful.get("/models").json["models"]
            assert model["options"][option]["maximum"] == 5


def test_no_more_is_taken_in_than_fits(two_inputs: Model) -> None:
    """Two requests of 6,000 bytes, of 10,000: the second is turned away while the first is there,
    and taken once it isn't."""
    head = f"POST {BOTH}/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6001\r\n\r\n"
    with run({"both": two_inputs}, request_bytes=7000, held_bytes=10_000) as small:
        body = {"inputs": {"words": "left" + " " * 6000}}
        with socket.create_connection(("127.0.0.1", small.port), timeout=20) as connection:
            connection.sendall(head.encode() + b"a" * 6000)
            wait_until(lambda: small.post(f"{BOTH}/predict", body).status == 429)
            found = small.post(f"{BOTH}/predict", body)
            assert found.json["error"] == "too much is being sent; try again in a moment"
            assert found.headers["retry-after"] == "1"
        wait_until(lambda: small.post(f"{BOTH}/predict", body).status == 200)


def test_a_page_that_was_sent_counts_as_answered(two_inputs: Model) -> None:
    """Its file is closed after the answer's end, when every client counts as gone."""
    with run({"both": two_inputs}) as running:
        assert running.get("/").status == 200
        wait_until(lambda: 'route="/",status=' in running.get("/metrics").body.decode())
        counted = running.get("/metrics").body.decode()
        assert 'route="/",status="200"' in counted
        assert 'status="499"' not in counted


def test_what_nobody_waits_for_is_not_computed(
    two_inputs: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thread is held up by a first request when a second client comes and goes."""
    model = Watched(two_inputs)
    monkeypatch.setattr("plait.web.app._workers", lambda models: 1)
    with run({"both": model}) as running, ThreadPoolExecutor(1) as pool:  # type: ignore[dict-item]
        body = json.dumps({"inputs": {"words": "left"}}).encode()
        head = f"POST {BOTH}/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        asked = (head + "Content-Type: application/json\r\n\r\n").encode() + body
        model.go.clear()
        first = pool.submit(running.post, f"{BOTH}/predict", {"inputs": {"words": "right"}})
        wait_until(lambda: model.sizes == [1])
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            connection.sendall(asked)
            wait_until(lambda: running.server.batcher.waiting == 1)
        wait_until(lambda: 'status="499"' in running.get("/metrics").body.decode())
        assert running.server.batcher.waiting == 0  # nor does it take room
        model.go.set()
        assert first.result().status == 200
        assert running.post(f"{BOTH}/predict", {"inputs": {"words": "right"}}).status == 200
        assert model.sizes == [1, 1]


def test_a_head_that_never_ends_is_cut(two_inputs: Model) -> None:
    with (
        run({"both": two_inputs}, exchange=0.3) as hasty,
        socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        assert connection.recv(100) == b""
        assert hasty.get("/health").status == 200


def test_beams_are_limited_also_behind_other_outputs() -> None:
    """Labels have a ``num`` of their own, open unless it is set, and stand first."""
    options = _options("both", [LabelsOptions(), Decoding(beam=12)], {"ctc"}, 5)
    assert "ctc" not in options.model_fields
    assert options(beam=12, num=5).model_dump(include={"beam", "num"}) == {"beam": 12, "num": 5}
    for wrong in ({"beam": 13}, {"num": 6}, {"num": 0}):
        with pytest.raises(ValidationError):
            options(**wrong)


def test_an_option_that_no_output_has_is_not_offered() -> None:
    """Beside a text without CTC and language model stands a class, which has no such options."""
    inputs = {"words": {"modality": "text", "representation": {"kind": "bag-of-words"}}}
    text = {"kind": "text", "settings": {"min_count": 1, "decoder": {"kind": "gru-attention"}}}
    cells = {"words": ["a b"] * 6, "said": ["a b"] * 6, "class": ["x", "y"] * 3}
    model = make_model(
        inputs, {"class": {"kind": "category"}, "said": text}, cells, {"kind": "none"}
    )
    options = Schema("mixed", model, Settings()).options.model_fields
    assert "beam" in options
    assert not {"ctc", "language", "bonus"} & options.keys()
