"""Words as the caption metrics count them: Penn-Treebank-like tokens without punctuation.

Published caption scores are computed on the tokens of the Stanford PTB tokeniser (Manning et al.,
"The Stanford CoreNLP Natural Language Processing Toolkit", ACL 2014), lower-cased, with a list of
punctuation marks removed (Chen et al., "Microsoft COCO Captions: Data Collection and Evaluation
Server", arXiv:1504.00325). That tokeniser needs Java. This one is a set of general rules, written
from its behaviour on English captions, that needs only ``re``. One difference is meant: a curly
apostrophe is a straight one everywhere, so that ``o'clock`` is one word however it is typed.
"""

from __future__ import annotations

import re

_MARKS = "'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;"
PUNCTUATION = frozenset(_MARKS.split())
"""Tokens that the metrics leave out.

Brackets are in the list in upper case, while the tokens are lower-cased before they are compared
with it: a bracket stays a word (``-lrb-``). Published scores count it, so this does too.
"""

_BEFORE = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&apos;": "'",
    "&nbsp;": " ",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2013": " -- ",
    "\u2014": " -- ",
    "\u2026": " ... ",
    "\u00bd": " 1/2 ",
    "\u00bc": " 1/4 ",
    "\u00be": " 3/4 ",
    "\u00a2": " cents ",
    "\u00a3": "#",
    "\u20ac": "$",
}
"""Written forms that stand for the same token."""

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_BRACKET = re.compile(r"[()\[\]{}]")

_ABBREVIATIONS = (
    "adm|al|ala|apr|ariz|assn|asst|atty|aug|ave|bldg|blvd|bros|calif|capt|cf|cmdr|co|col|colo|conn|"
    "corp|cos|cpl|ct|dak|dec|dept|det|dr|drs|elec|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|hon|"
    "inc|ind|insp|intl|jan|jr|jul|jun|kan|kans|ky|lt|ltd|maj|mar|md|messrs|mich|minn|mlle|mme|mo|"
    "mon|mont|mr|mrs|ms|mt|natl|neb|nev|nov|oct|okla|penn|pfc|ph|plc|pres|prof|pvt|rd|rep|reps|rev|"
    "sen|sens|sep|sept|seq|sgt|spc|sq|sr|st|ste|supt|tel|tenn|thu|thurs|tue|tues|univ|va|vs|vt|wed|"
    "wis|wisc|wyo"
)
"""Words that keep the full stop after them, in either case."""
_CAPITAL_ABBREVIATIONS = (
    "Ark|ARK|Az|AZ|Del|DEL|Ill|ILL|La|LA|Mass|MASS|Miss|MISS|Ore|ORE|Pa|PA|Tex|TEX|Wash|WASH"
)
"""States whose short form is a common word: they keep the stop only with a capital."""
_NUMBER_ABBREVIATIONS = "art|ca|fig|figs|no|nos|op|pp|prop"
"""Words that keep the stop only before a number (no. 5)."""

_LETTER = r"[^\W\d_]"
_SUFFIX = r"(?i:n't|'(?:s|m|d|re|ve|ll))(?!\w)"
_PIECE = r"\w+?(?=(?i:n't)(?!\w))|\w+"  # does|n't: the word stops before its negation
_ACRONYM = rf"(?:{_LETTER}(?:\.{_LETTER})+|(?i:ph\.d))(?:\.(?!\w)|(?!\w|[.]\w))"
_JOINED = rf"{_LETTER}+(?:[.!?]{_LETTER}+)+"  # web addresses, and stops without a space after
_DECIMAL = r"\d+(?:[.,]\d+)+"
_PART = rf"(?:{_ACRONYM}|{_JOINED}|{_DECIMAL}|{_PIECE})"

_RULES = (
    r"https?://[^\s\"<>]*[^\s\"<>.,;:!?')]",
    r"\w[\w.+-]*@\w+(?:\.\w+)*",
    r"&#\d+;",
    r"</?[A-Za-z][^<>]*>",  # a tag of a web page is one token
    r"@[A-Za-z_]\w*|#[A-Za-z]+",
    r"[:;=]-?[()DPp](?!\w)",
    r"-_-",
    # Words with an apostrophe that is part of them.
    r"'[nN](?:'|(?!\w))|(?<!\d)'(?:[1-9]0s(?!\w)|\d\d(?!\w|\.))",
    r"(?i:'(?:em|til|till|cause|tis|twas))(?!\w)",
    rf"(?<!\w)(?i:[odl]'(?!(?:re|ve|ll)(?!\w)){_LETTER}{{2,}}|t'ai|ma'am|c'mon|y'(?=all)|ol')"
    rf"(?:-\w+)*",
    _SUFFIX,
    # Abbreviations with their stop.
    rf"(?i:{_ABBREVIATIONS})\.(?!\w)",
    rf"(?:{_CAPITAL_ABBREVIATIONS})\.(?!\w)",
    rf"(?i:{_NUMBER_ABBREVIATIONS})\.(?=\s*\d)",
    rf"{_LETTER}\.(?!\w)",
    r"(?i:c\+\+|c#|us\$)",
    r"[A-Z]+&[A-Z]+(?!\w)",
    # Numbers, then words; both may be joined by hyphens and slashes.
    r"[-+]\d+(?:[.,]\d+)*(?!\w)",
    r"\d+:\d\d",
    r"\.\d+",
    rf"{_PART}(?:[-/](?=\w){_PART})*",
    # Marks: runs that count as one token, then any other sign alone.
    r"-{5,}|--+|\.\.+|[!?]+|\*+|``|''|>>|<<|\S",
)
_TOKEN = re.compile("(?:" + ")|(?:".join(_RULES) + ")")
_REWRITE = re.compile("|".join(map(re.escape, _BEFORE)))
_RULE_LENGTH = 5  # hyphens in a row that are a drawn line rather than a dash
_SPLIT = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}


def tokenise(sentence: str) -> list[str]:
    """The words of a sentence as the caption metrics count them.

    Lower case; ``don't`` is ``do n't`` and ``dog's`` is ``dog 's``; hyphenated words stay whole;
    punctuation is left out; ``$``, ``%``, ``&``, ``#`` and brackets (``-lrb-``) are words.
    """
    text = _REWRITE.sub(lambda match: _BEFORE[match.group()], sentence)
    words: list[str] = []
    for token in _TOKEN.findall(text):
        # A quotation mark is `` or '' in the treebank, by its side of the phrase.
        stop, dash = not token.strip("."), not token.strip("-") and len(token) < _RULE_LENGTH
        if token == '"' or stop or dash:
            continue
        token = token.lower()
        if "://" not in token:
            token = _BRACKET.sub(lambda match: _BRACKETS[match.group()], token)
        words.extend(_SPLIT.get(token, (token,)))
    return [word for word in words if word not in PUNCTUATION]
