"""Clients that caption at the same time, each with its next photo as soon as it has an answer:
errors, the time that they wait, photos a second; and beside it the batch command's speed.

python benchmarks/serving.py FOLDER [--clients 32] [--seconds 60] [--model captioner]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import describe
from served import serving

from plait.data.images import find_images

WARM = 3.0  # seconds before counting


def request(model: str, photo: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="inputs.image"; filename="a"\r\n\r\n'
    body = head + photo + b"\r\n--b--\r\n"
    return (
        f"POST /models/{model}/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def client(
    port: int,
    requests: list[bytes],
    first: int,
    until: float,
    found: list[tuple[float, float, str]],
) -> None:
    """Adds (when, seconds, status) of each answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = first
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(requests[number % len(requests)])
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        await reader.readexactly(length)
        found.append((start, time.perf_counter() - start, head[9:12]))
        number += 1
    writer.close()


async def load(
    port: int, requests: list[bytes], clients: int, seconds: float
) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []
    start = time.perf_counter()
    until = start + WARM + seconds
    step = max(1, len(requests) // clients)
    await asyncio.gather(
        *(client(port, requests, number * step, until, found) for number in range(clients))
    )
    return [answer for answer in found if answer[0] >= start + WARM]


def batch_speed(photos: list[Path], model: str) -> float:
    """Photos a second of ``plait caption`` on so many that its start counts little; the start is
    measured with one photo and taken off."""
    with tempfile.TemporaryDirectory() as folder:
        links = Path(folder, "photos")
        links.mkdir()
        for number, path in enumerate(photos):
            (links / f"{number}{path.suffix}").symlink_to(path.resolve())

        def seconds(what: Path) -> float:
            start = time.perf_counter()
            command = [
                sys.executable,
                "-m",
                "plait",
                "caption",
                str(what),
                "--model",
                model,
            ]
            subprocess.run(
                [*command, "--out", f"{folder}/captions.csv"], check=True, capture_output=True
            )
            return time.perf_counter() - start

        one = seconds(links / f"0{photos[0].suffix}")
        return (len(photos) - 1) / (seconds(links) - one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="captioner")
    args = parser.parse_args()
    photos = find_images([args.folder])[: args.photos]
    before = batch_speed(photos, args.model)
    requests = [request(args.model, path.read_bytes()) for path in photos]
    with serving(args.model) as server:
        answers = asyncio.run(load(server.port, requests, args.clients, args.seconds))
        memory = server.megabytes
    after = batch_speed(photos, args.model)
    waits = sorted(seconds for _, seconds, _ in answers)
    speed, batch = len(answers) / args.seconds, (before + after) / 2
    statuses = Counter(status for _, _, status in answers)
    print(
        f"{args.clients} clients, {args.seconds:g} s: {len(answers)} answers, {dict(statuses)}; "
        f"median {statistics.median(waits):.2f} s, p95 {waits[int(0.95 * len(waits))]:.2f} s, "
        f"longest {waits[-1]:.2f} s; {memory:.0f} MB"
    )
    print(
        f"{speed:.1f} photos/s served, {batch:.1f} by plait caption on the same {len(photos)} "
        f"photos ({before:.1f} before, {after:.1f} after): {100 * speed / batch:.0f} %"
    )
    print(describe())


if __name__ == "__main__":
    main()
