"""The reference captioning program's training step, in TensorFlow on the CPU: seconds a step.

    pip install 'plait[benchmark]' && python benchmarks/reference_tf.py --threads 2 --steps 4

What it does in each step, as the reference does: read 32 JPEG files, run the frozen
Inception-ResNet-v2 on them, Dense 512 on its map, embed 64 words of each caption, GRU 512,
attention over the map, add, layer norm, project all 64 positions to 20,000 words, cross-entropy
masked on the padding, Adam. Weights, photos and captions are random: they cost the same as real
ones, so nothing is downloaded. Needs TensorFlow and NumPy only, not plait.

The time of a step is that of the whole loop: reading the batch and training on it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

INPUT_SIZE = 299
MAP_TOKENS, MAP_CHANNELS = 64, 1536
WIDTH = 512
WORDS = 20_000
POSITIONS = 64
BATCH = 32
SHORTEST, LONGEST = 8, 14  # words of a caption, without its start and end
PAD, START, END = 0, 1, 2
PHOTO_HEIGHT, PHOTO_WIDTH = 480, 640
WARM_UP = 2


# --- data ------------------------------------------------------------------------------------


def write_photos(folder: Path, count: int, seed: int) -> list[str]:
    """Writes JPEGs of coarse noise, which compress (and so decode) about as real photos do."""
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        coarse = rng.uniform(0, 255, (PHOTO_HEIGHT // 8, PHOTO_WIDTH // 8, 3))
        photo = tf.image.resize(coarse, (PHOTO_HEIGHT, PHOTO_WIDTH), method="bicubic")
        photo = tf.cast(tf.clip_by_value(photo + rng.normal(0, 8, photo.shape), 0, 255), tf.uint8)
        paths.append(str(folder / f"{number}.jpg"))
        tf.io.write_file(paths[-1], tf.io.encode_jpeg(photo, quality=90))
    return paths


def write_captions(count: int, seed: int) -> NDArray[np.int32]:
    """(count, 65) int32: start, 8 to 14 words, end, padding. One longer than the 64 positions,
    as inputs are all but the last and targets all but the first."""
    rng = np.random.default_rng(seed)
    captions = np.full((count, POSITIONS + 1), PAD, np.int32)
    for row, length in zip(captions, rng.integers(SHORTEST, LONGEST + 1, count), strict=True):
        row[0], row[length + 1] = START, END
        row[1 : length + 1] = rng.integers(END + 1, WORDS, length)
    return captions


def read_photo(path: Any) -> Any:
    """A JPEG file -> (299, 299, 3) float32 in [-1, 1]."""
    photo = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return tf.image.resize(photo, (INPUT_SIZE, INPUT_SIZE)) / 127.5 - 1


def batches(
    paths: list[str], captions: NDArray[np.int32], threads: int
) -> Iterator[tuple[Any, Any]]:
    """Endless (photos (32, 299, 299, 3), captions (32, 65)), read from the files each time."""
    data = tf.data.Dataset.from_tensor_slices((paths, captions)).repeat()
    data = data.map(lambda path, words: (read_photo(path), words), num_parallel_calls=threads)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    return iter(data.batch(BATCH, drop_remainder=True).prefetch(1).with_options(options))


# --- the program -----------------------------------------------------------------------------


def build_encoder() -> keras.Model:
    """(B, 299, 299, 3) -> (B, 64, 1536), frozen."""
    shape = (INPUT_SIZE, INPUT_SIZE, 3)
    cnn = keras.applications.InceptionResNetV2(include_top=False, weights=None, input_shape=shape)
    features = keras.layers.Reshape((MAP_TOKENS, MAP_CHANNELS))(cnn.output)
    encoder = keras.Model(cnn.input, features)
    encoder.trainable = False
    return encoder


def build_decoder() -> keras.Model:
    """(B, 64, 1536) features and (B, 64) words -> (B, 64, 20000) logits."""
    features = keras.Input((MAP_TOKENS, MAP_CHANNELS))
    words = keras.Input((POSITIONS,), dtype="int32")
    image = keras.layers.Dense(WIDTH, activation="relu")(features)  # (B, 64, 512)
    embedded = keras.layers.Embedding(WORDS, WIDTH)(words)
    said = keras.layers.GRU(WIDTH, return_sequences=True)(embedded)  # (B, 64, 512)
    seen = keras.layers.Attention()([said, image])  # dot product, (B, 64, 512)
    state = keras.layers.LayerNormalization()(keras.layers.Add()([said, seen]))
    return keras.Model([features, words], keras.layers.Dense(WORDS)(state))


def masked_loss(targets: Any, logits: Any) -> Any:
    """Mean cross-entropy over real words: (B, 64) int and (B, 64, 20000) float -> ()."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    mask = tf.cast(targets != PAD, losses.dtype)
    return tf.reduce_sum(losses * mask) / tf.reduce_sum(mask)


def build_step(encoder: keras.Model, decoder: keras.Model) -> Callable[[Any, Any], Any]:
    """One training step: (photos (B, 299, 299, 3), captions (B, 65)) -> loss ()."""
    optimizer = keras.optimizers.Adam()
    optimizer.build(decoder.trainable_variables)

    def step(photos: Any, captions: Any) -> Any:
        with tf.GradientTape() as tape:
            features = encoder(photos, training=False)
            logits = decoder([features, captions[:, :-1]], training=True)
            loss = masked_loss(captions[:, 1:], logits)
        variables = decoder.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    compiled: Callable[[Any, Any], Any] = tf.function(step)
    return compiled


# --- the measurement -------------------------------------------------------------------------


def measure(threads: int, steps: int, seed: int) -> dict[str, Any]:
    """Runs the warm-up and then ``steps`` steps; each ends when its loss is known."""
    step = build_step(build_encoder(), decoder := build_decoder())
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), BATCH * 2, seed)
        photo_bytes = statistics.mean(Path(path).stat().st_size for path in paths)
        loop = batches(paths, write_captions(len(paths), seed), threads)
        timed = [time_step(step, loop) for _ in range(WARM_UP + steps)]
    wall = [seconds for seconds, _, _ in timed[WARM_UP:]]
    return {
        "seconds_per_step": statistics.median(wall),
        "cpu_seconds_per_step": statistics.median(cpu for _, cpu, _ in timed[WARM_UP:]),
        "seconds": wall,
        "warm_up_seconds": [seconds for seconds, _, _ in timed[:WARM_UP]],
        "losses": [loss for _, _, loss in timed],
        "threads": threads,
        "batch": BATCH,
        "words": WORDS,
        "positions": POSITIONS,
        "mean_photo_bytes": round(photo_bytes),
        "trained_parameters": decoder.count_params(),
        "machine": machine(),
    }


def time_step(
    step: Callable[[Any, Any], Any], loop: Iterator[tuple[Any, Any]]
) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and loss of one turn of the loop."""
    wall, cpu = time.perf_counter(), time.process_time()
    photos, captions = next(loop)
    loss = float(step(photos, captions))
    return time.perf_counter() - wall, time.process_time() - cpu, loss


def machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs (load {os.getloadavg()[0]:.1f}), "
        f"Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON to this file")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    keras.utils.set_random_seed(args.seed)

    result = measure(args.threads, args.steps, args.seed)
    print(
        f"{result['seconds_per_step']:.2f} s a step (median of {args.steps}; "
        f"{result['cpu_seconds_per_step']:.2f} CPU-s), batch {BATCH}, {args.threads} threads"
    )
    print(f"machine: {result['machine']}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
