"""METEOR 1.5 (Denkowski and Lavie, 2014), computed by its authors' Java program.

The program is part of the package pycocoevalcap (the extra ``meteor``), whose own code is not
used: its match counts add up over photos, so that a bootstrap resample needs no new matching.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from plait.outputs.scores import Floats
from plait.types import PlaitError

_CHUNKS = 20  # the program's columns: words of caption and reference, chunks, words matched
_COLUMNS = (0, 1, _CHUNKS, 21, 22)


def find_program() -> Path | None:
    """The program's file, where pycocoevalcap is installed."""
    spec = find_spec("pycocoevalcap")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    files = (Path(folder, "meteor", "meteor-1.5.jar") for folder in folders)
    return next((file for file in files if file.is_file()), None)


def check_meteor() -> None:
    """Raises PlaitError if METEOR can't be computed: its program or Java is not installed."""
    if shutil.which("java") is None:
        lacks = "Java, and there is no java on the PATH", "install a Java runtime"
    elif find_program() is None:
        lacks = "its Java program, which is not installed", "pip install 'plait[meteor]'"
    else:
        return
    raise PlaitError(f"METEOR needs {lacks[0]}", hint=f"{lacks[1]}, or leave METEOR out")


class Meteor:
    """A conversation with the program, line by line; a context manager that ends it."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed at exit
        command = ["java", "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(find_program())]
        self._process = subprocess.Popen(
            [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )

    def __enter__(self) -> Meteor:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def counts(
        self, captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> Floats:
        """(photos, 23) match counts, to be added up.

        A caption equal to a reference is not fragmented: its one chunk is not added to the sum.
        """
        counts = np.array(
            [
                self._ask(
                    " ||| ".join(["SCORE", *(" ".join(words) for words in [*texts, caption])])
                ).split()
                for caption, texts in zip(captions, references, strict=True)
            ]
        ).astype(np.float64)
        length, target, chunks, matched, target_matched = counts[:, _COLUMNS].T
        equal = (chunks == 1) & (matched == length) & (target_matched == target)
        counts[equal, _CHUNKS] = 0.0
        return counts

    def score(self, totals: Floats) -> float:
        """METEOR of summed counts, which the program answers after a line for the one photo."""
        self._ask("EVAL ||| " + " ".join(map(str, totals.tolist())))
        return float(self._answer())

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then the answer is empty, and its error says why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise PlaitError(
                "METEOR stopped: " + (said[-1] if said else "it gave no reason"),
                hint="leave it out with slow=False",
            )
        return line
