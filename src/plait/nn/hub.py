"""What is known of a model of the transformers library without its weights: by its name on the
Hugging Face Hub, or in a local folder.

Shared by the components that offer ``hub:NAME``. The library is optional and slow to import, so it
is imported when one of these functions is called. No code of a model's repository is ever run, and
nothing here needs torch.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from plait.types import PlaitError, State, UsageError
from plait.util.files import is_folder, located
from plait.util.imports import needed

HubName = Annotated[
    str,
    Field(
        min_length=1,
        description="name on the Hub, with @REVISION for a branch, tag or commit; or a folder",
    ),
]
HubTrain = Annotated[
    Literal["frozen", "all"], Field(description="which layers are trained: none, or all")
]

PATIENCE = 10.0  # seconds to wait for the Hub
REMEMBERED = 60.0  # seconds for which it counts as answering, or not
VIDEOS = "video_processor"  # transformers' name of the part of a processor that reads videos
REVISION = "revision"
"""The key of a model's configuration that holds the commit it was resolved to."""
FAILURES = (OSError, ValueError, RuntimeError, ImportError, KeyError)
"""What transformers raises for a name, a file or an architecture that it can't use."""


def transformers() -> Any:
    """The transformers library.

    Raises:
        PlaitError: it isn't installed.
    """
    library = needed("transformers", "hub")
    library.utils.logging.disable_progress_bar()  # of loading weights, which is quick
    return library


def read_pretrained(cls: Any, name: str, **options: Any) -> Any:
    """``cls.from_pretrained`` of a name on the Hub, at its revision, or of a folder. No code of the
    model's repository is run.

    Raises:
        PlaitError: the Hub can't be reached, or has no such model.
    """
    if on_disk_alone(name):
        options["local_files_only"] = True
        if cls.__name__.startswith("AutoModel"):  # which looks for adapters of peft, too
            options["adapter_kwargs"] = {"local_files_only": True}
    repository, revision = located(name)
    with clearly(name):
        return cls.from_pretrained(
            repository, revision=revision or "main", trust_remote_code=False, **options
        )


def on_disk_alone(name: str) -> bool:
    """Whether a model has to be read from the disk, because the Hub can't be reached. The library
    would find that out by itself, file by file, over many minutes.

    Raises:
        PlaitError: it can't be reached, and the model was never downloaded.
    """
    from huggingface_hub import try_to_load_from_cache

    repository, revision = located(name)
    if is_folder(Path(repository)):
        return False
    error = unreachable(repository, revision, int(time.monotonic() / REMEMBERED))
    if error is None:
        return False
    with clearly(name):
        if try_to_load_from_cache(repository, "config.json", revision=revision) is None:
            raise _unusable(name, error)
    return True


@cache
def unreachable(repository: str, revision: str | None, when: int) -> Exception | None:
    """What is wrong with the way to the Hub; None if it answers. Asked once at a time."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        url = hf_hub_url(repository, "config.json", revision=revision)
        get_hf_file_metadata(url, timeout=PATIENCE)
    except HfHubHTTPError:
        pass  # it answers; what is wrong with the name the library says
    except Exception as error:  # whatever its HTTP library raises, which is another in each version
        return error
    return None


def load_config(name: str) -> State:
    """A model's architecture as plain JSON, to keep in a package; with the commit that a name on
    the Hub was resolved to."""
    config = read_pretrained(transformers().AutoConfig, name)
    state: State = json.loads(config.to_json_string(use_diff=False))
    state.pop("_name_or_path", None)  # where it was read from is private
    repository, revision = located(name)
    if not is_folder(Path(repository)):
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(repository, "config.json", revision=revision)
        if isinstance(path, str):  # a commit is the name of its folder in the Hub's cache
            state[REVISION] = Path(path).parent.name
    return state


def load_tokenizer(name: str) -> State:
    """A language model's tokenizer as plain JSON.

    Returns:
        ``tokenizer``: the JSON of `tokenizers`; ``specials``: ids of tokens that aren't text;
        ``bos``, ``eos``: ids of the start and the end token, or None.
    """
    tokenizer = read_pretrained(transformers().AutoTokenizer, name)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise PlaitError(
            f"the tokenizer of {name!r} can't be read by the tokenizers library",
            expected="a model with a tokenizer.json",
        )
    added = backend.get_added_tokens_decoder()
    specials = {i for i, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    return {
        "tokenizer": backend.to_str(),
        "specials": sorted(specials),
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
    }


def load_extractor(name: str) -> State:
    """What turns sounds into a model's input, as plain JSON with ``feature_extractor_type``."""
    extractor = read_pretrained(transformers().AutoFeatureExtractor, name)
    state: State = json.loads(extractor.to_json_string())
    if "sampling_rate" not in state:
        raise PlaitError(f"the model {name!r} takes no audio", expected="an audio model")
    return state


