"""Porter's stemmer for English, as rouge-score uses it: the 1980 rules with the changes that NLTK made to them.

    caresses -> caress    ponies -> poni    happily -> happili    relational -> relat

NLTK's changes: a short list of irregular words; -ies and -ied of four letters keep the e; y becomes i only after a consonant;
-fulli, -logi and -bli; -alli is taken off before the other rules of step 2; a stem of a vowel and a consonant ends like *o.

What it is not: a stemmer for other languages, or for display; a stem need not be a word.

Source: Porter 1980, "An algorithm for suffix stripping"; `nltk.stem.porter` for the changes, with which it is compared.

    python -m pytest tests/evals/scorers/test_rouge.py
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["stem"]

IRREGULAR = {form: form for form in "news inning outing canning howe proceed exceed succeed sky".split()}
IRREGULAR |= {"skies": "sky", "dying": "die", "lying": "lie", "tying": "tie"}
IRREGULAR |= {"innings": "inning", "outings": "outing", "cannings": "canning"}


def _rules(text: str) -> list[tuple[str, str]]:
    pairs = (rule.partition(">") for rule in text.split())
    return [(suffix, replacement) for suffix, _, replacement in pairs]


# in each step the first suffix that the word ends with decides, whether or not its condition then holds
STEP_2 = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e ousli>ous ization>ize ation>ate ator>ate "
    "alism>al iveness>ive fulness>ful ousness>ous aliti>al iviti>ive biliti>ble fulli>ful logi>log"
)
STEP_3 = _rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
STEP_4 = "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize".split()


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """Return the stem of a word in lower case."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and len(word) > 2 and _shape(word)[-2] == "c":
        word = word[:-1] + "i"
    word = _derived(word)
    for suffix, replacement in STEP_3:
        if word.endswith(suffix):
            word = _without(word, suffix, replacement, least=1)
            break
    for suffix in STEP_4:
        if word.endswith(suffix):
            if suffix != "ion" or word[:-3].endswith(("s", "t")):
                word = _without(word, suffix, "", least=2)
            break
    if word.endswith("e"):
        rest = word[:-1]
        if _measure(rest) > 1 or (_measure(rest) == 1 and not _ends_short(rest)):
            word = rest
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    """Step 1b."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return _without(word, "eed", "ee", least=1)
    rest = next(
        (word[: -len(end)] for end in ("ed", "ing") if word.endswith(end) and "v" in _shape(word[: -len(end)])), ""
    )
    if not rest:
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if len(rest) > 1 and rest[-1] == rest[-2] and _shape(rest)[-1] == "c":
        return rest if rest[-1] in "lsz" else rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _ends_short(rest) else rest


def _derived(word: str) -> str:
    """Step 2."""
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _derived(word[:-2])
    for suffix, replacement in STEP_2:
        if word.endswith(suffix):
            if suffix == "logi":  # the measure is that of the stem with its l
                return word[:-1] if _measure(word[:-3]) > 0 else word
            return _without(word, suffix, replacement, least=1)
    return word


def _without(word: str, suffix: str, replacement: str, *, least: int) -> str:
    rest = word[: -len(suffix)]
    return rest + replacement if _measure(rest) >= least else word


def _shape(word: str) -> str:
    """Return c for each consonant and v for each vowel; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        shape += "v" if letter in "aeiou" or (letter == "y" and shape.endswith("c")) else "c"
    return shape


def _measure(word: str) -> int:
    """Return m of [C](VC)^m[V]."""
    return _shape(word).count("vc")


def _ends_short(word: str) -> bool:
    """Porter's *o: consonant, vowel, consonant other than w, x, y; or a word of vowel and consonant."""
    shape = _shape(word)
    return shape == "vc" or (re.search("cvc$", shape) is not None and word[-1] not in "wxy")
