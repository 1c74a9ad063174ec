"""Packages to and from the Hugging Face hub, or a folder in its format.

Beside a package's own files lies ``README.md``: its card, with the header by which the hub finds
and shows models.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.config import registry
from plait.config.recipe import Recipe
from plait.package.card import score_rows
from plait.package.format import Package, check_target, read_package
from plait.package.paths import CARD, FILES
from plait.types import PlaitError, UsageError
from plait.util.files import new_folder
from plait.util.imports import needed

README = "README.md"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
STARTS = ("/", "./", "../", "~")  # of a folder's path, as no repository is written
LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
            "cc-by-nc-4.0"}  # fmt: skip


def push(model: str | Path, target: str, *, private: bool = False) -> str:
    """Copy a package, with its card as the hub shows it, to a folder or to a repository.

    Args:
        model: a shipped model's name or a package's folder.
        target: a folder (one that exists, or a path that begins with ``/``, ``./`` or ``~``), or
            ``OWNER/NAME`` on the hub, which is made if it isn't there.
        private: a repository that is made is seen by its owner alone.

    Returns:
        Where it is.

    Raises:
        UsageError: the target is neither; or there is no such model.
        PlaitError: the hub can't be reached, or refuses.
    """
    package = read_package(model)
    folder = _folder(target)
    if folder is not None:
        _replace(folder, lambda part: _fill(part, package, target))
        return str(folder)
    library = needed("huggingface_hub", "hub")
    with tempfile.TemporaryDirectory() as part, _told(target):
        _fill(Path(part), package, target)
        library.create_repo(target, private=private, exist_ok=True)
        message = f"{package.recipe.name}, by plait"
        library.upload_folder(repo_id=target, folder_path=part, commit_message=message)
    return f"https://huggingface.co/{target}"


def pull(source: str, out: str | Path, *, revision: str | None = None) -> Path:
    """Copy a package from a folder or a repository of the hub; no other file, and no code.

    Args:
        source: as the ``target`` of `push`.
        out: the package's folder.
        revision: a branch, a tag or a commit of the repository.

    Raises:
        UsageError: the source is neither; or ``out`` holds other files than a package's.
        PlaitError: what is there is no package; or the hub can't be reached, or refuses.
    """
    folder, wanted = _folder(source), Path(out)
    check_target(wanted)
    if folder is None:
        library = needed("huggingface_hub", "hub")
        with _told(source):
            found = library.snapshot_download(source, revision=revision, allow_patterns=list(FILES))
        folder = Path(found)
    elif revision is not None:
        raise UsageError(f"the folder {folder} has no revisions", hint="leave --revision out")
    read_package(folder)  # checked before anything is replaced
    origin = folder
    _replace(wanted, lambda part: _copy(origin, part))
    return wanted


def _folder(place: str) -> Path | None:
    """The folder that is meant; None where it is a repository."""
    path = Path(place).expanduser()
    if place.startswith(STARTS) or path.is_dir():
        return path
    if REPOSITORY.fullmatch(place):
        return None
    raise UsageError(
        f"{place!r} is no folder and no repository",
        expected="a folder's path, such as ./models/mine, or OWNER/NAME on the hub",
    )


def _copy(origin: Path, folder: Path) -> None:
    for name in FILES:
        shutil.copyfile(origin / name, folder / name)


def _fill(folder: Path, package: Package, place: str) -> None:
    _copy(package.folder, folder)
    card = (package.folder / CARD).read_text(encoding="utf-8")
    header = _header(package.recipe, package.scores)
    text = f"---\n{header}\n---\n\n{card}{_usage(package.recipe, place)}"
    (folder / README).write_text(text, encoding="utf-8")


def _replace(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside it, then rename: never a half-written one."""
    others = {p.name for p in folder.iterdir()} - {*FILES, README} if folder.is_dir() else set()
    if others:
        raise UsageError(
            f"{folder} holds other files than a package's, {min(others)} for one",
            hint="name another folder",
        )
    with new_folder(folder) as part:
        fill(part)


def _header(recipe: Recipe, scores: Mapping[str, Any]) -> str:
    """The card's YAML, as the hub reads it."""
    library = needed("huggingface_hub", "hub")
    licence = recipe.card.licence.strip().lower()
    kinds = [spec.modality for spec in recipe.inputs.values()]
    answers = [spec.kind for spec in recipe.outputs.values()]
    task = None
    if len(kinds) == len(answers) == 1:
        task = registry.modality(kinds[0]).facts.hub_tasks.get(answers[0])
    results = list(_results(library, recipe, scores, task or "other"))
    known = licence in LICENCES
    data = library.ModelCardData(
        license=licence if known else "other",
        library_name="plait",
        pipeline_tag=task,
        tags=["plait", *dict.fromkeys([*kinds, *answers])],
        **({} if known else {"license_name": recipe.card.licence.strip() or "not told"}),
        **({"model_name": recipe.name, "eval_results": results} if results else {}),
    )
    return str(data.to_yaml())


def _results(library: Any, recipe: Recipe, scores: Mapping[str, Any], task: str) -> Iterator[Any]:
    for name, found in scores.get("validation", {}).get("scores", {}).items():
        for title, value, _ in score_rows(recipe, name, found):
            yield library.EvalResult(
                task_type=task, dataset_type="validation", metric_type=title, metric_name=title,
                dataset_name=f"validation records: {recipe.card.data}"[:200],
                metric_value=float(value.replace(",", "")),
            )  # fmt: skip


def _usage(recipe: Recipe, place: str) -> str:
    """How to run it, behind the card; a folder's path is its owner's own."""
    repository = place if REPOSITORY.fullmatch(place) else f"OWNER/{recipe.name}"
    return (
        "\n## How to use it\n```\npip install plait\n"
        f"plait pull {repository} model\nplait predict model table.csv --out answers.csv\n```\n"
        f"Takes {', '.join(recipe.inputs)}; answers {', '.join(recipe.outputs)}.\n"
    )


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """What the hub's library raises, in one line."""
    try:
        yield
    except PlaitError:
        raise
    except Exception as error:  # it lets through what several libraries of the network raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise PlaitError(
            f"the repository {repository} on the hub: {why}",
            hint="check its name and the network, and log in with: hf auth login",
        ) from None
