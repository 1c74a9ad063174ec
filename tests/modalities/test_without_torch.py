"""The data side of every modality works where torch can't be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audio_models import save_audio_model
from samples import save_bert, write_vectors
from vision_models import save_vision_model

from plait.config import registry

BLOCK = """
import json, sys
from importlib.machinery import PathFinder
from pathlib import Path

class Finder(PathFinder):  # as if torch were not installed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
import numpy as np
from plait.config import registry
"""

EXERCISE = """
GIVEN = json.loads(sys.argv[1])
done = []
for kind in registry.modalities():
    assert registry.modality(kind).facts.widget in ("file", "text", "columns")
    for name in registry.names(kind):
        settings = {"kind": name, **GIVEN.get(f"{kind}/{name}", {})}
        modality = registry.build(kind, settings)
        cells = modality.samples()
        state = json.loads(json.dumps(modality.fit(cells, Path())))
        fitted = modality.with_state(state)
        items = [fitted.read(cell, Path()) for cell in cells]
        assert fitted.fingerprint() and fitted.example().shape[1:] == items[0].shape[1:]
        assert fitted.request_type() is not None
        for cell, item in zip(cells, items):
            assert isinstance(item, np.ndarray)
            assert fitted.content(cell, Path())
            info = fitted.media_info(cell, Path())
            fitted.geometry(info, 1, 7)
            assert isinstance(fitted.augment(item, 1, 7), np.ndarray)
            assert isinstance(fitted.prepare(item), np.ndarray)
            for worse in fitted.corruptions:
                assert fitted.corrupt(item, worse, 3).dtype == item.dtype
            assert fitted.unread(cell, Path()) is not None
            picture = fitted.picture(cell, Path())
            assert picture is None or picture.dtype == np.uint8
            segments = fitted.segments(cell, Path())
            kept = np.arange(len(segments.names)) > 0
            assert isinstance(segments.perturb(kept | (len(kept) == 1)), np.ndarray)
            assert segments.overlap(3).shape == (3, len(kept))
            assert segments.drawing(np.ones(len(kept)), "one")
        done.append(f"{kind}/{name}")
assert "torch" not in sys.modules
print(json.dumps(done))
"""


def test_every_data_side_works_without_torch(tmp_path: Path) -> None:
    for extra, library in (("audio", "soxr"), ("video", "av"), ("hub", "transformers")):
        pytest.importorskip(library, reason=f"needs the extra plait[{extra}]")
    write_vectors(tmp_path / "words.vec", {"text": [0.5, 1.0], "words": [1.0, 0.0]})
    save_bert(tmp_path / "bert", ["text", "words"])
    save_vision_model("vit", tmp_path / "vit")
    save_audio_model("wav2vec2", tmp_path / "wav2vec2")
    given = {
        "text/word-vectors": {"vectors": str(tmp_path / "words.vec")},
        "text/hub": {"name": str(tmp_path / "bert")},
        "text/bag-of-words": {"min_count": 1},
        "text/word-sequence": {"min_count": 1},
        "image/hub": {"name": str(tmp_path / "vit")},
        "image/visual-words": {"words": 8},
        "table/columns": {"min_count": 1},
        "video/frames": {"frames": 3},
        "audio/hub": {"name": str(tmp_path / "wav2vec2")},
    }
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + EXERCISE, json.dumps(given)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    every = [f"{kind}/{name}" for kind in registry.modalities() for name in registry.names(kind)]
    assert json.loads(done.stdout) == every
