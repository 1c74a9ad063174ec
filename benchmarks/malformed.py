"""Malformed requests by the thousand: no crash, no 5xx but 503, memory back to where it was.

python benchmarks/malformed.py [--requests 10000] [--model captioner]
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import random
import socket
import struct
import sys
import time
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from machine import describe
from PIL import Image
from served import Served, serving

CLIENTS = 16
WAIT = 40.0  # seconds for an answer
SLACK = 0.15  # share by which the memory may be larger afterwards

Make = Callable[[random.Random, str], bytes]
"""From a source of chance and the model's name to what is sent, whole."""


def request(
    path: str, body: bytes, kind: str, *more: str, method: str = "POST", length: str | None = None
) -> bytes:
    size = str(len(body)) if length is None else length
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}",
             f"Content-Length: {size}", "Connection: close", *more]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def as_json(name: str, value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return request(f"/models/{name}/predict", body, "application/json")


def as_form(name: str, data: bytes, part: str = "inputs.image", file: str = "a.png") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{part}"; filename="{file}"\r\n\r\n'
    body = head.encode("utf-8", "surrogatepass") + data + b"\r\n--b--\r\n"
    return request(f"/models/{name}/predict", body, "multipart/form-data; boundary=b")


def random_bytes(chance: random.Random, name: str) -> bytes:
    data = chance.randbytes(chance.choice((1, 30, 1000, 60_000)))
    return chance.choice((
        lambda: data,
        lambda: as_json(name, data),
        lambda: as_form(name, data),
        lambda: request(f"/models/{name}/predict", data, "multipart/form-data; boundary=b"),
        lambda: request(f"/models/{name}/batch", data, "application/json"),
    ))()  # fmt: skip


ODD: list[object] = [
    *(None, True, -1, 1e308, 10**400, "", "\x00", "\ud800", "ä" * 5000, "null", "NaN"),
    *([], {}, [[]], {"a": {"a": 1}}, ["image"], {"image": {"image": "x"}}),
]
NO_JSON = [b"NaN", b"1e999", b'{"inputs": Infinity}', b'"\\ud800"', b'{"inputs":{"image":1}}{}',
           b"\xff\xfe{}"]  # fmt: skip


def wrong_types(chance: random.Random, name: str) -> bytes:
    odd = chance.choice(ODD)
    value = chance.choice((
        odd, {"inputs": odd}, {"inputs": {"image": odd}}, {"inputs": {"image": "", "x": odd}},
        {"inputs": {"image": "QUJD"}, "options": odd},
        {"inputs": {"image": "QUJD"}, "options": {"beam": odd, "temperature": odd}},
        {"inputs": {"image": "QUJD"}, "explain": odd}, {"records": odd}, {"records": [odd] * 3},
    ))  # fmt: skip
    if chance.random() < 0.2:
        return as_json(name, chance.choice(NO_JSON))
    path = chance.choice(("predict", "batch"))
    body = json.dumps(value).encode()
    return request(f"/models/{name}/{path}", body, "application/json")


EXTREME = [0, -1, 1, 2**63 - 1, 2**64, 10**30, 1e-300, 1e-5, 1e30, 1e300, -1e300, 0.999999, True]
OPTIONS = ("beam", "num", "temperature", "top_k", "top_p", "seed", "length_penalty", "min_words",
           "max_words", "no_repeat", "ctc", "language", "bonus")  # fmt: skip


def extreme_options(chance: random.Random, name: str) -> bytes:
    """Of a photo that is all right."""
    chosen = chance.sample(OPTIONS, chance.randint(1, 3))
    options: dict[str, object] = {option: chance.choice(EXTREME) for option in chosen}
    options["sample"] = chance.random() < 0.7
    photo = base64.b64encode(PHOTO).decode()
    return as_json(name, {"inputs": {"image": photo}, "options": options})


def truncated_form(chance: random.Random, name: str) -> bytes:
    whole = as_form(name, PHOTO)
    head, _, body = whole.partition(b"\r\n\r\n")
    cut = body[: chance.randrange(len(body))]
    if chance.random() < 0.3:  # less than was promised
        return head + b"\r\n\r\n" + cut
    kind = chance.choice(("boundary=b", "boundary=", "boundary=c", "", "boundary=" + "b" * 5000))
    return request(f"/models/{name}/predict", cut, f"multipart/form-data; {kind}")


def headers(chance: random.Random, name: str) -> bytes:
    many = [f"X-{n}: {'a' * 20}" for n in range(chance.choice((1000, 5000)))]
    return request("/health", b"", "text/plain", *chance.choice((
        [f"X-Long: {'a' * chance.choice((30_000, 200_000))}"], many,
        ["Content-Length: 5"], ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"],
        ["Cookie: " + "a=b; " * 4000], ["Host: evil"], ["X\x00Y: a"], [": a"], ["Expect: a"],
        ["Upgrade: websocket", "Connection: Upgrade"], ["Origin: null"], ["Origin: http://["],
        ["Origin: //\xff:a@b:99999999"], ["Range: bytes=0-1"],
    )), method=chance.choice(("GET", "POST", "HEAD", "OPTIONS", "TRACE", "GE T", "")))  # fmt: skip


def lengths(chance: random.Random, name: str) -> bytes:
    length = chance.choice(("-1", "1e3", "99999999999999999999", "0", "5", "٣", "+3", "0x10", ""))
    chunked = b"POST /models/%s/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked" \
              b"\r\nContent-Type: application/json\r\n\r\n" % name.encode()  # fmt: skip
    return chance.choice((
        request(f"/models/{name}/predict", b"{}", "application/json", length=length),
        chunked + b"ffffffffffffffff\r\nabc", chunked + b"5\r\nabc", chunked + b"-1\r\n\r\n",
        chunked + b"3\r\nabc\r\n0\r\n\r\n", chunked + b"zz\r\n",
    ))  # fmt: skip


def deep_json(chance: random.Random, name: str) -> bytes:
    depth = chance.choice((200, 5000, 1_000_000))
    opening = chance.choice((b"[", b'{"inputs":', b'{"inputs":{"image":['))
    return as_json(name, opening * (depth // len(opening)))


def bombs(chance: random.Random, name: str) -> bytes:
    data = chance.choice(BOMBS)
    if chance.random() < 0.1:
        body = gzip.compress(b'{"inputs":' + b" " * 1_000_000 + b"}")
        return request(
            f"/models/{name}/predict", body, "application/json", "Content-Encoding: gzip"
        )
    if chance.random() < 0.3:
        return as_json(name, {"inputs": {"image": base64.b64encode(data).decode()}})
    return as_form(name, data)


TRICKS = ["../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
          "file:///etc/passwd", "http://169.254.169.254/latest", "\\\\server\\share", "C:\\a.png",
          "/proc/self/environ", "/dev/zero", "a\x00.png", "//etc//passwd", ".", "~", "|id",
          "$(id)", "'; DROP TABLE a;--", "%00", "\u202egnp.exe", "a" * 3000]  # fmt: skip


def paths(chance: random.Random, name: str) -> bytes:
    trick = chance.choice(TRICKS)
    plain = "".join(letter for letter in trick if " " < letter < "\x7f")
    return chance.choice((
        lambda: request(f"/page/{plain}", b"", "text/plain", method="GET"),
        lambda: request(f"/models/{plain}/predict", b"{}", "application/json"),
        lambda: request(f"/{plain}", b"", "text/plain", method="GET"),
        lambda: as_json(name, {"inputs": {"image": trick}}),
        lambda: as_form(name, trick.encode(), file=trick),
        lambda: as_form(name, b"a", part=trick),
        lambda: as_form(name, b"a", part=f"inputs.{trick}"),
        lambda: as_form(name, b"a", part=f"records.{trick}.image"),
    ))()  # fmt: skip


def mutated_photo(chance: random.Random, name: str) -> bytes:
    data = bytearray(chance.choice(PHOTOS))
    for _ in range(chance.choice((1, 10, 200))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.4:
        del data[chance.randrange(len(data)) :]
    return as_form(name, bytes(data))


KINDS: list[Make] = [random_bytes, wrong_types, extreme_options, truncated_form, headers, lengths,
                     deep_json, bombs, paths, mutated_photo]  # fmt: skip


UNFINISHED = {random_bytes, truncated_form, headers, lengths}
"""Those that may promise more than they send, so that the server rightly waits; the client goes."""
PATIENCE = 1.0  # seconds for these


def picture(kind: str, side: int = 64) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


PHOTO = picture("PNG")
PHOTOS = [picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")]


def png_of(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content)
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_png() -> bytes:
    """A compressed remark that would be 300 MB."""
    whole = png_of(8, 8, zlib.compress(bytes(8 * 25)))
    content = b"a\x00\x00" + zlib.compress(bytes(300_000_000), 9)
    remark = struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(
        ">I", zlib.crc32(b"zTXt" + content)
    )  # fmt: skip
    return whole[:33] + remark + whole[33:]


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(100_000_000))
    return stream.getvalue()


BOMBS = [
    png_of(60_000, 60_000, zlib.compress(bytes(1000))),
    png_of(2**31 - 1, 2**31 - 1, b""),
    png_of(6000, 6000, zlib.compress(bytes(6000 * 18001), 9)),  # a whole one, just allowed
    png_of(6000, 6000, zlib.compress(bytes(100))),
    png_of(20, 20, zlib.compress(bytes(200_000_000), 9)),
    text_png(),
    zip_bomb(),
    gzip.compress(bytes(100_000_000)),
    b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00;",
    b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    b"P6 99999 99999 255\n" + bytes(100),
    b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9",
]


def send(port: int, data: bytes, patience: float = WAIT) -> str:
    """The answer's status; what happened instead, in a word, where there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as connection:
            with suppress(ConnectionError):  # refused before it was sent whole: the answer is there
                connection.sendall(data)
            connection.settimeout(patience)
            answer = connection.recv(4096)
    except ConnectionResetError:
        return "closed"
    except TimeoutError:
        return "no answer" if patience == WAIT else "left waiting"
    except ConnectionRefusedError:
        return "refused"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed"


def good(server: Served, name: str) -> str:
    return send(server.port, as_form(name, PHOTO))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--model", default="captioner")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found: dict[str, Counter[str]] = defaultdict(Counter)

    def attack(number: int) -> None:
        chance = random.Random(f"{args.seed}-{number}")
        make = KINDS[number % len(KINDS)]
        patience = PATIENCE if make in UNFINISHED else WAIT
        found[make.__name__][send(server.port, make(chance, args.model), patience)] += 1

    most = 0.0
    with serving(args.model) as server:
        # What it grows to on its own with good photos, by as many clients, is not the attack's.
        with ThreadPoolExecutor(CLIENTS) as pool:
            assert set(pool.map(lambda _: good(server, args.model), range(200))) == {"200"}
        time.sleep(5)
        before, start = server.megabytes, time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done, _ in enumerate(pool.map(attack, range(args.requests)), start=1):
                most = max(most, server.megabytes)
                if done % 500 == 0:
                    print(f"{done}, {server.megabytes:.0f} MB", file=sys.stderr, flush=True)
        seconds = time.perf_counter() - start
        time.sleep(5)
        after, still = server.megabytes, good(server, args.model)
        runs = server.runs
    for kind, statuses in found.items():
        told = ", ".join(f"{status} {count}" for status, count in sorted(statuses.items()))
        print(f"{kind}: {told}")
    total = sum(found.values(), Counter[str]())
    fatal = {"no answer", "refused"}
    bad = {s: n for s, n in total.items() if (s[:1] == "5" and s != "503") or s in fatal}
    print(
        f"{args.requests} requests in {seconds:.0f} s; memory {before:.0f} MB before, "
        f"{most:.0f} MB at the most, {after:.0f} MB after; a good photo then: {still}; "
        f"{bad or 'no 5xx but 503'}"
    )
    print(describe())
    if bad or still != "200" or not runs or after > before * (1 + SLACK):
        print("\n".join(server.last))
        sys.exit(1)


if __name__ == "__main__":
    main()
