"""The command ``plait``: its commands, those of plug-ins, and how errors are shown.

The commands are in `predict`, `train`, `package` and `data`: each reads its options, calls the
Python API and shows the result. Everything they import is imported when a command runs, so that
``plait --help`` starts at once.

**Plug-ins.** A package adds commands through the entry-point group ``plait.commands``::

    [project.entry-points."plait.commands"]
    clouds = "plait_clouds.cli:add"

The entry point is either a function that is called with a `typer.Typer` and adds commands to it,
or a `typer.Typer` whose commands are added below its name (``plait clouds ...``). Raise
`plait.PlaitError` for what the user can fix: it is shown as one line. A plug-in that can't be
loaded, or whose commands have names that are taken, is named in one line and left out.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import entry_points
from typing import NoReturn

import typer

import plait
from plait.cli import data, package, predict, train
from plait.cli.options import option
from plait.types import PlaitError, UsageError

PLUGINS = "plait.commands"
OWN = {
    "Use a model": predict,
    "Train and evaluate": train,
    "Share and deploy": package,
    "Look inside": data,
}
"""Heading in the help -> the module with its commands."""

app = typer.Typer(
    name="plait",
    help="Learn one model from text, images, audio, video, series and tables. "
    "Captions photos out of the box.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"plait {plait.__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: bool = option(
        False, "Show the version and exit.", "--version", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


def add_commands(commands: typer.Typer, heading: str) -> None:
    """Add commands to plait's own, below a heading in the help. Raises ValueError if one of the
    names is taken."""
    if taken := _names(commands) & _names(app):
        raise ValueError(f"there is already a command {min(taken)!r}")
    for command in commands.registered_commands:
        command.rich_help_panel = heading
    for group in commands.registered_groups:
        group.rich_help_panel = heading
    app.add_typer(commands)


def _names(commands: typer.Typer) -> set[str]:
    own = {
        info.name or (info.callback.__name__.replace("_", "-") if info.callback else "")
        for info in commands.registered_commands
    }
    for group in commands.registered_groups:
        # A group without a name only brings its commands.
        own |= {group.name} if group.name else _names(group.typer_instance or typer.Typer())
    return own


for _heading, _module in OWN.items():
    add_commands(_module.commands, _heading)


def add_plugins() -> None:
    """Add the commands of the entry points; each that fails is named in one line."""
    for entry in sorted(entry_points(group=PLUGINS), key=lambda entry: entry.name):
        try:
            commands, plugin = typer.Typer(), entry.load()
            if isinstance(plugin, typer.Typer):
                commands.add_typer(plugin, name=entry.name)
            elif callable(plugin):
                plugin(commands)
            else:
                kind = type(plugin).__name__
                raise TypeError(f"{entry.value} is of type {kind}, not a function or Typer")
            add_commands(commands, "Plug-ins")
        except Exception as error:  # whatever a stranger's module does must not stop the others
            why = " ".join(str(error).split()) or type(error).__name__
            source = entry.dist.name if entry.dist else entry.value
            _complain(f"the plug-in {entry.name!r} of {source} can't be loaded: {why}")


def main() -> NoReturn:
    """Entry point: a user's mistake is one line and exit code 1 or 2, never a traceback."""
    # Threads that spin while they wait keep a core from other programs, and from plait's own
    # threads: a quarter faster on a busy machine, 5 % slower on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Pillow warns of broken EXIF data, without which a photo is read all the same.
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
    if sys.argv[1:2] == [] or sys.argv[1] not in _names(app):
        add_plugins()  # only where they matter: they may be slow to import
    try:
        code = app(standalone_mode=False)
    except PlaitError as error:
        code = _complain(error, 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        code = _complain("stopped", 130)
    except BrokenPipeError:
        code = 0
    except Exception as error:
        # Typer's own usage errors know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        code = getattr(error, "exit_code", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(what: object, code: int = 0) -> int:
    print(f"plait: {what}", file=sys.stderr)
    return code
