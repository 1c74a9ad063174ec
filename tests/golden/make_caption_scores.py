"""Writes caption_scores.json: what the COCO evaluation's own code, pycocoevalcap, says of captions
written here, of random token ids, and of the first photos of Flickr8k (numbers only).

Tests read the file alone. To make it anew: Java and `pip install pycocoevalcap`, then
`python tests/golden/make_caption_scores.py ../shared/data/flickr8k`.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from plait.outputs.text.metrics.ptb import PUNCTUATION

OUT = Path(__file__).with_name("caption_scores.json")
Photos = list[tuple[str, list[str]]]

CASES: dict[str, Photos] = {
    "several references": [
        (
            "A brown dog runs through the shallow water.",
            [
                "A brown dog is running through shallow water.",
                "A wet dog runs along the edge of a lake!",
                "The dog splashes in the water, near the shore.",
            ],
        ),
        (
            "Two men sit on a bench in the park.",
            ["Two men are sitting on a park bench.", "An old couple rests; trees behind them."],
        ),
        (
            "A girl in a red dress jumps over a puddle",
            [
                "A little girl in red jumps into a puddle.",
                "A child leaps over a puddle in the street",
                "Girl jumping.",
                "The girl's red dress is getting wet - she doesn't mind.",
                "A young girl in a dress jumps over the water on the road",
            ],
        ),
        ("A man rides his bike down a hill .", ["A cyclist rides down a steep hill."]),
    ],
    "an empty caption": [
        ("", ["A boat lies on a quiet lake.", "A boat on the water"]),
        ("...", ["Nobody is at the station.", "The platform is empty."]),
        ("A boat on a lake", ["A small boat lies on a lake.", "..."]),
    ],
    "repeated words": [
        (
            "the the the the the the the",
            ["The cat is on the mat.", "There is a cat on the mat."],
        ),
        ("a dog a dog a dog", ["a dog and a dog", "dogs"]),
        ("a cat a cat", ["a cat sat where a cat sits", "a cat a cat"]),
    ],
    "unknown words": [
        ("xylophones zigzag quietly", ["A man plays music in the street.", "A street musician"]),
        ("a man zigzags in the street", ["A man walks in the street.", "A man on a road"]),
        ("qwerty", ["A keyboard on a desk."]),
    ],
    "one record": [("A man in a blue shirt climbs", ["A man climbs a wall.", "A climber in blue"])],
    "equal to a reference": [
        ("A cat sleeps.", ["A cat sleeps"]),
        ("Two children play with a yellow ball", ["two children play with a yellow ball", "Play!"]),
        ("Snow", ["snow", "A lot of snow lies on the roof"]),
    ],
    "punctuation and signs": [
        ('A sign saying "Stop!" (red)', ["A stop-sign, 100 % red", "A sign that says 'Stop'"]),
        ("Mr. Smith can't find his U.S. passport", ["Mr. Smith doesn't have his passport"]),
        ("It's 5 o'clock at No. 10", ["It is five o'clock.", "it's 5 p.m. at no. 10"]),
        ("café and/or tea & cake for $3.50", ["Tea & cake cost $3.50", "a café"]),
    ],
}


def made(photos: int, seed: int) -> Photos:
    """Captions from a small grammar, alike and different, so that n-grams of every order meet."""
    rng = random.Random(seed)
    who = ["a man", "two dogs", "a small child", "the woman in red", "people", "a brown horse"]
    does = ["runs", "is running", "jumps", "sits", "stands", "plays with a ball", "looks up"]
    where = ["on the beach", "in the snow", "near a river", "by the road", "in front of a house"]

    def caption() -> str:
        parts = [rng.choice(who), rng.choice(does), rng.choice(where)]
        if rng.random() < 0.3:
            parts += ["and", rng.choice(who), rng.choice(does)]
        return " ".join(parts)

    return [(caption(), [caption() for _ in range(rng.randint(1, 5))]) for _ in range(photos)]


def java_tokens(texts: list[str]) -> list[list[str]]:
    """The words of texts by the tokeniser of published scores."""
    jar = home() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(texts))
        file.flush()
        run = subprocess.run(
            ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer",
             "-preserveLines", "-lowerCase", file.name],
            capture_output=True, encoding="utf-8", check=True,
        )  # fmt: skip
    lines = run.stdout.split("\n")[: len(texts)]
    return [[word for word in line.split() if word not in PUNCTUATION] for line in lines]


def home() -> Path:
    spec = find_spec("pycocoevalcap")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def scored(photos: Photos, with_meteor: bool = True) -> dict[str, Any]:
    """The case with the tokens and the scores of pycocoevalcap."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    tokens = java_tokens([text for caption, refs in photos for text in (caption, *refs)])
    words = iter(tokens)
    results, targets = {}, {}
    for place, (_, references) in enumerate(photos):
        results[place] = [" ".join(next(words))]
        targets[place] = [" ".join(next(words)) for _ in references]
    bleu, _ = Bleu(4).compute_score(targets, results, verbose=0)
    found = {
        "photos": [{"caption": caption, "references": refs} for caption, refs in photos],
        "tokens": tokens,
        "bleu": [float(value) for value in bleu],
        "rouge_l": [float(v) for v in Rouge().compute_score(targets, results)[1]],
        "cider": [float(v) for v in Cider().compute_score(targets, results)[1]],
    }
    if with_meteor:
        found["meteor"] = float(Meteor().compute_score(targets, results)[0])
    return found


def flickr(folder: Path) -> dict[str, Any]:
    """The scores of the first 200 photos' first captions against the others; digests of tokens."""
    with (folder / "captions.jsonl").open(encoding="utf-8") as lines:
        captions = [json.loads(line)["captions"] for line in islice(lines, 200)]
    found = scored([(photo[0], photo[1:]) for photo in captions], with_meteor=False)
    del found["photos"]
    found["tokens"] = [digest(words) for words in found["tokens"]]
    return found


def digest(words: list[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


def ids(photos: int, seed: int) -> dict[str, Any]:
    """CIDEr-D of random token ids."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    rng = random.Random(seed)

    def sentence(words: int) -> list[int]:
        return [rng.randrange(3, 3 + words) for _ in range(rng.randint(0, 12))] + [2]

    references = [[sentence(20) for _ in range(rng.randint(1, 5))] for _ in range(photos)]
    hypotheses = [sentence(24) for _ in references]  # four of the words are in no reference
    scorer = CiderScorer(n=4, sigma=6.0)
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        scorer += (text(hypothesis), [text(reference) for reference in texts])
    scores = [float(value) for value in scorer.compute_score()[1]]
    return {"references": references, "hypotheses": hypotheses, "cider": scores}


def text(tokens: list[int]) -> str:
    return " ".join(map(str, tokens))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cases = {name: scored(photos) for name, photos in CASES.items()}
    cases["many"] = scored(made(40, 1))
    cases["flickr8k"] = flickr(Path(sys.argv[1]))
    cases["ids"] = ids(60, 3)
    rows = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n")
