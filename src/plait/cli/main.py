"""The command line: parse, call, show. Everything it does, the Python API does too."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import plait
from plait.config.registry import ROOMS
from plait.types import PlaitError, UsageError

app = typer.Typer(
    name="plait",
    help="Learns one model from text, images, audio, video, series and tables; captions a photo "
    "out of the box.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

OnBad = Annotated[
    str, typer.Option("--on-bad", help="cells that can't be used: stop, skip or missing")
]
TrainingOnBad = Annotated[
    str | None, typer.Option("--on-bad", help="stop, skip or missing; the recipe's if not set")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="override a setting: path=value; repeatable")
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="an input's or output's column: NAME=COLUMN, or NAME=COLUMN,COLUMN; repeatable",
    ),
]
Beam = Annotated[int | None, typer.Option(help="beams; 1 is greedy")]
Num = Annotated[int | None, typer.Option(help="answers a record, best first")]
Sample = Annotated[bool | None, typer.Option("--sample", help="draw at random")]
Shares = Annotated[bool, typer.Option("--shares", help="also each input's share of the answers")]
Out = Annotated[Path | None, typer.Option(help="where to write")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"plait {plait.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Entry point: a user's mistake is one line and exit code 1 or 2, never a traceback."""
    # Threads that spin while they wait keep a core from whoever else needs it, plait's own others
    # among them: a quarter faster beside a busy program, a twentieth slower alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        code = app(standalone_mode=False)
    except UsageError as error:
        code = _say(error, 2)
    except PlaitError as error:
        code = _say(error, 1)
    except KeyboardInterrupt:
        code = _say("stopped", 130)
    except BrokenPipeError:
        code = 0
    except Exception as error:
        # Typer's and click's own usage errors know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _say(what: object, code: int) -> int:
    print(f"plait: {what}", file=sys.stderr)
    return code


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def _progress(one: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar with the time left, on the terminal's error stream; every work has a bar of its own, or
    all share ``one``, titled by what is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if not tasks:
            bar.start()  # not before: a bar without a task leaves an empty line
        key = "" if one else what
        if key not in tasks:
            tasks[key] = bar.add_task(what, total=total)
        bar.update(tasks[key], description=what, completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


def _columns(given: Iterable[str] | None) -> dict[str, str]:
    """Input or output -> column, of ``NAME=COLUMN``."""
    return _pairs("--column", given)


def _pairs(option: str, given: Iterable[str] | None) -> dict[str, str]:
    """What an option that may be repeated says of each name."""
    what, found = option.removeprefix("--").replace("input", "cell"), {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {item!r} names no {what}", expected=f"NAME={what.upper()}")
        found[name] = value
    return found


def _names(given: Iterable[str] | None) -> list[str]:
    """Options that may be repeated, or hold several names with commas between them."""
    return [name.strip() for item in given or [] for name in item.split(",") if name.strip()]


def _whole_numbers(given: str | None) -> list[int]:
    names = _names([given] if given else [])
    if not all(name.isdecimal() and int(name) > 0 for name in names):
        raise UsageError(f"--rows {given!r} are no numbers of rows", expected="such as 100,300")
    return [int(name) for name in names]


def _seconds(given: str | None) -> float | None:
    """``90s``, ``20m`` or ``2h``."""
    if given is None:
        return None
    number, unit = given[:-1], {"s": 1, "m": 60, "h": 3600}.get(given[-1:])
    try:
        value = float(number) * (unit or 0)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--budget {given!r} is no time", expected="such as 90s, 20m or 2h")
    return value


def _decoding(
    beam: int | None, num: int | None, sample: bool | None, more: Iterable[str]
) -> dict[str, Any]:
    """The options of the decoding that were given; the others are the recipe's."""
    given = {"beam": beam, "num": num, "sample": sample}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for item in more:
        import yaml  # only where it is needed, as it is slow to import

        name, equals, value = item.partition("=")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise UsageError(f"--set {item!r} is no setting", expected="name=value")
    return options


@app.command()
def caption(
    photos: Annotated[list[Path], typer.Argument(help="photos, or folders of photos")],
    model: Annotated[str, typer.Option(help="a shipped model or a package")] = "captioner",
    out: Annotated[
        Path | None, typer.Option(help="write a .csv or .json instead of printing")
    ] = None,
    num: Num = None,
    beam: Beam = None,
    sample: Sample = None,
    explain: Annotated[
        Path | None, typer.Option(help="write attention pictures to this folder")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="torch, or onnx, which starts sooner; it exports the model once")
    ] = "torch",
    on_bad: OnBad = "stop",
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Say in a sentence what each photo shows."""
    from plait.tasks.predict import caption_photos

    options = _decoding(beam, num, sample, set_ or [])
    caption_photos(photos, model, options, on_bad, out, explain, as_json, engine)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    folder: Annotated[Path, typer.Argument(help="where to write the graphs and model.json")],
    to: Annotated[str, typer.Option(help="onnx")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="with 8 bits a number; tells what the scores lose")
    ] = False,
    table: Annotated[
        str | None,
        typer.Option(help="for --int8: training rows to calibrate with, validation rows to score"),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="for --int8: score so many validation rows; all")
    ] = None,
    column: Column = None,
    on_bad: OnBad = "stop",
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX graphs, which run without torch."""
    from plait.data.cells import check_policy
    from plait.runtime.export import export as export_model

    if to != "onnx":
        raise UsageError(f"can't export to {to!r}", expected="onnx")
    if int8 != (table is not None):
        raise UsageError("--int8 and --table go together", expected="both, or none")
    loaded, losses = plait.load(model), []
    export_model(loaded, folder)
    if table is not None:
        from plait.runtime.quantise import quantise

        with _progress() as progress:
            losses = quantise(
                loaded, folder, table, columns=_columns(column), rows=rows,
                on_bad=check_policy(on_bad), progress=progress,
            )  # fmt: skip
    if as_json:
        _print_json({"folder": str(folder), "int8": [vars(loss) for loss in losses]})
        return
    for loss in losses:
        print(loss)
    print(f"the exported model is in {folder}")


@app.command()
def transcribe(
    recordings: Annotated[list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3, of any length")],
    model: Annotated[
        str, typer.Option(help="a package that makes text of a sound, hub:NAME, or whisper")
    ] = "whisper",
    kind: Annotated[str, typer.Option("--format", help="txt, json, srt or vtt")] = "txt",
    out: Annotated[
        Path | None, typer.Option(help="write a file for each recording to this folder")
    ] = None,
    beam: Beam = None,
    sure: Annotated[
        float, typer.Option(help="least score, in nats a unit, of what is not marked as unsure")
    ] = -1.0,
    on_bad: OnBad = "stop",
    set_: Set = None,
) -> None:
    """Write down what is said in recordings, with times."""
    from plait.tasks.transcribe import transcribe_files

    options = _decoding(beam, None, None, set_ or [])
    transcribe_files(recordings, model, kind, out, on_bad, sure, options)


@app.command()
def translate(
    model: Annotated[str, typer.Option(help="a package that makes text of text")],
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="sentences, or text files; none: lines of the standard input"),
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="what the sentences are about")] = None,
    out: Out = None,
    beam: Beam = None,
    set_: Set = None,
) -> None:
    """Translate sentences, with a photo where the model sees one."""
    from plait.tasks.translate import translate_all

    options = _decoding(beam, None, None, set_ or [])
    translate_all(sentences or [], model, photo, out, options)


@app.command()
def chat(
    assistant: Annotated[
        Path | None, typer.Argument(help="a YAML of models; what ships with plait if not set")
    ] = None,
    say: Annotated[str | None, typer.Option(help="answer this request and end")] = None,
    hear: Annotated[
        Path | None, typer.Option(help="answer the request in this recording and end")
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="the photo to speak of")] = None,
    photos: Annotated[Path | None, typer.Option(help="folder of photos to search")] = None,
    why: Annotated[
        Path | None, typer.Option(help="draw what that answer goes by, to this folder")
    ] = None,
    session: Annotated[
        Path | None, typer.Option(help="JSON lines of turns to go on with and to add to")
    ] = None,
    speak: Annotated[bool, typer.Option("--speak", help="also aloud, by espeak-ng")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask about a photo in your own words: captions, questions, translations, searches."""
    from plait.assistant.chat import chat as talk

    code = talk(
        assistant, say=say, hear=hear, photo=photo, photos=photos, why=why, session=session,
        speak=speak, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe or a YAML file")],
    table: Annotated[str, typer.Argument(help="CSV, TSV, JSONL, Parquet, folder or COCO JSON")],
    out: Annotated[Path, typer.Option(help="the package's folder")] = Path("model"),
    column: Column = None,
    set_: Set = None,
    on_bad: TrainingOnBad = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on a table; run it again to go on after a kill."""
    from plait.cli.show import TrainingView
    from plait.data.cells import check_policy
    from plait.training.train import train as train_model

    with _progress() as progress:
        view = TrainingView(as_json, progress)
        policy = check_policy(on_bad) if on_bad else None
        model = train_model(
            recipe, table, out, overrides=set_ or [], columns=_columns(column), on_bad=policy,
            progress=progress, report=view.report, shown=view.columns,
        )  # fmt: skip
    view.done(out, model.recipe, model.scores)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    table: Annotated[str, typer.Argument(help="a table with references")],
    split: Annotated[str | None, typer.Option(help="only train, val or test rows")] = None,
    column: Column = None,
    beam: Beam = None,
    page: Annotated[
        Path | None, typer.Option(help="write a page of the ten best and ten worst")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="write wrong transcripts below what was said")
    ] = None,
    subsets: Annotated[
        bool, typer.Option("--subsets", help="also with every subset of the inputs")
    ] = False,
    shares: Shares = False,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="also with noise, blur, words left out")
    ] = False,
    swapped: Annotated[
        bool, typer.Option("--swapped", help="also with each input of another record")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="also for each value of a column: the question's type...")
    ] = None,
    on_bad: OnBad = "stop",
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Free-running scores against all references, with 95 % intervals."""
    from plait.cli.show import show_columns, show_scores
    from plait.data.cells import check_policy

    options = _decoding(beam, None, None, set_ or [])
    loaded = plait.load(model)
    with _progress() as progress:
        found = loaded.evaluate(
            table, split=split, columns=_columns(column), subsets=subsets, shares=shares,
            corruptions=corruptions, swapped=swapped, by=by, on_bad=check_policy(on_bad),
            progress=progress, **options,
        )  # fmt: skip
    if page is not None:
        from plait.report.best_and_worst import best_and_worst

        best_and_worst(found, page)
    if errors is not None:
        from plait.report.best_and_worst import write_errors

        write_errors(found, errors)
    if as_json:
        _print_json(found.to_json())
    else:
        show_columns(found.columns)
        show_scores(loaded.recipe, found.to_json(), page)


@app.command()
def compare(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe or a YAML file")],
    table: Annotated[str, typer.Argument(help="a table that the recipe can be trained on")],
    out: Annotated[Path, typer.Option(help="the comparison's folder")] = Path("comparison"),
    fusion: Annotated[
        list[str] | None,
        typer.Option(help="all, or names as early.gated, late, hybrid; repeatable, or with commas"),
    ] = None,
    representation: Annotated[
        list[str] | None,
        typer.Option(help="INPUT=all or INPUT=NAME,NAME; repeatable"),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="also from so few training rows: 100,300,1000")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="the output that is scored; the recipe's first if not set")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="runs of each, from the recipe's seed on")] = 3,
    budget: Annotated[
        str | None, typer.Option(help="time for the training: 90s, 20m, 2h; no limit if not set")
    ] = None,
    split: Annotated[str, typer.Option(help="the rows that the best is chosen by")] = "val",
    test: Annotated[
        bool, typer.Option("--test", help="score the best on the test rows too: once, at the end")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(help="keep the best one as a package in this folder")
    ] = None,
    column: Column = None,
    set_: Set = None,
    on_bad: TrainingOnBad = None,
    as_json: AsJson = False,
) -> None:
    """Single inputs, fusions, representations: which is best, and which differences are real."""
    from plait.cli.show import show_table
    from plait.comparison.compare import compare as compare_all
    from plait.comparison.report import HEADINGS, LESS_NEEDED, heading, sentences, table_rows
    from plait.comparison.variants import parse_representations
    from plait.data.cells import check_policy
    from plait.render.console import errors

    seen = errors.is_terminal  # a log gets a line a run instead of a bar
    with _progress(one=True) as progress:
        found = compare_all(
            recipe, table, out,
            fusions=_names(fusion), representations=parse_representations(representation or []),
            rows=_whole_numbers(rows), output=output, seeds=seeds, budget=_seconds(budget),
            split=split, test=test, keep=keep,
            overrides=set_ or [], columns=_columns(column),
            on_bad=check_policy(on_bad) if on_bad else None,
            progress=progress if seen else None, on_run=None if seen else errors.print,
        )  # fmt: skip
    if as_json:
        _print_json(found.to_json())
    else:
        where = [f"In {found.folder}: compare.json, compare.md, compare.png, and every run."]
        where += [f"The best one is kept in {keep}."] if keep else []
        show_table(
            heading(found), HEADINGS, table_rows(found), [*sentences(found), *where],
            less_needed=LESS_NEEDED,
        )  # fmt: skip


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    table: Annotated[str, typer.Argument(help="a table with the model's inputs")],
    out: Annotated[Path, typer.Option(help=".csv or .json to write")] = Path("predictions.csv"),
    column: Column = None,
    num: Num = None,
    beam: Beam = None,
    sample: Sample = None,
    shares: Shares = False,
    on_bad: OnBad = "stop",
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Answer every row of a table."""
    from plait.tasks.predict import predict_table

    options = _decoding(beam, num, sample, set_ or [])
    predict_table(model, table, _columns(column), options, on_bad, out, as_json, shares)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    what: Annotated[
        str | None, typer.Argument(help="a file, a text, or with --row a table")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=".html, .png or .json to write")] = None,
    row: Annotated[int | None, typer.Option(min=1, help="the row of the table")] = None,
    input_: Annotated[
        list[str] | None, typer.Option("--input", help="an input's cell: NAME=CELL; repeatable")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="whose answer; the model's first output if not set")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="training rows, of which the nearest are shown")
    ] = None,
    column: Column = None,
    beam: Beam = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Show why the model answers a record as it does."""
    from plait.tasks.explain import explain_record

    with _progress() as progress:
        explain_record(
            model, what, out, row=row, inputs=_pairs("--input", input_), output=output,
            table=table, columns=_columns(column), options=_decoding(beam, None, None, set_ or []),
            as_json=as_json, progress=progress,
        )  # fmt: skip


@app.command()
def report(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    table: Annotated[str, typer.Argument(help="a table with references")],
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("report.html"),
    split: Annotated[str | None, typer.Option(help="only train, val or test rows")] = None,
    column: Column = None,
    beam: Beam = None,
    on_bad: OnBad = "stop",
    set_: Set = None,
) -> None:
    """Write one page of how the model does on a table, with charts and the records behind them."""
    from plait.data.cells import check_policy
    from plait.report.write import write_report

    options = _decoding(beam, None, None, set_ or [])
    with _progress() as progress:
        write_report(
            model, table, out, split=split, columns=_columns(column),
            on_bad=check_policy(on_bad), progress=progress, **options,
        )  # fmt: skip
    print(f"written to {out}")


@app.command()
def push(
    model: Annotated[str, typer.Argument(help="a shipped model or a package")],
    target: Annotated[str, typer.Argument(help="a folder, or OWNER/NAME on the Hugging Face hub")],
    private: Annotated[bool, typer.Option("--private", help="if the repository is made")] = False,
) -> None:
    """Copy a package to the Hugging Face hub, or to a folder in its format."""
    from plait.package.hub import push as push_package

    print(f"{model} is in {push_package(model, target, private=private)}")


@app.command()
def pull(
    source: Annotated[str, typer.Argument(help="a folder, or OWNER/NAME on the Hugging Face hub")],
    out: Annotated[Path, typer.Argument(help="the package's folder")],
    revision: Annotated[str | None, typer.Option(help="a branch, a tag or a commit")] = None,
) -> None:
    """Copy a package from the Hugging Face hub, or from a folder in its format."""
    from plait.package.hub import pull as pull_package

    print(f"{source} is in {pull_package(source, out, revision=revision)}")


@app.command()
def serve(
    models: Annotated[
        list[str], typer.Argument(help="shipped models or packages; NAME=FOLDER names one")
    ],
    host: Annotated[str, typer.Option(help="0.0.0.0 is seen by the whole network")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    keys: Annotated[
        Path | None, typer.Option(help="a file of keys, one a line: clients must name one")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="a name that clients may call it by; repeatable")
    ] = None,
    max_mb: Annotated[float, typer.Option(min=0.001, help="megabytes of a request")] = 20,
    max_pixels: Annotated[int, typer.Option(min=1, help="of a picture")] = 40_000_000,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="of a sound or video")] = 120,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds until an answer")] = 30,
    queue: Annotated[int, typer.Option(min=1, help="records that may wait")] = 128,
) -> None:
    """Serve models to programs, and to people as a web page."""
    from plait.web.serve import serve as run_server
    from plait.web.settings import MEGABYTE, Settings, keys_of_file

    settings = Settings(
        request_bytes=int(max_mb * MEGABYTE), pixels=max_pixels, seconds=max_seconds,
        timeout=timeout, queue=queue, keys=keys_of_file(keys) if keys else (),
    )  # fmt: skip

    def ready(address: str) -> None:
        print(f"{', '.join(models)} at {address} (stop with Ctrl-C)", flush=True)

    run_server(models, host, port, settings, allow_host or [], ready)


@app.command()
def summary(
    what: Annotated[str, typer.Argument(help="a model or a recipe")],
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="draw the graph to this .svg or .png")] = None,
    as_json: AsJson = False,
) -> None:
    """Layers with shapes and parameters, and the graph."""
    from plait.tasks.summary import summarise

    summarise(what, set_ or [], out, as_json)


@app.command()
def data(
    table: Annotated[str, typer.Argument(help="CSV, TSV, JSONL, Parquet, folder or COCO JSON")],
    image: Annotated[str | None, typer.Option(help="the photo column")] = None,
    text: Annotated[str | None, typer.Option(help="the caption column")] = None,
    as_json: AsJson = False,
) -> None:
    """Profile a table: columns, counts, sizes, bad files, caption lengths, vocabulary."""
    from plait.cli.show import show_profile
    from plait.data.profile import profile
    from plait.data.tables import guess_column, read_table

    rows = read_table(table)
    image = image or guess_column(rows, "image")
    text = text or guess_column(rows, "text")
    with _progress() as progress:
        found = profile(rows, image, text, on_progress=lambda d, n: progress("photos", d, n))
    if as_json:
        _print_json(found)
    else:
        show_profile(found)


@app.command()
def arpa(
    model: Annotated[str, typer.Argument(help="a package whose text has an n-gram language model")],
    file: Annotated[Path, typer.Argument(help="the ARPA file to write; .gz packs it")],
    output: Annotated[
        str | None, typer.Option(help="the text, where several have such a model")
    ] = None,
) -> None:
    """Write a model's n-grams as other tools read them (KenLM, SRILM)."""
    from plait.tasks.ngrams import export

    export(model, file, output)


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help=f"recipe, model, {', '.join(ROOMS)}; none: the kinds")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Names of a kind: recipes, models, or components with their settings; or the kinds."""
    from plait.cli.show import list_kind

    list_kind(kind, as_json)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="a shipped recipe")],
    set_: Set = None,
    resolved: Annotated[bool, typer.Option(help="with every default written out")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a shipped recipe."""
    from plait.config.recipe import load_recipe, recipe_text

    if as_json:
        print(load_recipe(name, set_ or []).model_dump_json(indent=2))
    elif resolved or set_:
        print(load_recipe(name, set_ or []).to_yaml(), end="")
    else:
        print(recipe_text(name), end="")


if __name__ == "__main__":
    main()
