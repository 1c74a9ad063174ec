"""What a caption is about: the head of its first noun phrase, and whether two captions agree on it.

The rules are English, as the published metrics' are: "a black and white dog runs on grass" is about
a dog, "a group of people" about people.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from plait.outputs.text.metrics.ptb import tokenise

ARTICLES = {
    "a", "an", "the", "some", "several", "many", "few", "one", "two", "three", "four", "five",
    "six", "this", "that", "these", "those", "his", "her", "their", "its", "another", "other",
    "there", "is", "are", "various", "multiple", "no", "close", "up", "closeup", "view",
    "image", "picture", "photo", "photograph", "shot", "of", "'s",
}  # fmt: skip
"""What stands before a noun phrase, or only says that there is a picture of something."""
DETERMINERS = {
    "a", "an", "the", "his", "her", "their", "its", "some", "another", "two", "three", "four",
    "five", "six", "several", "many", "this", "that", "these", "those",
}  # fmt: skip
"""Where a second noun phrase begins."""
QUANTITIES = {
    "group", "bunch", "pair", "couple", "crowd", "number", "lot", "lots", "row", "pile",
    "piece", "herd", "flock", "string", "set", "variety", "collection", "stack", "line", "team",
    "slice", "close-up", "close", "closeup", "view", "image", "picture", "photo", "photograph",
    "shot", "kind", "type",
}  # fmt: skip
"""Nouns that give way to what follows their "of"."""
ENDS = {
    "is", "are", "was", "were", "has", "have", "with", "in", "on", "at", "by", "of", "for",
    "to", "from", "into", "onto", "near", "next", "over", "under", "behind", "beside",
    "between", "above", "through", "across", "along", "around", "against", "down", "up", "out",
    "off", "that", "which", "who", "or", "while", "as", "towards", "toward", "inside",
    "outside", "being", "it", "its", "he", "she", "they", "can", "looks", "look", "stands",
    "stand", "sits", "sit", "runs", "run", "walks", "walk", "plays", "play", "jumps", "jump",
    "rides", "ride", "holds", "hold", "laying", "lying", "lays", "lies", "smiles", "swims",
    "wearing", "dressed", "covered", "filled", "topped", "parked", "made", "atop", "about",
    "during", "before", "after", "seen", "shown", "taken", "worn", "hung", "held", "thrown",
    "driven", "built", "served", "like", "without", "underneath", "upon", "within", "past",
    "ready", "full", "sitting", "standing", "sleep", "eat", "pose", "graze", "wear", "enjoy",
    "perform", "swim", "hug", "kiss", "chase", "gather", "wait", "indoors", "outdoors", "upstairs",
    "downstairs", "barks", "bites", "carries",
    "catches", "chases", "chews", "climbs", "dives", "does", "eats", "enjoys", "gathers", "gets",
    "gives", "goes", "grazes", "grows", "hangs", "hits", "hugs", "keeps", "kicks", "kisses",
    "leads", "leaps", "licks", "listens", "makes", "pedals", "performs", "pets", "points", "poses",
    "prepares", "pulls", "pushes", "reaches", "reads", "says", "shows", "sings", "sleeps",
    "splashes", "stares", "takes", "talks", "teaches", "throws", "touches", "tries", "uses",
    "waits", "watches", "wears",
}  # fmt: skip
"""Words that end a noun phrase."""
SINGULAR = {
    "this", "that", "its", "his", "is", "was", "has", "as", "gas", "lens", "canvas", "christmas",
    "atlas", "series", "species", "headquarters", "crossroads", "barracks", "corps", "news",
    "sports", "thumbs", "chess", "iris", "oasis", "trellis", "clematis", "chassis", "tennis",
    "swiss", "rhinoceros", "cosmos", "paris", "texas", "mercedes", "us", "always", "perhaps",
    "overseas", "upstairs", "downstairs", "outdoors", "indoors", "besides", "sometimes", "jeans",
    "glasses", "scissors", "las", "vegas", "los", "angeles", "kansas", "dallas", "arkansas",
    "athletics", "physics", "graphics", "electronics", "politics", "chris", "james", "charles",
    "thomas", "williams", "jones", "santos", "adidas", "wars",
}  # fmt: skip
"""Words in -s that are one thing, or stand before other nouns."""
NOUNS = {
    "building", "ceiling", "king", "ring", "string", "wing", "swing", "thing", "painting",
    "drawing", "wedding", "railing", "clothing", "crossing", "morning", "evening", "icing",
    "frosting", "awning", "pudding", "duckling", "lightning", "spring", "earring", "sibling",
    "dressing", "stuffing", "sling", "lettering", "engraving", "carving", "bedding", "landing",
}  # fmt: skip
"""Words in -ing that are things; others are verbs, which end a noun phrase."""
NOT_DONE = {"bed", "shed", "seaweed", "weed", "seed", "moped", "steed", "breed", "red", "sled"}
"""Words in -ed that nothing is done to."""
PLACES = {
    "area", "bag", "board", "boat", "car", "cart", "garage", "hall", "lot", "machine", "mall",
    "meter", "pan", "pool", "rod", "room", "space", "table", "track", "wheel",
}  # fmt: skip
"""Nouns that are named by what is done there or with them: "a large parking lot"."""
ONE = {"a", "an", "one", "another", "this", "that", "each"}
"""What stands before one thing: "a man climbs" is about the man."""
OWNERS = {"kids", "boys", "girls", "ladies", "children", "men", "women", "people"}
"""Plurals that say whose a thing is: "a kids bike"."""
IRREGULAR = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "feet": "foot",
    "geese": "goose", "mice": "mouse", "teeth": "tooth", "knives": "knife", "leaves": "leaf",
    "wolves": "wolf", "shelves": "shelf", "loaves": "loaf", "scarves": "scarf", "calves": "calf",
    "halves": "half", "wives": "wife", "hooves": "hoof", "sheep": "sheep", "buses": "bus",
    "glasses": "glasses", "scissors": "scissors", "skis": "ski", "lens": "lens", "gas": "gas",
    "lenses": "lens", "canvas": "canvas", "series": "series", "species": "species",
    "cookies": "cookie", "movies": "movie", "selfies": "selfie", "hoodies": "hoodie",
    "brownies": "brownie", "zombies": "zombie", "tomatoes": "tomato", "potatoes": "potato",
    "heroes": "hero", "mangoes": "mango", "buffaloes": "buffalo", "volcanoes": "volcano",
}  # fmt: skip
MEN = {"man", "guy", "gentleman", "male", "father", "dad", "boy", "groom"}
WOMEN = {"woman", "lady", "female", "mother", "mom", "girl", "bride"}
CHILDREN = {"child", "kid", "boy", "girl", "toddler", "baby", "infant"}
SAME = (
    MEN, WOMEN, CHILDREN,
    {"bike", "bicycle"}, {"motorcycle", "motorbike", "bike"}, {"plane", "airplane", "jet"},
    {"couch", "sofa"}, {"tv", "television"}, {"phone", "cellphone", "cell"}, {"car", "vehicle"},
    {"truck", "vehicle"}, {"cow", "cattle"}, {"puppy", "dog"}, {"kitten", "cat"},
    {"boat", "ship"}, {"home", "house"}, {"sea", "ocean", "water"},
    {"train", "locomotive", "engine"}, {"bathroom", "restroom", "toilet"}, {"meal", "food", "dish"},
    {"fridge", "refrigerator"}, {"stove", "oven"}, {"road", "street"}, {"forest", "wood", "tree"},
)  # fmt: skip
"""Groups of words for the same; those of one group agree."""
PERSON = MEN | WOMEN | CHILDREN | {
    "person", "human", "adult", "teenager", "teen", "crowd", "couple", "family", "team", "player",
    "rider", "skier", "snowboarder", "surfer", "skateboarder", "skater", "biker", "cyclist",
    "bicyclist", "motorcyclist", "runner", "climber", "hiker", "swimmer", "batter", "pitcher",
    "footballer", "athlete", "fisherman", "worker", "soldier", "officer", "policeman", "fireman",
    "firefighter", "doctor", "nurse", "chef", "cook", "waiter", "student", "teacher", "tourist",
    "actor", "actress", "model", "artist", "musician", "guitarist", "singer", "performer",
    "dancer", "photographer", "astronaut", "driver", "pedestrian", "fan", "guest", "friend",
}  # fmt: skip
"""Kinds of person: "person" and "people" agree with each of them."""


def singular(word: str) -> str:
    """An English noun without its plural ending."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in SINGULAR:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word if len(word) < 4 or word.endswith(("ss", "us", "is")) else word.removesuffix("s")


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
        one = False
        while rest and rest[0] in ARTICLES | ENDS:
            one = rest.pop(0) in ONE
        if len(rest) > 1 and _is_verb(rest[0]) and _may_continue(rest[1]):
            rest.pop(0)  # "a smiling woman"
        if not rest or _is_verb(rest[0]):
            return None
        ends = (
            at for at in range(1, len(rest))
            if not _continues(rest, at) or (one and _is_done_by_one(rest, at))
        )  # fmt: skip
        length = next(ends, len(rest))
        phrase, after = rest[:length], rest[length : length + 1]
        while len(phrase) > 1 and phrase[-1] in ("and", "'s"):
            phrase.pop()
        # A verb: "a biker makes a jump", "two people hug".
        verb = after[:1] and after[0] in DETERMINERS
        if len(phrase) > 1 and (verb or _plural(phrase[-2])):
            phrase.pop()
        if phrase[-1] not in QUANTITIES or after != ["of"]:
            return singular(phrase[-1])
        rest = rest[length + 1 :]