def build_extractor(state: State) -> Any:
    """The feature extractor that `load_extractor` read."""
    library, kind = transformers(), state["feature_extractor_type"]
    cls: Any = getattr(library, kind, None)
    known = inspect.isclass(cls) and issubclass(cls, library.SequenceFeatureExtractor)
    if not known:
        raise PlaitError(f"the transformers library has no feature extractor {kind!r}")
    return cls.from_dict(state)


def load_captioner_config(name: str) -> State:
    """As `load_config`, of a model that turns a photo into a text.

    Raises:
        UsageError: the model does something else.
    """
    library, state = transformers(), load_config(name)
    kind = state["model_type"]
    if library.CONFIG_MAPPING[kind] not in library.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise UsageError(
            f"the model {name!r} ({kind}) doesn't turn a photo into a text",
            expected="BLIP, BLIP-2, GIT, Florence-2, SmolVLM, PaliGemma, Qwen-VL or similar",
        )
    return state


def load_processor(name: str) -> Any:
    """What makes a photo and a text a vision-language model's input, with its chat template. It
    needs no torchvision: images are processed by Pillow, and videos not at all."""
    library = transformers()
    config = type(read_pretrained(library.AutoConfig, name))
    if config not in library.PROCESSOR_MAPPING:
        return read_pretrained(library.AutoProcessor, name)
    return read_pretrained(without_videos(library.PROCESSOR_MAPPING[config]), name)


def without_videos(cls: Any) -> Any:
    """A class of processors without the part for videos, which needs torchvision; the class itself
    if it has none."""
    parts: list[str] = cls.get_attributes()
    if VIDEOS not in parts:
        return cls

    class Photos(cls):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [part for part in parts if part != VIDEOS]

        @classmethod
        def _get_arguments_from_pretrained(cls, *given: Any, **options: Any) -> list[Any]:
            arguments: list[Any] = super()._get_arguments_from_pretrained(*given, **options)
            arguments.insert(parts.index(VIDEOS), None)
            return arguments

    Photos.__name__ = cls.__name__
    return Photos


def load_json(name: str, file: str) -> State | None:
    """A JSON file beside the model; None where the model has none.

    Raises:
        PlaitError: it can't be told, because the Hub can't be reached.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    path = Path(name) / file
    with clearly(name):
        if not Path(name).is_dir():
            repository, revision = located(name)
            # The cache remembers a file as a path, and an absence as an object of its own.
            known = try_to_load_from_cache(repository, file, revision=revision)
            if not isinstance(known, (str, type(None))):
                return None
            try:
                path = Path(hf_hub_download(repository, file, revision=revision))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return None
        found: State | None = json.loads(path.read_text("utf-8")) if path.is_file() else None
    return found


@contextmanager
def clearly(name: str) -> Iterator[None]:
    """What the library raises for a model that it can't use becomes one clear error."""
    try:
        yield
    except FAILURES as error:
        raise _unusable(name, error) from None


def _unusable(name: str, error: BaseException) -> PlaitError:
    """transformers' messages run over many lines; the first says what is the matter."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return PlaitError(
        f"no model {name!r} could be loaded: {first}",
        expected="a folder in transformers' format, or a model's name on the Hugging Face Hub",
        hint="check the name, and that the Hub can be reached or the model was downloaded before",
    )
