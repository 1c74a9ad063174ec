"""What a caption is about: the head of its first noun phrase, and whether two captions agree on it.

The rules are English, as the published metrics' are: "a black and white dog runs on grass" is about
a dog, "a group of people" about people.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

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
    "perform", "swim", "hug", "kiss", "chase", "gather", "wait",
}  # fmt: skip
"""Words that end a noun phrase."""
NOUNS = {
    "building", "ceiling", "king", "ring", "string", "wing", "swing", "thing", "painting",
    "drawing", "wedding", "railing", "clothing", "crossing", "morning", "evening", "icing",
    "frosting", "awning", "pudding", "duckling", "lightning", "spring", "earring", "sibling",
    "dressing", "stuffing", "sling", "lettering", "engraving", "carving", "bedding", "landing",
}  # fmt: skip
"""Words in -ing that are things; others are verbs, which end a noun phrase."""
BE = {"is", "are", "was", "were", "has", "have"}
"""Verbs that no other verb in -s comes before."""
NOUNS_IN_LY = {"family", "butterfly", "jelly", "lily", "belly", "fly", "dolly", "bully", "ally"}
"""Words in -ly that are things; others are adverbs, which are never the head of a phrase."""
NOT_DONE = {"bed", "shed", "seaweed", "weed", "seed", "moped", "steed", "breed", "red", "sled"}
"""Words in -ed that nothing is done to."""
PLACES = {
    "area", "bag", "board", "boat", "car", "cart", "garage", "hall", "lot", "machine", "mall",
    "meter", "pan", "pool", "rod", "room", "space", "table", "track", "wheel",
}  # fmt: skip
"""Nouns that are named by what is done there or with them: "a large parking lot"."""
ADJECTIVES = {
    "black", "white", "red", "blue", "green", "yellow", "brown", "pink", "grey", "gray", "purple",
    "colorful", "dark", "bright", "striped", "large", "small", "big", "little", "tiny", "huge",
    "tall", "long", "short", "young", "old", "older", "elderly", "new", "wooden", "beautiful",
    "wet", "muddy", "snowy", "rocky", "grassy", "sandy", "furry", "fluffy", "shaggy", "happy",
    "empty", "different", "asian", "very", "metal", "plastic", "hairy", "round", "busy", "crowded",
}  # fmt: skip
"""Words that describe a noun: a word in -s after nothing else is the noun, not a verb."""
SINGULAR = {
    "this", "its", "his", "is", "was", "has", "as", "gas", "lens", "canvas", "christmas", "atlas",
    "series", "species", "headquarters", "crossroads", "barracks", "corps", "news", "sports",
    "thumbs", "chess", "iris", "oasis", "trellis", "clematis", "chassis", "tennis", "swiss",
    "rhinoceros", "cosmos", "paris", "texas", "mercedes", "us", "always", "perhaps", "overseas",
    "upstairs", "downstairs", "outdoors", "indoors", "besides", "sometimes",
}  # fmt: skip
"""Words in -s that are neither plurals nor verbs that could follow a noun."""
VERBS = {
    "appears", "applies", "arrives", "asks", "attempts", "attends", "barks", "bends", "bites",
    "bounces", "breaks", "bursts", "buys", "carries", "catches", "celebrates", "chases", "chews",
    "claps", "clears", "climbs", "clings", "comes", "competes", "contains", "cooks", "crashes",
    "crawls", "cries", "crouches", "dances", "dashes", "demonstrates", "digs", "dines", "dips",
    "dives", "does", "drags", "draws", "drives", "eats", "enjoys", "enters", "explores", "extends",
    "features", "feeds", "fetches", "fights", "flies", "flings", "flips", "flutters", "follows",
    "frolics", "gallops", "gathers", "gazes", "gets", "gives", "glides", "goes", "grabs", "grazes",
    "greets", "grinds", "grows", "hangs", "helps", "hits", "huddles", "hugs", "jogs", "keeps",
    "kicks", "kisses", "kneels", "knows", "laughs", "launches", "leads", "leans", "leaps", "lets",
    "licks", "lifts", "listens", "lounges", "loves", "makes", "moves", "opens", "overlooks",
    "paddles", "pauses", "pedals", "peeks", "peers", "performs", "photographs", "picks", "plunges",
    "poses", "pounces", "pours", "prepares", "pulls", "punches", "pushes", "puts", "reaches",
    "readies", "reads", "removes", "rests", "retrieves", "returns", "rushes", "says", "sees",
    "sells", "serves", "shakes", "shares", "shines", "shoots", "shows", "sings", "sleeps", "smells",
    "smokes", "sniffs", "soars", "speaks", "speeds", "splashes", "sprints", "squats", "stares",
    "stays", "steals", "steers", "swims", "swoops", "tackles", "takes", "talks", "teaches", "tells",
    "throws", "tosses", "touches", "tries", "trots", "tugs", "turns", "uses", "wades", "waits",
    "wears", "wrestles", "writes", "yawns",
}  # fmt: skip
"""Verbs in -s that are seldom plural nouns too."""
ANIMATE = {
    "animal", "athlete", "beagle", "bear", "bee", "bird", "boxer", "bull", "bulldog", "butterfly",
    "camel", "camper", "cat", "catcher", "clown", "collie", "cow", "cowboy", "dalmation", "deer",
    "dog", "duck", "eagle", "elephant", "everyone", "fox", "giraffe", "goalie", "goat", "greyhound",
    "group", "horse", "husky", "jogger", "kayaker", "kitten", "lab", "labrador", "lion", "member",
    "monkey", "owl", "parent", "passenger", "pig", "poodle", "puppy", "quarterback", "rabbit",
    "racer", "retriever", "scout", "seagull", "sheep", "shepherd", "shopper", "somebody", "someone",
    "spectator", "squirrel", "swan", "terrier", "tiger", "vendor", "wakeboarder", "wolf",
    "wrestler", "youth", "zebra",
}  # fmt: skip
"""Beside `PERSON`, what acts: a word in -s after it is taken for a verb, as in "the dog barks"."""
LOOSE = {
    "airborne", "almost", "alone", "alongside", "also", "asleep", "ate", "away", "barefoot", "both",
    "came", "caught", "do", "downhill", "each", "fell", "flew", "got", "high", "i", "indoors",
    "left", "midair", "onstage", "outdoors", "quickly", "ran", "rode", "sat", "seated", "slept",
    "stood", "then", "threw", "together", "took", "underwater", "uphill", "upright", "upside",
    "upstairs", "we", "went", "where", "will", "wore", "would", "you",
}  # fmt: skip
"""Adverbs, pronouns and other verbs that may follow a noun phrase, and are never its head."""
SEVERAL = {
    "some", "several", "many", "few", "two", "three", "four", "five", "six", "these", "those",
    "various", "multiple", "other",
}  # fmt: skip
"""What stands before several things, after which no verb ends in -s."""
ONE = {"a", "an", "one", "another", "this", "that", "each"}
"""What stands before one thing: "a man climbs" is about the man."""
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
    if word in SINGULAR:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word if len(word) < 4 or word.endswith(("ss", "us", "is")) else word.removesuffix("s")


ALIVE = ANIMATE | PERSON
BASES = {singular(verb) for verb in VERBS}
"""The verbs as they follow a plural: "catch" of "catches"."""


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
        before = ""
        while rest and rest[0] in ARTICLES | ENDS:
            before = rest.pop(0)
        if len(rest) > 1 and _is_verb(rest[0]) and _may_continue(rest[1]):
            rest.pop(0)  # "a smiling woman"
        if not rest or _is_verb(rest[0]):
            return None
        ends = (at for at in range(1, len(rest)) if not _continues(rest, at))
        length = next(ends, len(rest))
        after = rest[length] if length < len(rest) else ""
        phrase = _without_verb(rest[:length], before, after)
        if phrase[-1] not in QUANTITIES or after != "of" or len(phrase) < length:
            return singular(phrase[-1])
        rest = rest[length + 1 :]


def _without_verb(phrase: Sequence[str], before: str, after: str) -> Sequence[str]:
    """A noun phrase up to its head, without a verb that `ENDS` lacks and what comes after that.

    Args:
        phrase: all words that might belong to it.
        before: the determiner before it, or an empty text.
        after: the word after it, or an empty text.
    """
    length = _head_length(phrase, before, after)
    noun = _plural(phrase[-1]) or phrase[-1] in ALIVE
    if length == len(phrase) > 1 and not noun and after in DETERMINERS and after != "that":
        length -= 1  # "a boy threw a ball"
    while length > 1 and _is_loose(phrase[length - 1]):
        length -= 1
    return phrase[:length]


def _head_length(phrase: Sequence[str], before: str, after: str) -> int:
    """How many words of a phrase come up to its head, if that is a plural, or a verb or "and" comes
    after it; else all. For the arguments see `_without_verb`."""
    start = 0  # where the words about the head begin: after the "'s" of "a man 's hand"
    for at, word in enumerate(phrase):
        if word == "'s":
            start = at + 1
        if word == "and" and at and _joins_another(phrase, at):
            return at
        if not _plural(word) or phrase[at + 1 : at + 2] == ["'s"]:
            continue
        if not all(map(_describes, phrase[start:at])):  # there is a noun before this word
            if phrase[at - 1] == "and":
                return at - 1  # "a boat and kayaks float"
            if before not in SEVERAL and _is_finite(phrase, at, before in ONE, after):
                return at  # "a man wears sunglasses"
        if before in SEVERAL or (before not in ONE and not _is_modifier(phrase, at)):
            return at + 1  # "two people hug"
    return len(phrase)


def _joins_another(phrase: Sequence[str], at: int) -> bool:
    """Whether the "and" here comes after the head: "a man and woman hug", unlike "a black and white
    dog" and "a wolf and moon tattoo"."""
    after = phrase[at + 1 :]
    if not after:
        return True
    if phrase[at - 1] not in ALIVE:
        return after[0] == "other"
    return _describes(after[0]) or not (ALIVE | BASES).isdisjoint(after)


