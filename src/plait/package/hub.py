"""Copies packages to and from the Hugging Face Hub, or a folder in its format.

Beside a package's own files lies ``README.md``: its card, with the header that the Hub uses to find
and show models.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.config import registry
from plait.config.recipe import Recipe
from plait.package.card import score_rows
from plait.package.format import CARD, FILES, Package, check_target, read_package
from plait.types import PlaitError, UsageError
from plait.util.files import new_folder
from plait.util.imports import needed

README = "README.md"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
STARTS = ("/", "./", "../", "~")  # of a folder's path, as no repository is written
LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
            "cc-by-nc-4.0"}  # fmt: skip


def push(model: str | Path, target: str, *, private: bool = False) -> str:
    """Copy a package, with its card for the Hub, to a folder or a repository.

    Args:
        model: a shipped model's name or a package's folder.
        target: a folder (an existing one, or a path that starts with ``/``, ``./`` or ``~``), or
            ``OWNER/NAME`` on the Hub, which is created if necessary.
        private: whether a new repository is private.

    Returns:
        The folder's path or the repository's address.

    Raises:
        UsageError: the target is neither, or there is no such model.
        PlaitError: the Hub can't be reached, or refuses.
    """
    package, folder = read_package(model), _folder(target)
    if folder is not None:
        with _replaced(folder) as part:
            _fill(part, package, target)
        return str(folder)
    library = needed("huggingface_hub", "hub")
    with tempfile.TemporaryDirectory() as part, _hub_errors(target):
        _fill(Path(part), package, target)
        library.create_repo(target, private=private, exist_ok=True)
        message = f"{package.recipe.name}, by plait"
        library.upload_folder(repo_id=target, folder_path=part, commit_message=message)
    return f"https://huggingface.co/{target}"


def pull(source: str, out: str | Path, *, revision: str | None = None) -> Path:
    """Copy a package from a folder or a repository of the Hub; no other files, and no code.

    Args:
        source: like the ``target`` of `push`.
        out: the package's folder.
        revision: a branch, tag or commit of the repository.

    Raises:
        UsageError: the source is neither, or ``out`` contains files that don't belong to a package.
        PlaitError: the source is not a package, or the Hub can't be reached, or refuses.
    """
    folder, wanted = _folder(source), Path(out)
    check_target(wanted)
    if folder is None:
        library = needed("huggingface_hub", "hub")
        with _hub_errors(source):
            found = library.snapshot_download(source, revision=revision, allow_patterns=list(FILES))
        folder = Path(found)
    elif revision is not None:
        raise UsageError(f"the folder {folder} has no revisions", hint="leave --revision out")
    read_package(folder)  # checks it before anything is replaced
    with _replaced(wanted) as part:
        _copy(folder, part)
    return wanted


def _folder(place: str) -> Path | None:
    """The folder of that name; None for a repository."""
    path = Path(place).expanduser()
    if place.startswith(STARTS) or path.is_dir():
        return path
    if REPOSITORY.fullmatch(place):
        return None
    raise UsageError(
        f"{place!r} is neither a folder nor a repository",
        expected="the path of a folder, such as ./models/mine, or OWNER/NAME on the Hub",
    )


def _copy(origin: Path, folder: Path) -> None:
    """A package's files; one that was written before plait 0.2 lacks some."""
    for name in filter(lambda name: (origin / name).is_file(), FILES):
        shutil.copyfile(origin / name, folder / name)


def _fill(folder: Path, package: Package, place: str) -> None:
    _copy(package.folder, folder)
    card = (package.folder / CARD).read_text(encoding="utf-8")
    header, recipe = _header(package.recipe, package.scores), package.recipe
    # The path of a folder is private.
    repository = place if REPOSITORY.fullmatch(place) else f"OWNER/{recipe.name}"
    usage = (
        "\n## How to use it\n```\npip install plait\n"
        f"plait pull {repository} model\nplait predict model table.csv --out answers.csv\n```\n"
        f"Inputs: {', '.join(recipe.inputs)}. Outputs: {', '.join(recipe.outputs)}.\n"
    )
    (folder / README).write_text(f"---\n{header}\n---\n\n{card}{usage}", encoding="utf-8")


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which is renamed at the end: it is never half-written."""
    if folder.is_dir():
        check_target(folder, {*FILES, README}, "choose another folder")
    with new_folder(folder) as part:
        yield part


def _header(recipe: Recipe, scores: Mapping[str, Any]) -> str:
    """The YAML header of the card, for the Hub."""
    library = needed("huggingface_hub", "hub")
    licence = recipe.card.licence.strip().lower()
    kinds = [spec.modality for spec in recipe.inputs.values()]
    answers = [spec.component.answer_type for spec in recipe.outputs.values()]
    task = None
    if len(kinds) == len(answers) == 1:
        task = registry.modality(kinds[0]).facts.hub_tasks.get(answers[0])
    results = [
        library.EvalResult(
            task_type=task or "other",
            dataset_type="validation",
            dataset_name=f"validation records: {recipe.card.data}"[:200],
            metric_type=title,
            metric_name=title,
            metric_value=float(value.replace(",", "")),
        )
        for name, found in scores.get("validation", {}).get("scores", {}).items()
        for title, value, _ in score_rows(recipe, name, found)
    ]
    tags = ["plait", *dict.fromkeys([*kinds, *answers])]
    more: dict[str, Any] = {"license": licence}
    if licence not in LICENCES:
        more = {"license": "other", "license_name": recipe.card.licence.strip() or "unknown"}
    if results:
        more |= {"model_name": recipe.name, "eval_results": results}
    data = library.ModelCardData(library_name="plait", pipeline_tag=task, tags=tags, **more)
    return str(data.to_yaml())


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Turn the errors of the Hub's library into one line."""
    try:
        yield
    except PlaitError:
        raise
    except Exception as error:  # it raises the errors of several network libraries
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise PlaitError(
            f"the repository {repository} on the Hub: {why}",
            hint="check its name and the network, and log in with: hf auth login",
        ) from None
