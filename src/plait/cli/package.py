"""Commands that check, share and deploy packages: verify, export, serve, push, pull, arpa."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import plait
from plait.cli.options import (
    AsJson,
    Engine,
    Model,
    TableOptions,
    argument,
    option,
    print_json,
    with_groups,
)
from plait.render.progress import show_progress
from plait.types import UsageError

commands = typer.Typer()

INT8 = "8-bit export"


@commands.command()
@with_groups
def export(
    model: Model,
    folder: Annotated[Path, argument(..., "The folder for the graphs and model.json.")],
    options: TableOptions,
    to: str = option("onnx", "The format: onnx."),
    int8: bool = option(
        False, "Quantise to 8 bits, and report what it costs.", "--int8", panel=INT8
    ),
    table: str | None = option(
        None, "A table: training rows calibrate, validation rows score.", panel=INT8
    ),
    rows: int | None = option(None, "Validation rows to score. Default: all.", min=1, panel=INT8),
    as_json: AsJson = False,
) -> None:
    """Export a model to ONNX, which runs without torch."""
    from plait.runtime.export import export as export_model

    if to != "onnx":
        raise UsageError(f"can't export to {to!r}", expected="onnx")
    if int8 != (table is not None):
        raise UsageError("--int8 and --table go together", expected="both or neither")
    loaded, losses = plait.load(model), []
    with show_progress() as progress:
        progress("export", 0, 1)
        export_model(loaded, folder)
        progress("export", 1, 1)
        if table is not None:
            from plait.runtime.quantise import quantise

            losses = quantise(
                loaded, folder, options.read(table), rows=rows, progress=progress, **options.given()
            )
    if as_json:
        print_json({"folder": str(folder), "int8": [vars(loss) for loss in losses]})
        return
    for loss in losses:
        print(loss)
    print(f"the exported model is in {folder}")


@dataclass(frozen=True)
class Limits:
    """What clients may send, and how long they wait."""

    max_mb: float = option(20, "Megabytes per request.", min=0.001, panel="Limits")
    max_pixels: int = option(40_000_000, "Pixels per image.", min=1, panel="Limits")
    max_seconds: float = option(120, "Seconds of audio or video.", min=0.1, panel="Limits")
    timeout: float = option(30, "Seconds to wait for an answer.", min=0.1, panel="Limits")
    queue: int = option(128, "Records that may wait.", min=1, panel="Limits")


@commands.command()
@with_groups
def serve(
    models: Annotated[
        list[str], argument(..., "Shipped models or package folders; NAME=FOLDER sets a name.")
    ],
    limits: Limits,
    host: str = option("127.0.0.1", "The address to listen on; 0.0.0.0 opens it to the network."),
    port: int = option(8000, "0 takes any free port.", min=0, max=65535),
    keys: Path | None = option(None, "A file of API keys, one per line; clients must send one."),
    allow_host: list[str] | None = option(
        None, "A host name that clients may use. May be repeated."
    ),
    engine: Engine = "torch",
) -> None:
    """Serve models over HTTP, with a web page to try them."""
    from plait.web.serve import serve as run_server
    from plait.web.settings import MEGABYTE, Settings, keys_of_file

    settings = Settings(
        request_bytes=int(limits.max_mb * MEGABYTE), pixels=limits.max_pixels,
        seconds=limits.max_seconds, timeout=limits.timeout, queue=limits.queue,
        keys=keys_of_file(keys) if keys else (),
    )  # fmt: skip

    def ready(address: str) -> None:
        print(f"{', '.join(models)} at {address} (stop with Ctrl-C)", flush=True)

    run_server(models, host, port, settings, allow_host or [], engine, ready)


@commands.command()
def verify(
    package: Annotated[str, argument(..., "A shipped model or a package's folder.")],
    as_json: AsJson = False,
) -> None:
    """Check a package's files against its manifest: the SHA-256 of each."""
    from plait.package.format import find_package, other_files, verify_package

    folder = find_package(package)
    digests, others = verify_package(folder), other_files(folder)
    if as_json:
        print_json({"folder": str(folder), "sha256": digests, "others": others})
        return
    for name, digest in digests.items():
        print(f"{digest}  {name}")
    print(f"{folder}: {len(digests)} files, unchanged since the package was written")
    if others:
        print(f"not part of the package, and not checked: {', '.join(others)}")


@commands.command()
def push(
    model: Model,
    target: Annotated[str, argument(..., "A folder, or OWNER/NAME on the Hugging Face Hub.")],
    private: bool = option(False, "Make a new repository private.", "--private"),
) -> None:
    """Copy a package to the Hugging Face Hub, or to a folder in its format."""
    from plait.package.hub import push as push_package

    print(f"{model} is in {push_package(model, target, private=private)}")


@commands.command()
def pull(
    source: Annotated[str, argument(..., "A folder, or OWNER/NAME on the Hugging Face Hub.")],
    out: Annotated[Path, argument(..., "The folder for the package.")],
    revision: str | None = option(None, "A branch, tag or commit."),
) -> None:
    """Copy a package from the Hugging Face Hub, or from a folder in its format."""
    from plait.package.hub import pull as pull_package

    print(f"{source} is in {pull_package(source, out, revision=revision)}")


@commands.command()
def arpa(
    model: Annotated[str, argument(..., "A package with an n-gram language model.")],
    file: Annotated[Path, argument(..., "The ARPA file to write; gzipped if it ends in .gz.")],
    output: str | None = option(None, "The text output, if several have an n-gram model."),
) -> None:
    """Export a model's n-gram language model for other tools (KenLM, SRILM)."""
    plait.export_arpa(plait.load(model), file, output=output)
    print(f"written to {file}")
