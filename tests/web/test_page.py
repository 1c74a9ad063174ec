"""The page in a real browser, as people use it."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import draw
from servers import Running, run

from plait.model import Model
from plait.outputs.category import CategoryOutput
from plait.outputs.hub.output import Generation
from plait.web.settings import read_keys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PLAYWRIGHT = importlib.util.find_spec("playwright")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(PLAYWRIGHT is None, reason="no playwright: pip install 'plait[dev]'"),
    # Playwright leaves the sockets of its event loop to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PHOTO = "input[type=file][accept^='image/*']"
WAIT = 20_000  # milliseconds, for a machine that is busy

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-fake-device-for-media-stream",
                  "--use-fake-ui-for-media-stream"],
        )  # fmt: skip
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Any, served: Running) -> Iterator[Open]:
    """Opens a page; what it complains of, or asks of another host, fails the test."""
    contexts, wrong = [], list[str]()

    def open_(model: str = "both", address: str = served.address, context: Any = None,
              **options: Any) -> Any:  # fmt: skip
        if context is None:
            context = browser.new_context(**options)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Policy" in m.text else None)
        page.on("request", lambda request: wrong.append(request.url)
                if not request.url.startswith((address, "blob:", "data:")) else None)  # fmt: skip
        page.goto(f"{address}/#{model}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    draw("red", "left", 4).save(path)
    return path


def value(page: Any, output: str = "answer") -> str:
    found: str = page.locator(f"article[aria-label={output}] .value").inner_text()
    return found


def confidence(page: Any) -> float:
    return float(page.locator("[data-confidence]").get_attribute("data-confidence"))


def holds(page: Any, expression: str) -> None:
    """Waits for it; Playwright's own way of waiting is against the page's policy."""
    for _ in range(WAIT // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def until(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def test_a_photo_is_answered_at_once_and_words_show_where(
    open_page: Open, photo: Path, squares_model: Model
) -> None:
    page = open_page("squares")
    page.set_input_files(PHOTO, photo)
    words = page.locator(".words button")
    words.first.wait_for()
    wanted = squares_model.predict(photo)
    assert words.all_inner_texts() == list(wanted.details.words)
    lit = "() => document.querySelector('.looked canvas').getContext('2d')" \
          ".getImageData(0, 0, 224, 224).data.some((part) => part > 0)"  # fmt: skip
    assert not page.evaluate(lit)
    words.nth(1).hover()
    until(page, f"For “{wanted.details.words[1]}” the model looked")
    assert page.evaluate(lit)
    # The same by the keyboard alone.
    page.mouse.move(0, 0)
    words.nth(1).focus()
    page.keyboard.press("Tab")
    until(page, f"For “{wanted.details.words[2]}” the model looked")
    assert page.evaluate("document.activeElement.innerText") == wanted.details.words[2]
    assert page.evaluate(lit)


def test_the_lit_region_is_where_the_map_is(open_page: Open) -> None:
    page = open_page("squares")
    told = page.evaluate(
        """async () => {
          const {place} = await import("/page/answers.js");
          const four = [0, 1, 2, 3];
          const at = (y, x) => four.map((r) => four.map((c) => +(r === y && c === x)));
          const whole = {left: 0, top: 0, width: 1, height: 1};
          const margins = {left: 0, top: -1, width: 1, height: 3}; // above and below
          return [
            ...[at(0, 0), at(0, 3), at(3, 0), at(3, 3)].map((map) => place(map, whole)),
            place(at(1, 0), margins), place(at(2, 3), margins),
          ];
        }"""
    )
    assert told == ["at the top left", "at the top right", "at the bottom left",
                    "at the bottom right", "at the top left", "at the bottom right"]  # fmt: skip


def test_a_wide_photo_keeps_its_shape_below_the_veil(open_page: Open, tmp_path: Path) -> None:
    page, wide = open_page("squares"), tmp_path / "wide.png"
    draw("red", "left", 4).resize((600, 200)).save(wide)
    page.set_input_files(PHOTO, wide)
    page.locator(".words button").nth(1).hover()
    until(page, "the model looked")
    holds(page, "document.querySelector('.looked img').style.getPropertyValue('--shape') === '3'")
    for shown in (".looked img", ".looked canvas"):
        box = page.locator(shown).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(3, rel=0.02)


def test_inputs_are_switched_off_and_on(open_page: Open, photo: Path, two_inputs: Model) -> None:
    page = open_page()
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    page.get_by_role("textbox", name="words").fill("it is left number 8")
    both = two_inputs.predict({"photo": photo, "words": "it is left number 8"})
    alone = two_inputs.predict({"photo": photo})
    until(page, "Contribution of each input")
    holds(page, f"document.querySelector('.value')?.innerText === '{both.value}'")
    assert confidence(page) == pytest.approx(both.score, abs=1e-4)
    page.locator("section[aria-label=words] input[type=checkbox]").uncheck()
    until(page, "Previously:")
    holds(
        page,
        f"Math.abs(document.querySelector('[data-confidence]').dataset.confidence"
        f" - {alone.score}) < 1e-4",
    )
    assert value(page) == alone.value
    page.locator("section[aria-label=photo] input[type=checkbox]").uncheck()
    until(page, "All inputs are switched off.")
    assert page.locator("article").count() == 0
    page.locator("section[aria-label=words] input[type=checkbox]").check()
    page.locator("section[aria-label=photo] input[type=checkbox]").check()
    holds(page, f"document.querySelector('.value')?.innerText === '{both.value}'")


def test_options_are_those_of_the_schema(
    open_page: Open, photo: Path, squares_model: Model
) -> None:
    page = open_page("squares")
    page.get_by_text("Options", exact=True).click()
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    field = page.get_by_label("num", exact=False).first
    field.fill("3")
    field.blur()
    until(page, "Alternatives")
    wanted = squares_model.predict(photo, num=3)
    shown = page.locator("article li").all_inner_texts()
    assert shown == [other.value for other in wanted.alternatives]
    field.fill("1000")
    field.blur()
    until(page, "options.num: input should be less than or equal to 10")
    page.get_by_role("button", name="Reset to defaults").click()
    until(page, "Answered in")
    assert field.input_value() == "1"


def test_a_broken_file_is_told_and_the_next_one_answered(
    open_page: Open, photo: Path, tmp_path: Path
) -> None:
    page = open_page()
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:200])
    page.set_input_files(PHOTO, tmp_path / "broken.png")
    alert = page.locator("#problem")
    alert.wait_for()
    assert "damaged or truncated" in alert.inner_text()
    assert alert.get_attribute("role") == "alert"
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    assert not alert.is_visible()


def test_a_photo_is_dropped_pasted_or_taken(open_page: Open, photo: Path) -> None:
    page = open_page()
    give = """([event, part, bytes]) => {
      const carried = new DataTransfer();
      carried.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
      const place = event === "drop" ? document.querySelector(".drop") : window;
      place.dispatchEvent(event === "drop"
        ? new DragEvent(event, {dataTransfer: carried, bubbles: true, cancelable: true})
        : new ClipboardEvent(event, {clipboardData: carried}));
    }"""
    for event in ("drop", "paste"):
        page.evaluate(give, [event, "", list(photo.read_bytes())])
        until(page, "Answered in")
        assert value(page).startswith("red")
        page.reload()
    page.get_by_role("button", name="Use camera").click()
    holds(page, "document.querySelector('.drop video')?.videoWidth > 0")
    page.get_by_role("button", name="Take photo").click()
    page.get_by_text(re.compile(r"^photo-\d{4}-\d\d-\d\d")).first.wait_for()
    until(page, "Answered in")


def test_a_file_can_be_taken_away(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    page.get_by_role("button", name="Remove").click()
    until(page, "The answer will appear here.")
    assert not page.locator("article").count()
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")


def test_the_way_back_goes_to_the_model_before(open_page: Open) -> None:
    page = open_page("both")
    page.locator("#model").select_option("squares")
    holds(page, "document.title.startsWith('squares')")
    page.go_back()
    holds(page, "document.title.startsWith('both')")
    assert page.locator("#model").input_value() == "both"


def test_classes_that_are_numbers_stand_in_the_order_of_their_chances(open_page: Open) -> None:
    page = open_page()
    until(page, "The answer will appear here.")
    answer = {
        "value": "9", "confidence": 0.5, "alternatives": [], "shares": {},
        "probabilities": {str(n): n / 45 for n in range(9, -1, -1)},
    }  # fmt: skip
    page.evaluate(
        "async (answer) => (await import('/page/answers.js')).draw("
        "document.getElementById('result'), {digit: answer})",
        answer,
    )
    names = page.locator("article[aria-label=digit] section .name").all_inner_texts()
    assert names == ["9", "8", "7", "6", "5", "4", "3", "2"]


def test_a_calibrated_confidence_is_called_so(open_page: Open) -> None:
    page = open_page()
    until(page, "The answer will appear here.")
    draw_answer = (
        "async (answer) => (await import('/page/answers.js')).draw("
        "document.getElementById('result'), {caption: answer})"
    )
    answer = {"value": "a cat", "alternatives": [], "probabilities": {}, "shares": {}}
    doubt = page.get_by_text("The model is not sure")
    for sure, calibrated, label, doubts in (
        (0.72, True, "Likely right", 0), (0.31, True, "Likely right", 1),
        (0.31, False, "Confidence", 0),
    ):  # fmt: skip
        judged = {"confidence": sure, "calibrated": calibrated, "doubtful": doubts > 0}
        page.evaluate(draw_answer, {**answer, **judged})
        shown = page.locator("article[aria-label=caption]").inner_text()
        assert f"{label}\n{sure:.0%}" in shown
        assert doubt.count() == doubts


def test_a_phone_sees_it_all_in_dark(open_page: Open, photo: Path) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True,
                     is_mobile=True)  # fmt: skip
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    for summary in page.locator("summary").all():
        summary.tap()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    assert max(map(int, background[4:-1].split(","))) < 60
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button')].filter((b) => b.offsetParent)"
        ".map((b) => b.offsetHeight).filter((height) => height < 34)"
    )
    assert small == []


def test_everything_has_a_name_for_screen_readers(open_page: Open, photo: Path) -> None:
    page = open_page("squares")
    page.set_input_files(PHOTO, photo)
    page.locator(".words button").first.wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    nameless = page.evaluate(
        """() => {
          const kinds = "input, select, textarea, button, img, meter, progress";
          const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.innerText
            || e.hasAttribute("alt");
          return [...document.querySelectorAll(kinds)]
            .filter((e) => e.offsetParent && !named(e)).map((e) => e.outerHTML);
        }"""
    )
    assert nameless == []
    assert page.get_attribute("html", "lang") == "en"


def test_two_tabs_share_what_was_answered(open_page: Open, photo: Path) -> None:
    one = open_page()
    two = open_page("squares", context=one.context)
    two.get_by_text("History", exact=True).click()
    one.set_input_files(PHOTO, photo)
    until(one, "Answered in")
    entry = two.locator("#history-list li")
    entry.first.wait_for()
    assert "red.png" in entry.first.inner_text()
    two.set_input_files(PHOTO, photo)
    two.locator(".words button").first.wait_for()
    assert value(one).startswith("red")  # the other tab's model and photo are its own
    one.reload()
    one.get_by_text("History", exact=True).click()
    one.locator("#history-list li").nth(1).wait_for()
    one.get_by_role("button", name="Clear history").click()
    holds(two, "!document.querySelector('#history-list li')")


def test_the_history_stays_in_the_browser(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.set_input_files(PHOTO, photo)
    until(page, "Answered in")
    holds(page, "localStorage.getItem('plait-history')")
    (kept,) = json.loads(page.evaluate("localStorage.getItem('plait-history')"))
    assert kept["given"] == "red.png"
    assert kept["picture"].startswith("data:image/jpeg")
    other = open_page()  # another browser
    assert other.evaluate("localStorage.getItem('plait-history')") is None


def test_the_server_goes_and_comes_back(open_page: Open, photo: Path, two_inputs: Model) -> None:
    with run({"both": two_inputs}) as first:
        port = first.port
        page = open_page(address=first.address)
        page.set_input_files(PHOTO, photo)
        until(page, "Answered in")
    page.get_by_role("textbox", name="words").fill("it is right number 8")
    gone = page.locator("#gone")
    gone.wait_for()
    assert "is not responding" in gone.inner_text()
    with run({"both": two_inputs}, port):
        gone.wait_for(state="hidden")
        holds(page, "document.querySelector('.value')?.innerText === 'red right'")


def test_many_files_with_progress_and_a_table(
    open_page: Open, photo: Path, tmp_path: Path, two_inputs: Model
) -> None:
    page = open_page()
    files = [photo]
    for number, colour in enumerate(("green", "red", "green", "green")):
        files.append(tmp_path / f"{number}.png")
        draw(colour, "left", number).save(files[-1])
    files.append(tmp_path / "=broken.png")
    files[-1].write_bytes(b"none")
    page.get_by_role("textbox", name="words").fill("it is left number 8")
    page.get_by_text("Many files at once").click()
    page.set_input_files("#batch-files", files)
    until(page, "6 of 6 answered")
    assert page.locator("progress").evaluate("(bar) => bar.value / bar.max") == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["file"] for row in rows] == [path.name.replace("=", "'=") for path in files]
    for path, row in zip(files[:-1], rows, strict=False):
        wanted = two_inputs.predict({"photo": path, "words": "it is left number 8"})
        assert row["answer"] == wanted.value
        assert float(row["answer_confidence"]) == pytest.approx(wanted.score, abs=1e-4)
    assert "is not an image" in rows[-1]["error"]
    assert "answer_doubtful" not in rows[0]  # as its confidence is not calibrated


def test_doubtful_answers_of_many_files_are_marked(
    served: Running, open_page: Open, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CategoryOutput, "calibrated", lambda self, prediction: 0.31)
    monkeypatch.setattr(CategoryOutput, "confidence", lambda self, prediction: 0.31)
    page = open_page()
    page.get_by_text("Many files at once").click()
    page.set_input_files("#batch-files", [photo])
    until(page, "1 of 1 answered")
    assert page.locator("#batch-table tbody td").all_inner_texts()[2] == "31%, not sure"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    (row,) = csv.DictReader(io.StringIO(download.value.path().read_text()))
    assert (row["answer_confidence"], row["answer_doubtful"]) == ("0.31", "true")


def test_an_option_that_is_a_text_can_be_typed(open_page: Open) -> None:
    schema = Generation.model_json_schema()["properties"]
    page = open_page()
    until(page, "The answer will appear here.")
    parts = page.evaluate(
        """async ([schema, prompt]) => {
          const {Options} = await import("/page/options.js");
          const options = new Options(schema, () => {});
          const typed = options.fields.find(({name}) => name === "prompt");
          typed.label.querySelector("input").value = prompt;
          return options.parts();
        }""",
        [schema, "a photo of"],
    )
    assert parts == [["options.prompt", "a photo of"]]


def test_a_key_is_asked_for(open_page: Open, photo: Path, two_inputs: Model) -> None:
    with run({"both": two_inputs}, keys=read_keys(["open-sesame-open"])) as locked:
        page = open_page(address=locked.address)
        page.get_by_label("This server needs a key").fill("open-sesame-shut")
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("This server needs a key").fill("open-sesame-open")
        page.get_by_role("button", name="Continue").click()
        page.set_input_files(PHOTO, photo)
        until(page, "Answered in")


def test_recorded_sound_is_a_wav(open_page: Open) -> None:
    """What the page makes of samples, read by soundfile; and that the microphone gives some."""
    soundfile = pytest.importorskip("soundfile", reason="pip install 'plait[audio]'")
    page = open_page()
    found = page.evaluate(
        """async () => {
          const {toWav, record} = await import("/page/sound.js");
          const wave = Float32Array.from({length: 800}, (_, i) => Math.sin(i / 8) * 1.2);
          const recording = await record();
          await new Promise((go) => setTimeout(go, 600));
          const file = recording.file();
          recording.stop();
          return [[...new Uint8Array(toWav([wave.slice(0, 300), wave.slice(300)], 8000))],
                  [...new Uint8Array(await file.arrayBuffer())]];
        }"""
    )
    samples, rate = soundfile.read(io.BytesIO(bytes(found[0])))
    assert rate == 8000
    wanted = np.clip(np.sin(np.arange(800) / 8) * 1.2, -1, 1)
    np.testing.assert_allclose(samples, wanted, atol=2e-4)
    recorded, rate = soundfile.read(io.BytesIO(bytes(found[1])))
    assert len(recorded) > rate // 10
    assert np.abs(recorded).max() > 0.01  # Chromium's made-up microphone beeps


def test_the_docs_page_tells_every_route(open_page: Open, served: Running) -> None:
    page = open_page()
    page.get_by_role("link", name="API").click()
    until(page, "POST /models/both/predict")
    text = page.inner_text("main")
    for path in served.get("/openapi.json").json["paths"]:
        assert path in text
    for field in ("inputs.photo", "inputs.words", "options.num", "answers.NAME.value"):
        assert field in text, field
    assert f"curl {served.address}/models/both/predict" in text


def test_clues_stand_in_their_order(open_page: Open) -> None:
    page = open_page()
    until(page, "The answer will appear here.")
    answer = {
        "value": "a cat", "alternatives": [], "probabilities": {}, "shares": {},
        "clues": {"tags": [["cat", 0.7], ["lynx", 0.02]], "detected": [["on", 0.9], ["7", 0.6]]},
    }  # fmt: skip
    page.evaluate(
        "async (answer) => (await import('/page/answers.js')).draw("
        "document.getElementById('result'), {caption: answer})",
        answer,
    )
    shown = page.locator("article[aria-label=caption]").inner_text()
    assert "Detected\n\non 90%, 7 60%" in shown
    assert "Tags\n\ncat 70%, lynx 2.0%" in shown
