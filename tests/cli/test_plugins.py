"""Commands of other packages, and what plait does with those that are broken."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from commands import run_plait

from plait.cli import main as cli

PLUGIN = '''
import typer
from plait.types import PlaitError

def add(app):
    @app.command()
    def hello(name: str = "you"):
        """Say hello."""
        print(f"hello {name}")

    @app.command()
    def fail():
        """Always fail."""
        raise PlaitError("no cloud", expected="a cloud")

clouds = typer.Typer(help="Commands for clouds.")

@clouds.command()
def count():
    """Count clouds."""
    print(3)

@clouds.command()
def show():
    """Show clouds."""

def take(app):
    @app.command()
    def caption():
        print("mine")

def half(app):
    @app.command()
    def halfway():
        print("never")
    raise RuntimeError("two lines\\nof trouble")

number = 7
'''

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with plug-ins, name -> object; gives exit code, output, errors."""
    (tmp_path / "plait_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)

    def call(plugins: dict[str, str], *args: str) -> tuple[int, str, str]:
        entries = [EntryPoint(n, value, cli.PLUGINS) for n, value in plugins.items()]
        monkeypatch.setattr(cli, "entry_points", lambda group: entries)
        monkeypatch.setattr(cli.app, "registered_groups", [*cli.app.registered_groups])
        return run_plait(monkeypatch, capsys, *args)

    return call


def test_a_function_adds_commands(run: Run) -> None:
    plugins = {"greeting": "plait_plugin:add"}
    assert run(plugins, "hello", "--name", "Ada") == (0, "hello Ada\n", "")
    code, out, _ = run(plugins, "--help")
    assert code == 0
    assert out.index("Plug-ins") < out.index("Say hello.")
    assert out.index("Use a model") < out.index("caption")


def test_its_errors_are_shown_as_plaits_own(run: Run) -> None:
    code, out, err = run({"greeting": "plait_plugin:add"}, "fail")
    assert (code, out, err) == (1, "", "plait: no cloud; expected a cloud\n")


def test_a_typer_is_added_below_its_name(run: Run) -> None:
    plugins = {"clouds": "plait_plugin:clouds"}
    assert run(plugins, "clouds", "count") == (0, "3\n", "")
    assert "Commands for clouds." in run(plugins, "--help")[1]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("plait_no_such_module:add", "No module named 'plait_no_such_module'"),
        ("plait_plugin:nothing", "module 'plait_plugin' has no attribute 'nothing'"),
        ("plait_plugin:number", "plait_plugin:number is of type int, not a function or Typer"),
        ("plait_plugin:half", "two lines of trouble"),
        ("plait_plugin:take", "there is already a command 'caption'"),
    ],
)
def test_a_broken_plugin_is_one_line(run: Run, value: str, why: str) -> None:
    plugins = {"bad": value, "greeting": "plait_plugin:add"}
    code, out, err = run(plugins, "--help")
    assert code == 0
    assert err == f"plait: the plug-in 'bad' of {value} can't be loaded: {why}\n"
    assert "Caption photos" in out
    assert "Say hello." in out
    assert "halfway" not in out
    assert run(plugins, "hello")[1] == "hello you\n"


def test_own_commands_load_no_plugins(run: Run) -> None:
    code, out, err = run({"bad": "plait_no_such_module:add"}, "list")
    assert (code, err) == (0, "")
    assert "captioning" in out


def test_plugins_do_not_share_a_name(run: Run) -> None:
    plugins = {"a": "plait_plugin:add", "b": "plait_plugin:add"}
    code, out, err = run(plugins, "hello")
    assert (code, out) == (0, "hello you\n")
    assert "the plug-in 'b'" in err
    assert "already a command 'fail'" in err


def test_the_help_has_a_heading_for_each_group(run: Run) -> None:
    _, out, _ = run({}, "--help")
    places = [out.index(heading) for heading in cli.OWN]
    assert places == sorted(places)
    assert "Plug-ins" not in out


def test_groups_of_options_are_single_options() -> None:
    command = typer.main.get_command(cli.app)
    options = {p.name for p in command.commands["compare"].params}  # type: ignore[attr-defined]
    assert {"recipe", "table", "fusion", "seeds", "split", "keep", "set_", "on_bad"} <= options
