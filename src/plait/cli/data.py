"""Commands that look inside tables, recipes, components and models: data, list, recipe, summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import AllowUrls, AsJson, Missing, Set, argument, names, option, print_json
from plait.config.registry import FOLDERS
from plait.render.progress import show_progress

commands = typer.Typer()


@commands.command()
def data(
    table: Annotated[str, argument(..., "CSV, JSON, Parquet, a folder or published captions.")],
    image: str | None = option(None, "The image column. Default: a guess."),
    text: str | None = option(None, "The caption column. Default: a guess."),
    missing: Missing = None,
    allow_urls: AllowUrls = False,
    as_json: AsJson = False,
) -> None:
    """Profile a table: columns, image sizes, unreadable files, caption lengths, vocabulary."""
    from plait.cli.show import show_profile
    from plait.data.tables import read_table
    from plait.data.values import MISSING
    from plait.pipeline.columns import guess_column
    from plait.pipeline.profile import profile

    rows = read_table(table, MISSING if missing is None else names([missing]), allow_urls)
    image = image or guess_column(rows, "image")
    text = text or guess_column(rows, "text")
    with show_progress() as progress:
        profiled = profile(rows, image, text, on_progress=lambda d, n: progress("photos", d, n))
    if as_json:
        print_json(profiled)
    else:
        show_profile(profiled)


@commands.command("list")
def list_(
    kind: str | None = argument(
        None, f"recipe, model, {', '.join(FOLDERS)}. Default: list the kinds."
    ),
    as_json: AsJson = False,
) -> None:
    """List recipes, models, or components of a kind with their settings."""
    from plait.cli.show import list_kind

    list_kind(kind, as_json)


@commands.command()
def recipe(
    name: str = argument("captioning", "A shipped recipe."),
    set_: Set = None,
    resolved: bool = option(False, "Write out every default."),
    schema: bool = option(False, "Print the JSON Schema of recipes instead.", "--schema"),
    as_json: AsJson = False,
) -> None:
    """Print a shipped recipe."""
    from plait.config.recipe import load_recipe, recipe_text
    from plait.config.schema import recipe_schema

    if schema:
        print_json(recipe_schema())
    elif as_json:
        print(load_recipe(name, set_ or []).model_dump_json(indent=2))
    elif resolved or set_:
        print(load_recipe(name, set_ or []).to_yaml(), end="")
    else:
        print(recipe_text(name), end="")


@commands.command()
def summary(
    what: Annotated[str, argument(..., "A shipped model or recipe, a package or YAML file.")],
    set_: Set = None,
    out: Path | None = option(None, "Draw the graph to this .svg or .png file."),
    as_json: AsJson = False,
) -> None:
    """Show a model's layers, shapes, parameters and graph."""
    from plait.tasks.summary import summarise

    summarise(what, set_ or [], out, as_json)
