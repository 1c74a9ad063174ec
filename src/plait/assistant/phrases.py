"""Which text a request wants translated, told by the shapes that such requests have in English."""

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

# What the words in capitals of the shapes below stand for; each may hold those before it.
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
"""Requests that hold no text of their own: what was said last is meant."""
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
"""Requests that hold the text; the first that fits."""


def _compiled(shape: str) -> re.Pattern[str]:
    for name, meaning in reversed(WORDS.items()):
        shape = shape.replace(name, meaning)
    return re.compile(shape + r"[ .?!]*", re.I)


_POINTING = [_compiled(shape) for shape in POINTING]
_HOLDING = [_compiled(shape) for shape in HOLDING]
# A quotation mark that opens, and those that close it.
_MARKS = [
    (re.compile(rf"(?<!\w){marks[0]}"), re.compile(rf"[{marks[1:]}](?!\w)"))
    for marks in ('""', "“”“", "„“”", "«»", "»«", "''", "‘’")
]
_COLON = re.compile(r"(?<!\d):|:(?!\d)")
_ENDS_IN_LANGUAGE = _compiled("TEXT[ ,]+INTO")
_LANGUAGE = _compiled("LANGUAGE")


def without_quotes(request: str) -> str:
    """A request without the words that it quotes, unless they are all of it."""
    start, end = _quoted(request)
    left = f'{request[:start]}""{request[end:]}' if end else request
    return left if re.search(r"\w", left) else request


def openings(request: str) -> list[str]:
    """What may ask for all that follows: the words before a colon, and the first few."""
    head, *behind = _COLON.split(request, maxsplit=1)
    words = request.split()
    few = [" ".join(words[:FEW])] if len(words) > FEW else []
    return ([f"{head}:"] if behind and re.search(r"\w", head) else []) + few


def to_translate(request: str, last: str | None) -> str | None:
    """The text that a request wants translated: what it quotes; what stands behind its colon; what
    its shape holds; the last answer, where it only points at one. None where none of these is
    there."""
    request = " ".join(request.split()).rstrip(" :")
    quoted = request[slice(*_quoted(request))]
    if re.search(r"\w", quoted):
        return _unquoted(quoted)
    head, *behind = _COLON.split(request, maxsplit=1)
    if behind and behind[0].strip() and _points(head):
        return _behind(behind[0].strip(), head)
    if not _points(request):
        return _held(request)
    return None if "following" in request.lower() else last


def _quoted(request: str) -> tuple[int, int]:
    """From where the first mark opens to behind the last that closes it; (0, 0) where none does."""
    found = []
    for opens, closes in _MARKS:
        first, ends = opens.search(request), [mark.end() for mark in closes.finditer(request)]
        if first and ends and ends[-1] - first.end() > 1:  # there is something in between
            found.append((first.start(), ends[-1]))
    return min(found, default=(0, 0))


def unquoted(text: str) -> str:
    """A text that is all in quotation marks, without them; another one as it is."""
    return _unquoted(text) if text and _quoted(text) == (0, len(text)) else text


def _unquoted(text: str) -> str:
    """Without the quotation marks at its ends, and without the same ones within."""
    return re.sub(rf"(?<!\w){text[0]}|{text[-1]}(?!\w)", "", text).strip()


def _points(request: str) -> bool:
    return any(shape.fullmatch(request) for shape in _POINTING)


def _behind(text: str, head: str) -> str:
    """What stands behind a colon, without its language where none stands before."""
    found = None if _LANGUAGE.search(head) else _ENDS_IN_LANGUAGE.fullmatch(text)
    return found["text"] if found else text


def _held(request: str) -> str | None:
    for shape in _HOLDING:
        if found := shape.fullmatch(request):
            polite = found.groupdict().get("polite")
            text = found["text"].rstrip(" ?" if polite else " ")
            return text if re.search(r"\w", text) else None
    return None
