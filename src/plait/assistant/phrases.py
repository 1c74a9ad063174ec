"""Which text a request wants translated, by the patterns of such requests in English."""

from __future__ import annotations

import re

LANGUAGES = (
    "Afrikaans|Albanian|Arabic|Armenian|Basque|Belarusian|Bengali|Bosnian|Breton|"
    "Bulgarian|Cantonese|Catalan|Chinese|Croatian|Czech|Danish|Dutch|English|Esperanto|"
    "Estonian|Farsi|Filipino|Finnish|Flemish|French|Gaelic|Galician|Georgian|German|"
    "Greek|Gujarati|Hebrew|Hindi|Hungarian|Icelandic|Indonesian|Irish|Italian|Japanese|"
    "Kazakh|Korean|Kurdish|Latin|Latvian|Lithuanian|Luxembourgish|Macedonian|Malay|"
    "Maltese|Mandarin|Mongolian|Nepali|Norwegian|Persian|Polish|Portuguese|Punjabi|"
    "Romanian|Russian|Serbian|Slovak|Slovenian|Somali|Spanish|Swahili|Swedish|Tagalog|"
    "Tamil|Telugu|Thai|Tibetan|Turkish|Ukrainian|Urdu|Uzbek|Vietnamese|Welsh|Yiddish|"
    "Zulu"
)

FEW = 5  # words of an opening

