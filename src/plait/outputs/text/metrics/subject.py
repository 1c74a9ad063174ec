"""What a caption is about: the head of its first noun phrase, and whether two captions agree on it.

The rules are English, as the published metrics' are: "a black and white dog runs on grass" is about
a dog, "a group of people" about people.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

ARTICLES = {
    "a", "an", "the", "some", "several", "many", "few", "one", "two", "three", "four", "five",
    "six", "this", "that", "these", "those", "his", "her", "their", "its", "another", "other",
    "there", "is", "are", "various", "multiple", "no", "close", "up", "closeup", "view",
    "image", "picture", "photo", "photograph", "shot", "of",
}  # fmt: skip
"""What stands before a noun phrase, or only says that there is a picture of something."""
DETERMINERS = {"a", "an", "the", "his", "her", "their", "its", "some", "another"}
"""Where a second noun phrase begins."""
QUANTITIES = {
    "group", "bunch", "pair", "couple", "crowd", "number", "lot", "lots", "row", "pile", "piece",
    "herd", "flock", "set", "variety", "collection", "stack", "line", "team", "slice", "close-up",
    "close", "closeup", "view", "image", "picture", "photo", "photograph", "shot", "kind", "type",
}  # fmt: skip
"""Nouns that give way to what follows their "of"."""
ENDS = {
    "is", "are", "was", "were", "has", "have", "with", "in", "on", "at", "by", "of", "for", "to",
    "from", "into", "onto", "near", "next", "over", "under", "behind", "beside", "between", "above",
    "through", "across", "along", "around", "against", "down", "up", "out", "off", "that", "which",
    "who", "while", "as", "towards", "toward", "inside", "outside", "being", "it", "its", "he",
    "she", "they", "can", "looks", "look", "stands", "stand", "sits", "sit", "runs", "run", "walks",
    "walk", "plays", "play", "jumps", "jump", "rides", "ride", "holds", "hold", "laying", "lying",
    "lays", "lies", "smiles", "swims", "wearing", "dressed", "covered", "filled", "topped",
    "parked", "sitting", "standing", "made", "atop", "about", "during", "before", "after",
}  # fmt: skip
"""Words that end a noun phrase; so does any word in -ing after its first."""
IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "feet": "foot",
    "geese": "goose", "mice": "mouse", "teeth": "tooth", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "sheep": "sheep", "buses": "bus", "bus": "bus", "glasses": "glasses",
    "scissors": "scissors", "skis": "ski", "grass": "grass", "dress": "dress",
    "lens": "lens", "this": "this", "gas": "gas",
}  # fmt: skip
SAME = (
    {"man", "guy", "gentleman", "male", "father", "dad", "boy"},
    {"woman", "lady", "female", "mother", "mom", "girl", "bride"},
    {"child", "kid", "boy", "girl", "toddler", "baby", "infant"},
    {"bike", "bicycle"}, {"motorcycle", "motorbike", "bike"}, {"plane", "airplane", "jet"},
    {"couch", "sofa"}, {"tv", "television"}, {"phone", "cellphone", "cell"}, {"car", "vehicle"},
    {"truck", "vehicle"}, {"cow", "cattle"}, {"puppy", "dog"}, {"kitten", "cat"},
    {"boat", "ship"}, {"home", "house"}, {"sea", "ocean", "water"},
    {"train", "locomotive", "engine"}, {"bathroom", "restroom", "toilet"}, {"meal", "food", "dish"},
    {"fridge", "refrigerator"}, {"stove", "oven"}, {"road", "street"}, {"forest", "wood", "tree"},
)  # fmt: skip
PERSON = {
    "person", "man", "woman", "boy", "girl", "guy", "lady", "child", "kid", "player", "rider",
    "skier", "snowboarder", "surfer", "skateboarder", "skater", "biker", "cyclist", "runner",
    "climber", "hiker", "toddler", "baby", "male", "female", "adult", "teenager", "crowd",
    "swimmer", "fisherman", "worker", "soldier", "bride", "groom", "couple", "family", "team",
    "batter", "pitcher", "chef", "student", "tourist", "actor", "model", "artist", "musician",
    "singer", "athlete", "fan", "guest", "friend", "performer", "dancer", "footballer", "driver",
}  # fmt: skip
"""Kinds of person: "person" and "people" agree with each of them."""


def singular(word: str) -> str:
    """An English noun without its plural ending."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def subject(words: Sequence[str]) -> str | None:
    """The noun that a caption is about, in the singular; None if it has none.

    Args:
        words: of the caption, in lower case.

    Examples:
        >>> subject("a group of young people sitting on a bench".split())
        'person'
        >>> subject("a close up of a pizza on a table".split())
        'pizza'
    """
    rest = list(words)
    while True:
        while rest and rest[0] in ARTICLES | ENDS:
            rest.pop(0)
        if not rest or rest[0].endswith("ing"):
            return None
        phrase = [rest[0], *takewhile(_continues, rest[1:])]
        after = rest[len(phrase) :]
        if after[:1] and after[0] in DETERMINERS and len(phrase) > 1:
            phrase.pop()  # a verb: "a biker makes a jump"
        if "and" in phrase[1:-1]:  # "man and woman": the first; "black and white dog": the last
            at = phrase.index("and")
            phrase = phrase[:at] if len(phrase) == at + 2 else phrase
        if phrase[-1] not in QUANTITIES or after[:1] != ["of"]:
            return singular(phrase[-1])
        rest = after[1:]


def _continues(word: str) -> bool:
    """Whether this word belongs to a noun phrase that has begun."""
    return not (word in ENDS or word in DETERMINERS or word.endswith("ing"))


def agrees(noun: str, words: Sequence[str]) -> bool:
    """Whether a text mentions a noun, in the singular, or another word for it."""
    mentioned = {singular(word) for word in words}
    if noun in mentioned:
        return True
    if noun == "person" and mentioned & PERSON:
        return True
    if noun in PERSON and "person" in mentioned:
        return True
    return any(noun in group and mentioned & group for group in SAME)
