"""Make the table of requests that the recipe `intents` learns from.

    python examples/intents_table.py [FILE] [SEED]

FILE is where the table is written (intents.csv), SEED draws the sentences and the split (0). A row
is a request, what it asks for, and the template that it was made of:

- caption: say what a photo shows;
- question: answer a question about a photo;
- translation: say a text in another language;
- similar: find photos like this one;
- search: find photos by words;
- none: none of these.

The templates are in intents.txt; words in braces are filled in. Splits are of whole templates: the
test asks in ways that training has never seen, only the words filled in may be known from there.
"""

from __future__ import annotations

import csv
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TEMPLATES = Path(__file__).with_name("intents.txt")
SENTENCES = 14  # of a template at the most
TRAIN, VAL = 0.7, 0.85  # where the templates of an intent are cut
OPENINGS = ("please", "hey", "ok", "now", "and", "so", "well", "can you", "could you please",
            "I want you to", "would you", "then", "hi,", "assistant,")  # fmt: skip
CLOSINGS = ("please", "thanks", "thank you", "for me", "now", "if you can")
OPENED, CLOSED = 0.3, 0.15  # how often

# Words, or with bars between them several words.
FILLERS = {
    "photo": "photo picture image pic snapshot shot photograph",
    "photos": "photos pictures images pics snapshots shots photographs",
    "this": "this the my that",
    "thing": "dog cat car bicycle horse ball boat bird train tree house hat cup table guitar "
    "phone bus flower book umbrella skateboard tower bridge clock sign bag rocket helmet",
    "things": "dogs cats cars people children horses balls boats birds trees houses men women "
    "bicycles flowers cups books girls boys windows chairs coins players mountains",
    "person": "man woman boy girl child person player lady guy baby",
    "who": "he she they it",
    "place": "beach|street|park|snow|kitchen|forest|city|field|lake|mountain|garden|water|desert|"
    "football pitch|swimming pool|market|station",
    "colour": "red blue green yellow white black brown pink orange purple grey",
    "doing": "running jumping playing sleeping eating riding swimming climbing smiling dancing "
    "reading walking flying sitting",
    "wear": "shirt hat jacket dress helmet coat shoes trousers glasses",
    "language": "German French Spanish Italian English Portuguese Turkish Polish Japanese Dutch",
    "phrase": "good morning|where is the station|a dog runs on the beach|I am hungry|thank you|"
    "two men sit on a bench|the weather is fine today|see you tomorrow|a child with a red hat|"
    "how much does it cost|nice to meet you|the food was very good|a woman rides a horse|"
    "what time is it|my name is Anna|a brown cat sleeps",
    "number": "two three 5 seven 12 40 99",
    "name": "Anna Peter Maria Tom my mother the president Einstein",
    "topic": "football|the weather|politics|music|history|cooking|physics|the stock market|films|"
    "your family|chess|space",
    "act": "play chess|cook rice|go home|learn to swim|pay the rent|wash the dishes|fix the car|"
    "buy bread|feed the cat|lose weight|tie a knot|change a tyre|grow tomatoes|write a letter|"
    "meet the teacher|leave the house|fall asleep|sell the bike|paint the wall|open an account",
    "day": "today|tomorrow|on Monday|next week|this evening|at seven",
}


def read_templates() -> dict[str, list[str]]:
    """Each intent's templates."""
    found: dict[str, list[str]] = {}
    for section in TEMPLATES.read_text(encoding="utf-8").strip().split("\n\n"):
        intent, *lines = section.splitlines()
        found[intent.strip("[]")] = lines
    return found


def filled(template: str, draw: random.Random) -> str:
    """The template with words filled in, sometimes with an opening and a closing."""

    def word(slot: re.Match[str]) -> str:
        choices = FILLERS[slot[1]]
        return draw.choice(choices.split("|") if "|" in choices else choices.split())

    text = re.sub(r"\{(\w+)\}", word, template)
    if draw.random() < OPENED:
        text = f"{draw.choice(OPENINGS)} {text}"
    if draw.random() < CLOSED:
        text = f"{text} {draw.choice(CLOSINGS)}"
    return text


def rows(seed: int) -> Iterator[list[str]]:
    """Every template's sentences; the templates of an intent are cut in a drawn order."""
    draw = random.Random(seed)
    for intent, templates in read_templates().items():
        drawn = draw.sample(templates, len(templates))
        for number, template in enumerate(drawn):
            place = (number + 0.5) / len(drawn)
            split = "train" if place < TRAIN else "val" if place < VAL else "test"
            for text in dict.fromkeys(filled(template, draw) for _ in range(SENTENCES)):
                yield [text, intent, template, split]


def without_repeats(table: list[list[str]]) -> list[list[str]]:
    """Without sentences that templates of two splits or two intents both make."""
    places = defaultdict(set)
    for text, intent, _, split in table:
        places[text.lower()].add((intent, split))
    return [row for row in table if len(places[row[0].lower()]) == 1]


def main(file: str = "intents.csv", seed: str = "0") -> None:
    """Write the table, and say what is in it."""
    table = without_repeats(list(rows(int(seed))))
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "intent", "template", "split"])
        writer.writerows(table)
    kinds = {template for _, _, template, _ in table}
    print(f"{target}: {len(table)} requests of {len(kinds)} templates")


if __name__ == "__main__":
    main(*sys.argv[1:3])