# What the capitals in the patterns below stand for; each may use those before it.
WORDS = {
    "LANGUAGE": rf"(?:(?:Swiss|Brazilian|British|American|simple) )?(?:{LANGUAGES})\b",
    "CLOSE": r"(?:[ ,]+(?:please|thanks|thank you|for me|now|if you can)){0,4}",
    "INTO": r"(?:but )?(?:from LANGUAGE )?(?:in|into|to) LANGUAGECLOSE",
    "FIRST": r"(?:(?!translat).*\bLANGUAGE[^,]*, )?"  # I speak no English, ...
    r"(?:(?:please|hey|hi|hello|ok|okay|now|and|so|well|then|yes|thanks|thank you|assistant|just|"
    r"help me(?: to)?|tell me|do you know|(?P<polite>(?:can|could|would|will) you)|"
    r"I(?:'d like| would like| want)(?: you)? to(?: know)?)[ ,]+){0,6}",
    "AGAIN": r"(?: again| once more| too)?",
    "HOW_SAY": r"how (?:(?:do|does|would|should|can|could) (?:you|I|we|one|they|people)|to) "
    r"(?:say|write|put|call)",
    "WHAT_IS": r"what(?: is|'s|’s)",
    "VERB": r"(?:translate|say|write|put|turn|render|repeat|give me|make|do|have|get|read|show me|"
    r"HOW_SAY|WHAT_IS|what does|what would|(?:could|can|may) I (?:have|get|hear|see)|"
    r"I (?:need|want|would like)|I'd like|is there|can|could)",
    "IT": r"(?:(?:all of )?(?:it|this|that|these|those|them)(?: one| all)?|the same(?: thing)?|"
    r"the following|what you(?: just)? said|(?:(?:the|this|that|your|last|previous|following|whole|"
    r"LANGUAGE) )+(?:text|caption|answer|sentence|translation|description|reply|version)"
    r"(?: of (?:it|this))?|"
    r"an? (?:LANGUAGE )?(?:translation|version)(?: of (?:it|this|that))?)",
    "TEXT": r"(?:the (?:words?|phrase|sentence) )?(?P<text>.+?)",
    "WHOLE": r"(?:the (?:words?|phrase|sentence) )?(?P<text>.+?[.?!]*)",  # with its own full stop
}
POINTING = (
    "FIRST(?:VERB )?IT(?: be| mean| called| translated| be translated)?AGAIN(?:[ ,]+INTO)?CLOSE",
    "FIRST(?:translate|translation|once more|again)(?! thank)AGAIN(?:[ ,]+INTO)?CLOSE",
    "FIRSTVERB(?: INTO)?",
    "(?:(?:and|now|so|then|ok|please)[ ,]+){0,6}(?:INTO|LANGUAGECLOSE)",
)
"""Requests without a text of their own: they mean the last answer."""
HOLDING = (
    "FIRSTtranslate(?: for me)?(?: INTO)? WHOLE(?:[ ,]+INTO)?CLOSE",
    "FIRST(?:(?:WHAT_IS|give me|I need|make|is there|(?:can|could|may) I (?:have|get)) )?"
    "(?:an? |the )?(?:LANGUAGE )?(?:translation|version|word|term|phrase|name) (?:of|for) "
    "TEXT(?:[ ,]+INTO)?CLOSE",
    "FIRST(?:WHAT_IS )?(?:the )?LANGUAGE for TEXTCLOSE",
    "FIRSTHOW_SAY(?: INTO)? TEXT(?:[ ,]+INTO)?CLOSE",
    "FIRST(?:(?:I need|I want|have|get|can|could|how is) )?TEXT (?:be )?translated(?: INTO)?CLOSE",
    "FIRSTwhat (?:does|do) TEXT mean(?: INTO)?CLOSE",
    "FIRSTwhat would TEXT be INTO",
    "FIRSTWHAT_IS (?!your|my|his|her|the time)TEXT(?: called)? INTO",  # what is your name
    "FIRST(?:say|write) TEXT[ ,]+INTO",
    "FIRST(?:put|turn|render) TEXT into LANGUAGECLOSE",
    "FIRSThow is TEXT (?:said|written|called) INTO",
    "(?P<text>.+?), (?:HOW_SAY|WHAT_IS|say) (?:it|this|that) INTO",
    "TEXT[ ,]+INTO",
)
"""Requests that hold their text; the first match counts."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _compiled(pattern: str) -> re.Pattern[str]:
    for name, meaning in reversed(WORDS.items()):
        pattern = pattern.replace(name, meaning)
    return re.compile(pattern + r"[ .?!]*", re.I)


_POINTING = [_compiled(pattern) for pattern in POINTING]
_HOLDING = [_compiled(pattern) for pattern in HOLDING]
# An opening quotation mark, and those that close it.
_MARKS = [
    (re.compile(rf"(?<!\w){marks[0]}"), re.compile(rf"[{marks[1:]}](?!\w)"))
    for marks in ('""', "“”“", "„“”", "«»", "»«", "''", "‘’")
]
_COLON = re.compile(r"(?<!\d):|:(?!\d)")
_ENDS_IN_LANGUAGE = _compiled("TEXT[ ,]+INTO")
_LANGUAGE = _compiled("LANGUAGE")


def without_quotes(request: str) -> str:
    """A request with empty quotation marks for what it quotes, unless nothing else is left."""
    start, end = _quoted(request)
    rest = f'{request[:start]}""{request[end:]}' if end else request
    return rest if re.search(r"\w", rest) else request


def openings(request: str) -> list[str]:
    """The parts that may ask for all of the rest: what precedes a colon, and the first words."""
    head, *rest = _COLON.split(request, maxsplit=1)
    words = request.split()
    few = [" ".join(words[:FEW])] if len(words) > FEW else []
    return ([f"{head}:"] if rest and re.search(r"\w", head) else []) + few


def to_translate(request: str, last: str | None) -> str | None:
    """The text that a request wants translated: what it quotes, what follows its colon, what its
    pattern holds, or the last answer if it only points at one. None if there is none of these."""
    request = " ".join(request.split()).rstrip(" :")
    quoted = request[slice(*_quoted(request))]
    if re.search(r"\w", quoted):
        return _strip_quotes(quoted)
    head, *rest = _COLON.split(request, maxsplit=1)
    if rest and rest[0].strip() and _points(head):
        text = rest[0].strip()
        match = None if _LANGUAGE.search(head) else _ENDS_IN_LANGUAGE.fullmatch(text)
        return match["text"] if match else text
    if _points(request):
        return None if "following" in request.lower() else last
    for pattern in _HOLDING:
        if match := pattern.fullmatch(request):
            polite = match.groupdict().get("polite")
            text = match["text"].rstrip(" ?" if polite else " ")
            return text if re.search(r"\w", text) else None
    return None


def unquoted(text: str) -> str:
    """A text without the quotation marks around all of it, if there are any."""
    return _strip_quotes(text) if text and _quoted(text) == (0, len(text)) else text


def _quoted(request: str) -> tuple[int, int]:
    """The span from the first opening mark to the last closing one; (0, 0) without quotes."""
    spans = []
    for opens, closes in _MARKS:
        first, ends = opens.search(request), [mark.end() for mark in closes.finditer(request)]
        if first and ends and ends[-1] - first.end() > 1:  # there is something in between
            spans.append((first.start(), ends[-1]))
    return min(spans, default=(0, 0))


def _strip_quotes(text: str) -> str:
    """Without the quotation marks at both ends, and the same ones within."""
    return re.sub(rf"(?<!\w){text[0]}|{text[-1]}(?!\w)", "", text).strip()


def _points(request: str) -> bool:
    return any(pattern.fullmatch(request) for pattern in _POINTING)
