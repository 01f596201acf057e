"""How names, texts and questions become words for the index.

A document's name is split into words (`os.path.join` -> os path join, `getLogger` -> get Logger), its text into a first
paragraph and the rest. A question becomes terms that are safe to hand to FTS5, which has a query language of its own.

What it is not: a tokenizer for a model, or a stemmer; FTS5's porter tokenizer stems both sides alike.

    python -m pytest tests/retrieval/test_text.py
"""

from __future__ import annotations

import re

from septet.data.documents import Document

__all__ = [
    "STOP_WORDS",
    "content_words",
    "encoder_text",
    "frame",
    "literals",
    "paragraphs",
    "split_name",
    "terms",
    "title",
    "words",
]

STOP_WORDS = frozenset(
    "a about all also am an and any are as at be because been but by can could did do does doing done for from get give had has"
    " have having he her here him his how i if in into is it its just let like make may me might mine more most must my need no"
    " nor not of off on one only or other our ours out over own please shall she should show so some such tell than that the"
    " their them then there these they this those to too under up us use used using very want was way we well were what when"
    " where which while who whom whose why will with without would you your yours".split()
)
"""English words that say how something is asked and not what; a question made of nothing else keeps them."""

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LITERAL = re.compile(r"`([^`\s]+)`|([^\W\d]\w*(?:\.[^\W\d]\w*)+)|([^\W\d]\w*)(?=\(\))|\b(\w*[^\W_]_\w+)\b")
_ASKING = re.compile(
    r"^(?:please\s+)?(?:(?:how|what|which|where|when)(?:'s|\s+(?:do|does|can|could|should|would|to|is|are))?"
    r"(?:\s+(?:i|you|we|one|the))?(?:\s+to)?|can\s+(?:i|you|we)|is\s+there\s+a\s+way\s+to|i\s+(?:want|need)\s+to)\s+",
    re.IGNORECASE,
)


def split_name(name: str) -> str:
    """Return the words of a qualified name.

    >>> split_name("logging.handlers.RotatingFileHandler")
    'logging handlers Rotating File Handler'
    """
    return " ".join(part for word in _WORD.findall(name) for part in _CAMEL.split(word) if part)


def paragraphs(document: Document) -> tuple[str, str]:
    """Return (first paragraph on one line, the rest) of a document's own words, without its heading line."""
    text = str(document.meta.get("doc") or "") or document.text
    parts = [part for part in re.split(r"\n[ \t]*\n", text.strip()) if part.strip()]
    if not parts:
        return "", ""
    return " ".join(parts[0].split()), "\n\n".join(parts[1:])


def title(document: Document) -> str:
    """Return what people call the document: its title where its source gives one, else its name with the signature."""
    given = document.meta.get("title")
    if given:
        return str(given)
    name = document.name or document.id
    signature = str(document.meta.get("signature") or "")
    last = name.rsplit(".", 1)[-1]
    return name + signature[len(last) :] if signature.startswith(f"{last}(") else name


def encoder_text(document: Document) -> str:
    """Return what the encoder reads: "title: first paragraph"."""
    return f"{title(document)}: {paragraphs(document)[0]}"


def frame(question: str, about: str) -> str:
    """Return the question as a whole sentence that says what the documents are about; its own "how do I" is taken off first.

    >>> frame("how can I join two paths?", "Python")
    'How do I join two paths in Python?'
    """
    core = _ASKING.sub("", question.strip()).rstrip("?.! ")
    return f"How do I {core} in {about}?" if core else question


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in order; letters and digits of any script."""
    return [word.lower() for word in _WORD.findall(text)]


def terms(question: str) -> list[str]:
    """Return the distinct words to search for: no stop words unless there is nothing else, no FTS5 syntax, at most 64."""
    found = list(dict.fromkeys(words(question)))
    return ([word for word in found if word not in STOP_WORDS] or found)[:64]


def literals(question: str) -> list[str]:
    """Return the names that a question writes out: dotted, in backquotes, with an underscore inside, or before "()".

    >>> literals("does os.path.join or zip() add a slash?")
    ['os.path.join', 'zip']
    """
    found = [next(group for group in match.groups() if group) for match in _LITERAL.finditer(question)]
    return list(dict.fromkeys(name.removesuffix("()").strip(".") for name in found))


def content_words(text: str) -> set[str]:
    """Return the words that carry meaning, crudely stemmed, for comparing a sentence with a passage."""
    return {_stem(word) for word in words(text) if word not in STOP_WORDS}


def _stem(word: str) -> str:
    # enough for "returns" ~ "returned" ~ "returning"; FTS5's porter is not reachable from Python
    for ending in ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + ("y" if ending in {"ies", "ied"} else "")
            break
    return word.removesuffix("e") if len(word) > 3 else word
