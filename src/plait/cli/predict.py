"""Commands that use a trained model: caption, predict, explain, transcribe, translate, chat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import plait
from plait.cli.options import (
    AllowUrls,
    AsJson,
    Column,
    DecodingOptions,
    Engine,
    Model,
    OnBad,
    SamplingOptions,
    TableOptions,
    allowing,
    argument,
    named,
    option,
    pairs,
    with_groups,
)
from plait.render.progress import show_progress
from plait.types import UsageError

commands = typer.Typer()


@dataclass(frozen=True)
class CaptionOptions:
    """How captions are worded, and where they go."""

    style: str = option("plain", "plain, or alt: one short sentence, for a web page's alt text.")
    out: Path | None = option(None, "Write a .csv or .json file instead of printing.")
    pictures: Path | None = option(None, "Draw each photo with its captions, to this folder.")
    explain: Path | None = option(None, "Draw where the model looked, to this folder.")
    write_metadata: bool = option(
        False, "Write each caption into its photo; the original is kept as NAME.original.",
        "--write-metadata",
    )  # fmt: skip
    overwrite: bool = option(
        False, "With --write-metadata: replace descriptions that photos have.", "--overwrite"
    )
    least_confidence: float | None = option(
        None, "Mark captions whose probability of naming the right main subject is below this "
        "(0 to 1); --write-metadata skips them.", "--sure", min=0.0, max=1.0,
    )  # fmt: skip


@commands.command()
@with_groups
def caption(
    photos: Annotated[list[str], argument(..., "Photos, folders of photos, or videos.")],
    wording: CaptionOptions,
    decoding: SamplingOptions,
    model: str = option("captioner", "A shipped model, a package's folder, or hub:NAME."),
    engine: Engine = "torch",
    on_bad: OnBad = "stop",
    allow_urls: AllowUrls = False,
    as_json: AsJson = False,
) -> None:
    """Caption photos, and the scenes of videos: one sentence for each."""
    from plait.tasks.caption import CaptionSettings, caption_photos

    settings = CaptionSettings(
        decoding.given(), as_json=as_json, on_bad=on_bad, engine=engine, **vars(wording)
    )
    with show_progress() as progress:
        caption_photos(named(photos, allow_urls), model, settings, progress)


@commands.command()
@with_groups
def predict(
    model: Model,
    table: Annotated[str, argument(..., "A table with the model's inputs.")],
    rows: TableOptions,
    decoding: SamplingOptions,
    out: Path = option(Path("predictions.csv"), "The .csv or .json file to write."),
    shares: bool = option(False, "Add each input's share of the answer.", "--shares"),
    engine: Engine = "torch",
    as_json: AsJson = False,
) -> None:
    """Answer every row of a table."""
    from plait.tasks.predict import PredictSettings, predict_table

    settings = PredictSettings(
        decoding.given(), out, as_json, engine=engine, shares=shares, **rows.given()
    )
    with show_progress() as progress:
        predict_table(model, rows.read(table), settings, progress)


@dataclass(frozen=True)
class RecordOptions:
    """Which record is explained."""

    what: str | None = argument(None, "A file, a text, or a table (with --row).")
    row: int | None = option(None, "The row of the table.", min=1)
    input_: list[str] | None = option(
        None, "The cell of an input: NAME=CELL. May be repeated.", "--input"
    )


@commands.command()
@with_groups
def explain(
    model: Model,
    record: RecordOptions,
    decoding: DecodingOptions,
    out: Path | None = option(None, "The .html, .png or .json file to write."),
    output: str | None = option(None, "The output to explain. Default: the model's first."),
    table: str | None = option(None, "Training rows: the page shows the nearest."),
    column: Column = None,
    allow_urls: AllowUrls = False,
    as_json: AsJson = False,
) -> None:
    """Explain a model's answer for one record."""
    from plait.explain.explanation import check_name
    from plait.tasks.explain import find_record, page_name, show

    target = out or page_name(record.what, record.row)
    check_name(target)
    loaded, columns = plait.load(model), pairs("--column", column)
    cells = pairs("--input", record.input_, "CELL")
    found, root = find_record(
        loaded, record.what, record.row, cells, columns, allow_urls=allow_urls
    )
    with show_progress() as progress:
        explanation = loaded.explain(
            found, root=root, output=output, table=table and allowing(table, allow_urls),
            columns=columns, progress=progress, **decoding.given()
        )  # fmt: skip
    if as_json:
        print(json.dumps(explanation.to_json(), ensure_ascii=False))
        return
    explanation.save(target)
    show(explanation)
    print(f"written to {target}")


