from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import film, shades
from PIL import Image
from pydantic import ValidationError
from tensors import as_row, pad_rows
from torch import nn

from plait.config import registry
from plait.config.recipe import check_recipe
from plait.modalities.image.pixels import Pixels
from plait.modalities.video.base import Clip
from plait.modalities.video.frames import Frames
from plait.modalities.video.motion import Motion
from plait.modalities.video.networks import GREY, moving
from plait.network import build_network
from plait.nn.base import Encoder
from plait.pipeline.engine import build_parts
from plait.types import UsageError

LITE = {"kind": "cnn", "size": 32}


def read(clip: Clip, cell: Any) -> torch.Tensor:
    return torch.from_numpy(clip.read(cell, Path()))


def viewed(clip: Clip, item: torch.Tensor, view: int) -> torch.Tensor:
    return torch.from_numpy(clip.augment(item.numpy(), view, 7))


def noise(count: int = 8, side: int = 32) -> bytes:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (side, side, 3)).astype(np.uint8) for _ in range(count)]
    return film(frames, "matroska", "ffv1", "bgr0")


# --- views ---


def test_all_frames_of_a_view_are_changed_alike() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    still = torch.from_numpy(np.stack([frame] * 10))
    clip = Motion(frames=10, size=32)
    lengths = set()
    for view in range(1, 6):
        changed = viewed(clip, still, view)
        lengths.add(len(changed))
        assert not torch.equal(changed[0], still[0])
        assert all(torch.equal(other, changed[0]) for other in changed)
    assert lengths <= {8, 9, 10}
    assert len(lengths) > 1


def test_a_view_is_frames_in_a_row() -> None:
    clip = torch.from_numpy(np.stack(shades(20, 5)))
    for view in range(1, 6):
        means = viewed(Motion(frames=20, size=32), clip, view).float().mean(dim=(1, 2, 3))
        steps = means.diff()
        assert bool((steps > 0).all())
        torch.testing.assert_close(
            steps, steps.mean().expand(len(steps)), atol=1.0, rtol=0
        )  # whole numbers


@pytest.mark.parametrize("flip", [False, True])
def test_only_odd_views_are_mirrored_and_only_where_asked(flip: bool) -> None:
    left = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
    left[:, :, :16] = 200
    for view in range(1, 7):
        seen = viewed(Motion(frames=4, size=32, flip=flip), left, view).float()
        on_the_left = bool(seen[:, :, :16].mean() > seen[:, :, 16:].mean())
        assert on_the_left != (flip and view % 2 == 1)


# --- frames ---


def built(**settings: Any) -> tuple[Frames, Encoder]:
    torch.manual_seed(0)
    clip = Frames(**{"image": LITE, "frames": 4, "width": 16, "dropout": 0.0} | settings)
    clip = clip.with_state(clip.fit([], Path()))
    return clip, clip.encoder(True).eval()


def test_a_frame_is_the_mean_of_its_photo_s_tokens() -> None:
    clip, encoder = built()
    data = noise(4)
    rows = encoder.prepare([read(clip, data)])[0]
    photo = registry.build("image", LITE)
    net = photo.encoder(True).eval()
    for at, pixels in enumerate(read(clip, data).numpy()):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        item = torch.from_numpy(photo.read(stream.getvalue(), Path()))
        tokens = net(torch.stack(net.prepare([item])), torch.ones(1)).values[0]
        torch.testing.assert_close(rows[at], tokens.mean(dim=0), rtol=1e-3, atol=1e-3)


