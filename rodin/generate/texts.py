"""Texts that users ask for avatars with: what is refused, and what of them the text tower reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rodin.nets.clip import Clip

Tell = Callable[[str], None]

MOST_CHARACTERS = 2000  # of a text: far more than the 77 tokens of the longest text tower; more is a file by mistake
SHOWN = 60  # characters of a text that a message quotes
MARKS = ("<start_of_text>", "<end_of_text>")  # the tokenizer takes these words for the ends of a text
UNSEEN = ("Cf", "Zs", "Zl", "Zp", "Cc")  # Unicode's classes of characters that show nothing, such as spaces
EXAMPLE = "wanted words such as 'a person with red hair'"


def checked_text(name: str, text: str) -> str:
    """A text with single spaces between its words.

    Args:
        name: what the text is, for messages.
        text: of a user.

    Raises:
        ValueError: it is empty, too long, not Unicode, or holds control characters or marks of the tokenizer.
    """
    if all(unicodedata.category(character) in UNSEEN for character in text):
        raise ValueError(f"{name} is empty; {EXAMPLE}")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{name}: got {len(text)} characters, wanted at most {MOST_CHARACTERS}")
    words = " ".join(text.split())
    for character in words:
        kind = unicodedata.category(character)
        if kind == "Cs":
            raise ValueError(f"{name}: got {words[:SHOWN]!a}, which is not UTF-8; {EXAMPLE}")
        if kind == "Cc":
            raise ValueError(f"{name}: got a control character, {character!a}; {EXAMPLE}")
    for mark in MARKS:
        if mark in words.lower():
            raise ValueError(f"{name}: got {mark}, which the tokenizer takes for an end of the text; {EXAMPLE}")
    return words


def read_texts(clip: Clip, texts: Sequence[tuple[str, str]], tell: Tell | None) -> list[dict[str, Any]]:
    """Find what the text tower reads of texts, and tell of what it leaves out or was never trained on.

    Args:
        clip: the run's.
        texts: name and text of each.
        tell: called with one line for each text that is not read or known as a whole.

    Returns:
        for an avatar's metadata, {"text", "used", "left_out"} of each text that is longer than the text tower takes.

    Raises:
        ValueError: a text without anything to read.
    """
    cut, tell = [], tell or (lambda line: None)
    for name, text in dict.fromkeys(texts):
        used, left_out = clip.fitted(text)
        if not clip.tokens(used):
            raise ValueError(f"{name}: got {text[:SHOWN]!r}, in which the tokenizer finds no word; {EXAMPLE}")
        if left_out:
            cut.append({"text": text, "used": used, "left_out": left_out})
            tell(
                f"{name} is longer than the {clip.token_count} tokens that the text tower takes; left out: {left_out!r}"
            )
        if unseen := clip.unseen(used):
            listed = ", ".join(map(repr, unseen))
            tell(f"{name}: the run's CLIP was trained on no caption with {listed}, and cannot know what that means")
    return cut
