"""Writes transcript_scores.json: how jiwer aligns random transcripts, and its error rates.

Tests read the file alone. To make it anew: `pip install jiwer`, then
`python tests/golden/make_transcript_scores.py`.
"""

from __future__ import annotations

import json
import random
from itertools import zip_longest
from pathlib import Path

OUT = Path(__file__).with_name("transcript_scores.json")


def main() -> None:
    import jiwer

    rng = random.Random(5)
    cases = []
    for number in range(160):
        letters = "abcdefgh"[: rng.choice([2, 3, 5, 8])]
        longest = 12 if number % 16 else 90
        right, said = (
            [rng.choice(letters) for _ in range(rng.randint(0, longest))] for _ in range(2)
        )
        (chunks,) = jiwer.process_words([" ".join(right)], [" ".join(said)]).alignments
        pairs = [
            pair
            for chunk in chunks
            for pair in zip_longest(
                right[chunk.ref_start_idx : chunk.ref_end_idx],
                said[chunk.hyp_start_idx : chunk.hyp_end_idx],
                fillvalue="",
            )
        ]
        cases.append({"right": "".join(right), "said": "".join(said), "pairs": pairs})
    rows = ",\n".join(json.dumps(case) for case in cases)
    texts = {
        "right": [
            "the cat sat on the mat", "a dog", "it's three o'clock he said", "5.5 km from here"
        ],
        "said": ["the cat sit on mat", "a big dog", "its three o'clock he said", "5 km from there"],
    }  # fmt: skip
    rates = [
        {"wer": jiwer.wer(right, said), "cer": jiwer.cer(right, said)}
        for right, said in zip(texts["right"], texts["said"], strict=True)
    ]
    whole = {"wer": jiwer.wer(**args(texts)), "cer": jiwer.cer(**args(texts))}
    OUT.write_text(
        f'{{"texts": {json.dumps(texts)},\n"rates": {json.dumps(rates)},\n'
        f'"whole": {json.dumps(whole)},\n"alignments": [\n{rows}\n]}}\n'
    )


def args(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"reference": texts["right"], "hypothesis": texts["said"]}


if __name__ == "__main__":
    main()