def test_an_image_part_that_learns_gives_what_a_frozen_one_gives() -> None:
    """It starts from the same weights, so only the place where the frozen part ends differs."""
    data, values = noise(3), []
    for image in (LITE, LITE | {"train": "last-blocks", "blocks": 2}):
        clip, encoder = built(image=image)
        rows = [as_row(row) for row in encoder.prepare([read(clip, data)])]
        values.append(encoder(*pad_rows(rows, rows[0])).values)
    assert rows[0].ndim == 4  # feature maps, for the part that learns
    torch.testing.assert_close(values[0], values[1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("kind", "order"), [("gru", True), ("transformer", True), ("mean", False)])
def test_the_order_of_frames_is_seen_by_all_but_the_mean(kind: str, order: bool) -> None:
    _, encoder = built(sequence_encoder=kind)
    x = torch.randn(1, 4, 1280)
    lengths = torch.tensor([4])
    there = encoder(x, lengths).values.mean(dim=1)
    back = encoder(x.flip(1), lengths).values.mean(dim=1)
    assert torch.allclose(there, back, atol=1e-4) != order


def test_what_reads_over_time_is_not_pretrained() -> None:
    """It would learn as slowly as the photos' network does."""
    image = LITE | {"train": "last-blocks", "blocks": 1}
    recipe = check_recipe({
        "name": "clips",
        "inputs": {"clip": {"modality": "video",
                            "representation": {"kind": "frames", "image": image, "width": 16}}},
        "outputs": {"y": {"kind": "category"}},
    })  # fmt: skip
    parts = build_parts(recipe)
    states = {
        "inputs.clip": parts.modalities["clip"].fit([], Path()),
        "outputs.y": parts.outputs["y"].fit(["a", "b"], Path()),
    }
    network = build_network(recipe, parts.with_states(states))
    slow = {id(p) for p in network.pretrained_parameters()}
    own = {name for name, p in network.encoder("clip").named_parameters() if id(p) not in slow}
    assert {name.partition(".")[0] for name in own} == {"project", "sequence"}


def test_the_image_representation_learns_from_a_frame_of_each_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clip = Frames(image={"kind": "pixels", "size": 32})
    seen: list[Any] = []
    monkeypatch.setattr(Pixels, "fit", lambda self, cells, root: {"seen": seen.extend(cells)})
    clip.fit([film(shades(9, 20)), b"no clip", None], Path())
    (photo,) = seen
    assert np.asarray(Image.open(io.BytesIO(photo))).mean() == pytest.approx(80, abs=2)


def test_views_of_the_image_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"image\.views"):
        Frames(image={"kind": "cnn", "views": 3})


def recipe(image: dict[str, Any]) -> dict[str, Any]:
    representation = {"kind": "frames", "image": image}
    return {
        "name": "clips",
        "inputs": {"clip": {"modality": "video", "representation": representation}},
        "outputs": {"action": {"kind": "category"}},
    }


def test_a_recipe_resolves_and_checks_the_image_s_settings() -> None:
    found = check_recipe(recipe({"kind": "pixels"})).inputs["clip"].representation
    assert found["image"]["patch"] == 16
    with pytest.raises(UsageError, match=r"inputs\.clip\.representation\.image\.patch"):
        check_recipe(recipe({"kind": "pixels", "patch": "large"}))


# --- motion ---


def test_motion_by_hand() -> None:
    """One pixel of 0, 0.25, 0.5 and padding: mean 0.25, changes of 0.25; four times that."""
    grey = torch.tensor([0.0, 0.25, 0.5, 0.0]).view(1, 4, 1, 1)
    found = moving(grey, torch.tensor([3]))[0, :3, :, 0, 0]
    assert found.tolist() == [[-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_grey_is_pillow_s() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3)).astype(np.uint8)
    encoder = Motion(frames=2, size=16).encoder(True)
    found = encoder.prepare([torch.from_numpy(pixels)])[0]
    for grey, frame in zip(found, pixels, strict=True):
        theirs = np.asarray(Image.fromarray(frame).convert("L"))
        np.testing.assert_allclose(grey * 255, theirs, atol=1)
    assert sum(GREY) == pytest.approx(1)


def test_what_stands_still_is_not_seen() -> None:
    encoder = Motion(frames=6, size=16, channels=8, width=8).encoder(True).eval()
    lengths = torch.tensor([6, 6])
    scene = torch.rand(2, 1, 16, 16).expand(2, 6, 16, 16)
    still = encoder(scene, lengths).values
    torch.testing.assert_close(still[0], still[1])
    moved = encoder(scene.clone().index_fill_(1, torch.tensor([3]), 0.0), lengths).values
    assert not torch.allclose(moved[0], moved[1])


def test_motion_learns_which_way_a_square_goes() -> None:
    torch.manual_seed(0)
    encoder = Motion(frames=8, size=16, channels=16, width=16).encoder(True)
    head = nn.Linear(16, 2)
    grey = torch.zeros(16, 8, 16, 16)
    for record in range(16):
        for at in range(8):
            left = 2 * (at if record % 2 else 7 - at)
            top = record // 2
            grey[record, at, top : top + 3, left : left + 3] = 1
    lengths, ways = torch.full((16,), 8), torch.arange(16) % 2
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(40):
        answers = head(encoder(grey, lengths).values.mean(dim=1))
        optimizer.zero_grad()
        nn.functional.cross_entropy(answers, ways).backward()
        optimizer.step()
    answers = head(encoder.eval()(grey, lengths).values.mean(dim=1))
    assert answers.argmax(dim=1).tolist() == ways.tolist()