def _continues(words: Sequence[str], at: int) -> bool:
    """Whether the noun phrase that the words begin with includes this place."""
    word, following = words[at], words[at + 1] if at + 1 < len(words) else ""
    if word == "and":  # "black and white dog", but not "man and woman"
        joins = _may_continue(following) and not _is_verb(following) and at + 2 < len(words)
        return joins and _continues(words, at + 2)
    if _is_verb(word):
        return following in PLACES  # "a large parking lot"
    done = word.endswith("ed") and word not in NOT_DONE and following in ENDS  # "perched on"
    return _may_continue(word) and not done


def _is_done_by_one(words: Sequence[str], at: int) -> bool:
    """Whether what a single thing does stands here ("a girl picks flowers"), and no plural that
    belongs to someone ("a woman 's hands", "a kids bike")."""
    owned = words[at - 1] == "'s" or words[at + 1 : at + 2] == ["'s"]
    return _plural(words[at]) and not owned and words[at] not in OWNERS


def _is_verb(word: str) -> bool:
    return word.endswith("ing") and word not in NOUNS


def _may_continue(word: str) -> bool:
    """Whether this word can stand in a noun phrase that has begun."""
    return word not in ENDS | DETERMINERS and word != ""


def _plural(word: str) -> bool:
    return singular(word) != word


def is_about(text: str, nouns: Collection[str]) -> bool:
    """Whether the noun that a text is about is one of these, which are in the singular.

    Examples:
        >>> is_about("A cat and a dog sleep on a bed.", {"cat", "kitten"})
        True
    """
    return subject(tokenise(text)) in nouns


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
