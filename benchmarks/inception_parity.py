"""Does our Inception-ResNet-v2 give the same map as Keras', with equal random weights?

    pip install 'plait[benchmark]' && python benchmarks/inception_parity.py

A Keras model with random weights (its running statistics too) is saved as .h5, plait reads that
file, both run on the same random photos. Prints the largest absolute difference, the maps' own
range, and the machine; exits with 1 where the difference is above 1e-3.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray
from tensorflow import keras

from plait.nn.inception_resnet_v2 import INPUT_SIZE, InceptionResNetV2, load_weights

LIMIT = 1e-3


def random_keras(seed: int) -> Any:
    """Keras' network with random weights that keep the map in a range of about one.

    Keras' own start would leave shifts and means at 0 and variances at 1, and hide a mix-up.
    """
    model = keras.applications.InceptionResNetV2(
        include_top=False, weights=None, input_shape=(INPUT_SIZE, INPUT_SIZE, 3)
    )
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(_random(weight.name, tuple(weight.shape), rng))
    return model


def _random(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if name == "kernel":  # He et al. 2015: keeps the variance through convolution and ReLU
        return rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(np.float32)
    if name == "moving_variance":
        return rng.uniform(0.5, 2, shape).astype(np.float32)
    return rng.normal(0, 0.2, shape).astype(np.float32)  # shifts, biases, running means


def keras_map(model: Any, photos: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, 299, 299, 3) -> (B, 1536, 8, 8)."""
    features: NDArray[np.float32] = np.asarray(model(photos, training=False))
    return np.transpose(features, (0, 3, 1, 2))


def torch_map(weights: Path, photos: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, 299, 299, 3) -> (B, 1536, 8, 8)."""
    net = InceptionResNetV2().eval()
    load_weights(net, weights)
    with torch.inference_mode():
        features = net(torch.from_numpy(photos.transpose(0, 3, 1, 2).copy()))
    return np.asarray(features)


def machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"torch {torch.__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    shape = (args.photos, INPUT_SIZE, INPUT_SIZE, 3)
    photos = np.random.default_rng(args.seed + 1).uniform(-1, 1, shape).astype(np.float32)
    model = random_keras(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "inception.h5"
        model.save(weights)
        ours = torch_map(weights, photos)
    theirs = keras_map(model, photos)

    difference = float(np.abs(ours - theirs).max())
    print(f"largest absolute difference: {difference:.2e} (limit {LIMIT:.0e})")
    print(
        f"maps: {theirs.shape}, mean {theirs.mean():.3f}, largest {theirs.max():.3f}, "
        f"{(theirs > 0).mean():.0%} above zero"
    )
    print(f"weights: {model.count_params():,}; machine: {machine()}")
    return 0 if difference <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
