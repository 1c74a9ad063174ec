"""Commands that use a trained model: caption, predict, explain, transcribe, translate, chat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import plait
from plait.cli.options import (
    AsJson,
    Column,
    DecodingOptions,
    Engine,
    Model,
    OnBad,
    SamplingOptions,
    TableOptions,
    pairs,
    with_groups,
)
from plait.render.progress import show_progress

commands = typer.Typer()


@commands.command()
@with_groups
def caption(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    decoding: SamplingOptions,
    model: Annotated[
        str, typer.Option(help="A shipped model or a package's folder.")
    ] = "captioner",
    out: Annotated[
        Path | None, typer.Option(help="Write a .csv or .json file instead of printing.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Draw where the model looked, to this folder.")
    ] = None,
    engine: Engine = "torch",
    on_bad: OnBad = "stop",
    as_json: AsJson = False,
) -> None:
    """Caption photos: one sentence for each."""
    from plait.tasks.caption import Destination, caption_photos

    destination = Destination(out, explain, as_json)
    with show_progress() as progress:
        caption_photos(photos, model, decoding.given(), on_bad, destination, engine, progress)


@commands.command()
@with_groups
def predict(
    model: Model,
    table: Annotated[str, typer.Argument(help="A table with the model's inputs.")],
    rows: TableOptions,
    decoding: SamplingOptions,
    out: Annotated[Path, typer.Option(help="The .csv or .json file to write.")] = Path(
        "predictions.csv"
    ),
    shares: Annotated[
        bool, typer.Option("--shares", help="Add each input's share of the answer.")
    ] = False,
    engine: Engine = "torch",
    as_json: AsJson = False,
) -> None:
    """Answer every row of a table."""
    from plait.tasks.predict import PredictSettings, predict_table

    columns = pairs("--column", rows.column)
    settings = PredictSettings(columns, decoding.given(), rows.on_bad, shares, engine)
    with show_progress() as progress:
        predict_table(model, table, settings, out, as_json, progress)


@dataclass(frozen=True)
class RecordOptions:
    """Which record is explained."""

    what: Annotated[str | None, typer.Argument(help="A file, a text, or a table (with --row).")] = (
        None
    )
    row: Annotated[int | None, typer.Option(min=1, help="The row of the table.")] = None
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", help="The cell of an input: NAME=CELL. May be repeated."),
    ] = None


@commands.command()
@with_groups
def explain(
    model: Model,
    record: RecordOptions,
    decoding: DecodingOptions,
    out: Annotated[
        Path | None, typer.Option(help="The .html, .png or .json file to write.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The output to explain. Default: the model's first.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Training rows: the page shows the nearest.")
    ] = None,
    column: Column = None,
    as_json: AsJson = False,
) -> None:
    """Explain a model's answer for one record."""
    from plait.explain.explanation import check_name
    from plait.tasks.explain import find_record, page_name, show

    target = out or page_name(record.what, record.row)
    check_name(target)
    loaded, columns = plait.load(model), pairs("--column", column)
    cells = pairs("--input", record.input_, "CELL")
    found, root = find_record(loaded, record.what, record.row, cells, columns)
    with show_progress() as progress:
        explanation = loaded.explain(
            found, root=root, output=output, table=table, columns=columns, progress=progress,
            **decoding.given(),
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
    recordings: Annotated[
        list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3 files of any length.")
    ],
    decoding: DecodingOptions,
    model: Annotated[
        str,
        typer.Option(help="whisper, a speech-to-text package's folder, or hub:NAME."),
    ] = "whisper",
    kind: Annotated[str, typer.Option("--format", help="txt, json, srt or vtt.")] = "txt",
    out: Annotated[
        Path | None, typer.Option(help="Write one file for each recording to this folder.")
    ] = None,
    sure: Annotated[
        float,
        typer.Option(help="Mark segments that score lower as unsure (nats per unit, at most 0)."),
    ] = -1.0,
    on_bad: OnBad = "stop",
) -> None:
    """Transcribe recordings, with times."""
    from plait.tasks.transcribe import transcribe_files

    transcribe_files(recordings, model, kind, out, on_bad, sure, decoding.given())


@commands.command()
@with_groups
def translate(
    model: Annotated[str, typer.Option(help="The folder of a text-to-text package.")],
    decoding: DecodingOptions,
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="Sentences or text files. Default: the lines of standard input."),
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="What the sentences are about.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a text file instead of printing.")] = None,
) -> None:
    """Translate sentences, with a photo if the model uses one."""
    from plait.tasks.translate import translate_all

    translate_all(sentences or [], model, photo, out, decoding.given())


@dataclass(frozen=True)
class ChatOptions:
    """The models, what is asked, and where the talk is kept."""

    assistant: Annotated[
        Path | None,
        typer.Argument(
            help="A YAML file that names the models. Default: those shipped with plait."
        ),
    ] = None
    say: Annotated[str | None, typer.Option(help="Answer this request and exit.")] = None
    hear: Annotated[
        Path | None, typer.Option(help="Answer the request in this recording and exit.")
    ] = None
    photo: Annotated[Path | None, typer.Option(help="The photo to talk about.")] = None
    photos: Annotated[Path | None, typer.Option(help="The folder of photos to search.")] = None
    why: Annotated[
        Path | None,
        typer.Option(
            help="With --say or --hear: draw what the answer is based on, to this folder."
        ),
    ] = None
    session: Annotated[
        Path | None,
        typer.Option(help="A JSON Lines file of turns: continue from it and append to it."),
    ] = None
    speak: Annotated[
        bool, typer.Option("--speak", help="Also speak the answers, with espeak-ng.")
    ] = False


@commands.command()
@with_groups
def chat(options: ChatOptions, as_json: AsJson = False) -> None:
    """Talk about a photo: captions, questions, translations, photo search."""
    from plait.assistant.chat import chat as talk

    code = talk(
        options.assistant, say=options.say, hear=options.hear, photo=options.photo,
        photos=options.photos, why=options.why, session=options.session, speak=options.speak,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)
