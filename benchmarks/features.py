"""Features from JPEG files: plait against the plain torch way on the same weights.

    python benchmarks/features.py FOLDER [--photos 256] [--rounds 3]

The plain way is what a tutorial does: Pillow opens and resizes each photo, a batch of 32 goes
through the network in evaluation mode without gradients. Both run on the same photos in turn;
the figure is the best round of each, and their ratio.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe
from PIL import Image

from plait.data.images import find_images
from plait.modalities.image.base import Cnn
from plait.modalities.image.networks import LITE_MEAN, LITE_STD, lite_layers, load_imagenet
from plait.network import EncoderEngine
from plait.pipeline.inputs import InputReader

BATCH = 32


def plain(paths: list[Path], net: torch.nn.Module) -> float:
    start = time.perf_counter()
    with torch.no_grad():
        for at in range(0, len(paths), BATCH):
            photos = [
                np.asarray(Image.open(path).convert("RGB").resize((224, 224)), np.float32)
                for path in paths[at : at + BATCH]
            ]
            batch = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous()
            net((batch - LITE_MEAN[0]) / LITE_STD[0])
    return len(paths) / (time.perf_counter() - start)


def ours(paths: list[Path], reader: InputReader) -> float:
    start = time.perf_counter()
    done = sum(1 for _ in reader.rows((path, 0, 0) for path in paths))
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    paths = find_images([args.folder])[: args.photos]
    net = lite_layers()
    load_imagenet(net)
    modality = Cnn()
    engine = EncoderEngine({"image": modality.encoder(True).eval()}, torch.device("cpu"))
    reader = InputReader("image", modality, engine, Path())
    rounds = [(plain(paths, net.eval()), ours(paths, reader)) for _ in range(args.rounds)]
    slow, fast = (max(column) for column in zip(*rounds, strict=True))
    print(f"plain {slow:.1f} photos/s, plait {fast:.1f} photos/s, ratio {fast / slow:.2f}")
    print(describe())


if __name__ == "__main__":
    main()
