"""Where a text is divided that is longer than the text tower takes, and which of its words are known."""

import importlib

import pytest
import torch

from rodin.nets.clip import Clip
from rodin.nets.words import unseen_words, whole_words


def letters(text):
    """A tokenizer with a token for each letter and none for a space."""
    return [ord(letter) for letter in text if letter != " "]


@pytest.mark.parametrize(
    ("text", "room", "read", "left_out"),
    [
        ("ab cd ef", 6, "ab cd ef", ""),
        ("ab cd ", 4, "ab cd ", ""),
        ("ab cd ef", 5, "ab cd", "ef"),
        ("ab cd ef", 4, "ab cd", "ef"),
        ("ab cd ef", 3, "ab", "cd ef"),
        ("abcdef gh", 4, "abcd", "ef gh"),
        ("abcdef", 6, "abcdef", ""),
        ("abcdef", 0, "", "abcdef"),
    ],
)
def test_a_text_is_divided_after_the_last_word_that_fits(text, room, read, left_out):
    assert whole_words(text, room, letters) == (read, left_out)


def test_unseen_words_are_told_once_and_without_punctuation():
    seen = set(letters("abc-"))
    assert unseen_words("a-b, cad! dac (cad) b'", seen, letters) == ["cad", "dac", "b'"]
    assert unseen_words("abc", set(letters("abc")), letters) == []


@pytest.mark.parametrize("count", [32, 77])
def test_the_tower_reads_exactly_as_many_tokens_as_it_takes(count):
    torch.manual_seed(0)
    clip = Clip.small(
        width=12, image_size=16, patch=8, tower_width=32, image_layers=1, text_layers=1, token_count=count
    )
    fits, more = " ".join(["red"] * (count - 2)), " ".join(["red"] * (count - 1))
    assert clip.fitted(fits) == (fits, "")
    assert clip.fitted(more) == (fits, "red")
    tokenize = importlib.import_module("open_clip").tokenize
    texts = [fits, more, "a man", more + " earrings"]
    assert torch.equal(clip.tokenize(texts), tokenize(texts, context_length=count))
    # a word of three tokens of which one would fit is left out whole
    long_word = " ".join(["red"] * (count - 3)) + " antidisestablishment"
    assert len(clip.tokens("antidisestablishment")) > 1
    assert clip.fitted(long_word) == (" ".join(["red"] * (count - 3)), "antidisestablishment")
    assert torch.equal(clip.text([long_word])[0], clip.text([" ".join(["red"] * (count - 3))])[0])
    chinese = "红" * 200
    used, left_out = clip.fitted(chinese)
    assert used + left_out == chinese
    assert 0 < len(clip.tokens(used)) <= count - 2
