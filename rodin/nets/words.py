"""The words of a text that a text tower reads, which takes a limited number of tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection

Encode = Callable[[str], list[int]]  # tokens of a text, without start and end


def whole_words(text: str, room: int, encode: Encode) -> tuple[str, str]:
    """Divide a text where a text tower ends to read it: after the last word that fits.

    Args:
        text: words; where not even the first one fits, as in scripts without spaces, it is divided within.
        room: tokens that fit.
        encode: the tokenizer.

    Returns:
        what is read, what is left out; together the text, but for the space between.
    """
    if len(encode(text)) <= room:
        return text, ""

    def fits(ends: list[int]) -> int:
        """How many of the ends of a beginning, in order, fit."""
        return bisect_right(ends, room, key=lambda end: len(encode(text[:end])))

    words = [word.end() for word in re.finditer(r"\S+", text)]
    if count := fits(words):
        end = words[count - 1]
    else:
        end = fits(list(range(1, words[0])))
    return text[:end], text[end:].lstrip()


def unseen_words(text: str, seen: Collection[int], encode: Encode) -> list[str]:
    """Words of a text, without punctuation, that have a token which is not among the seen ones; each once, in order."""
    words = dict.fromkeys(re.findall(r"[\w'-]+", text))
    return [word for word in words if not set(encode(word)) <= set(seen)]