def _is_modifier(phrase: Sequence[str], at: int) -> bool:
    """Whether a plural describes what follows: "girls" of "the girls tennis team"."""
    after = phrase[at + 1 :]
    if len(after) < 2 or phrase[at] in IRREGULAR or after[0] in BASES:
        return False
    return not (_plural(after[-1]) or any(map(_is_loose, after)))


def _is_finite(phrase: Sequence[str], at: int, one: bool, after: str) -> bool:
    """Whether a word that looks like a plural is the verb of the noun before it.

    Args:
        phrase: as for `_without_verb`.
        at: the word's place in it.
        one: whether the phrase is surely about one thing.
        after: as for `_without_verb`.
    """
    word, following = phrase[at], [*phrase[at + 1 :], after][0]
    if _describes(phrase[at - 1]):
        return False  # "a blond haired girls"
    if word in VERBS:
        return True
    if not word.endswith("s") or word.endswith("ics"):
        return False
    if not one and (singular(word) in ALIVE or _is_verb(following) or following in BE):
        return False  # "football players", "cat figurines are"
    if singular(phrase[at - 1]) in ALIVE:
        return True
    if one:  # "a" goes with no plural: "a robin feeds chicks", unlike "a boston celtics hat"
        return _plural(phrase[-1])
    return following in DETERMINERS and following != "that"


def _describes(word: str) -> bool:
    """Whether a word before a noun only describes it: "brown", "haired"."""
    return word in ADJECTIVES | {"and"} or (word.endswith("ed") and word not in NOT_DONE)


def _is_loose(word: str) -> bool:
    """Whether a word may come after the head, but isn't the head."""
    adverb = word.endswith("ly") and word not in NOUNS_IN_LY
    return adverb or word in LOOSE | {"and", "'s"}


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
    return not alike(noun).isdisjoint(map(singular, words))


@cache
def alike(noun: str) -> frozenset[str]:
    """A noun, in the singular, and the other words for it."""
    persons = PERSON if noun == "person" else {"person"} if noun in PERSON else set()
    return frozenset({noun} | persons).union(*(group for group in SAME if noun in group))