@commands.command()
@with_groups
def transcribe(
    recordings: Annotated[list[str], argument(..., "Recordings or videos of any length.")],
    decoding: DecodingOptions,
    model: str = option("whisper", "whisper, a speech-to-text package's folder, or hub:NAME."),
    kind: str = option("txt", "txt, json, srt or vtt.", "--format"),
    out: Path | None = option(None, "Write one file for each recording to this folder."),
    sure: float = option(-1.0, "Mark lines that score lower as unsure (nats per unit, at most 0)."),
    on_bad: OnBad = "stop",
    allow_urls: AllowUrls = False,
    engine: Engine = "torch",
) -> None:
    """Transcribe recordings, with times."""
    from plait.tasks.transcribers import transcribe_files

    files = named(recordings, allow_urls)
    transcribe_files(files, model, kind, out, on_bad, sure, decoding.given(), engine)


@commands.command()
@with_groups
def translate(
    model: Annotated[str, option(..., "The folder of a text-to-text package.")],
    decoding: DecodingOptions,
    sentences: list[str] | None = argument(
        None, "Sentences or text files. Default: the lines of standard input."
    ),
    photo: Path | None = option(None, "What the sentences are about."),
    out: Path | None = option(None, "Write a text file instead of printing."),
    engine: Engine = "torch",
) -> None:
    """Translate sentences, with a photo if the model uses one."""
    from plait.tasks.translate import translate_all

    translate_all(sentences or [], model, photo, out, decoding.given(), engine)


@dataclass(frozen=True)
class ChatOptions:
    """The models, what is asked, and where the talk is kept."""

    assistant: Path | None = argument(
        None, "A YAML file that names the models. Default: those shipped with plait."
    )
    say: str | None = option(None, "Answer this request and exit.")
    hear: Path | None = option(None, "Answer the request in this recording and exit.")
    photo: Path | None = option(None, "The photo to talk about.")
    photos: Path | None = option(None, "The folder of photos to search.")
    why: Path | None = option(
        None, "With --say or --hear: draw what the answer is based on, to this folder."
    )
    session: Path | None = option(
        None, "A JSON Lines file of turns: continue from it and append to it."
    )
    speak: bool = option(False, "Also speak the answers, with espeak-ng.", "--speak")


@commands.command()
@with_groups
def chat(options: ChatOptions, as_json: AsJson = False) -> None:
    """Talk about a photo: captions, questions, translations, photo search."""
    from plait.assistant.chat import Terminal, reading_progress

    say, hear, photo = options.say, options.hear, options.photo
    if say is not None and hear is not None:
        raise UsageError("--say and --hear are two requests", expected="one of them")
    if options.why is not None and say is None and hear is None:
        raise UsageError(
            "--why explains a single answer", expected="--say or --hear",
            hint="in a conversation, type /why",
        )  # fmt: skip
    assistant = plait.Assistant(
        options.assistant, photos=options.photos, session=options.session,
        progress=reading_progress()
    )  # fmt: skip
    terminal = Terminal(assistant, options.speak, as_json)
    if hear is not None:
        turn = assistant.hear(hear, photo=photo)
    elif say is not None:
        turn = assistant.say(say, photo=photo)
    else:
        terminal.converse(photo)
        return
    terminal.show(turn)
    if options.why is not None and turn.ok:
        terminal.why(str(options.why))
    raise typer.Exit(0 if turn.ok else 1)
