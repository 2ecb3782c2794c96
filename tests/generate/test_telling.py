"""What a request tells its user: words that are left out or unknown, avatars that are kept or replaced."""

import json

import pytest
from PIL import Image

from rodin.generate import requests


def pixels(paths):
    return [Image.open(path).tobytes() for path in paths]


def test_what_the_text_tower_leaves_out_is_told_before_the_work_and_kept_in_the_metadata(trained, tmp_path):
    long, lines = "a person with red hair " * 7, []
    made = requests.sample_avatar(trained.path, text=long + "blue", output=tmp_path / "a", tell=lines.append)
    words = [*long.split(), "blue"]
    used = " ".join(words[:30])  # 36 words of one token each; a start and an end token take room
    left = " ".join(words[30:])
    assert made["left_out"] == [left]
    assert [line for line in lines if "32 tokens" in line] == [
        f"text is longer than the 32 tokens that the text tower takes; left out: {left!r}"
    ]
    about = json.loads(made["metadata"].read_text())
    assert about["prompt"] == long + "blue"
    assert about["cut"] == [{"text": long + "blue", "used": used, "left_out": left}]
    again = requests.sample_avatar(trained.path, text=used, output=tmp_path / "b", tell=lines.append)
    assert pixels(made["views"]) == pixels(again["views"])
    assert again["left_out"] == []
    assert "cut" not in json.loads(again["metadata"].read_text())


def test_every_text_of_an_edit_and_of_a_crowd_is_read(trained, tmp_path):
    long, lines = "a person with red hair " * 7, []
    edits = {"target": long, "source": [long + "x", "a man"], "text": long + "y"}
    made = requests.edit_avatar(trained.path, **edits, output=tmp_path / "a", tell=lines.append)
    assert len(made["left_out"]) == 3
    assert [line.split(" is ")[0] for line in lines if "32 tokens" in line] == ["target text", "source text", "text"]
    lines.clear()
    crowd = requests.sample_avatars(trained.path, texts=[long, "a man"], output=tmp_path / "b", tell=lines.append)
    assert [len(one["left_out"]) for one in crowd] == [1, 0]
    assert sum("32 tokens" in line for line in lines) == 1


def test_words_without_meaning_to_the_run_are_told(trained, tmp_path):
    lines = []
    requests.sample_avatar(trained.path, text="a person with zebra hair", output=tmp_path / "a", tell=lines.append)
    assert lines == ["text: the run's CLIP was trained on no caption with 'zebra', and cannot know what that means"]


@pytest.mark.usefixtures("small_pictures")
def test_the_same_request_is_kept_and_another_one_is_told_of(trained, tmp_path):
    out, lines = tmp_path / "a", []

    def ask(**named):
        lines.clear()
        made = requests.sample_avatar(trained.path, output=out, tell=lines.append, **named)
        return made["metadata"].stat().st_ino

    first = ask(seed=1)
    assert lines == []
    assert ask(seed=1) == first
    assert lines == [f"{out}: this very avatar is there already and kept"]
    second = ask(seed=2)
    assert second != first
    assert lines == [f"{out}: another avatar (seed '1') is replaced"]
    (out / "avatar-00.png").write_bytes(b"damaged")
    assert ask(seed=2) != second
    assert lines == [f"{out}: the same avatar, of other models or settings, or damaged, is replaced"]
    edited = requests.edit_avatar(trained.path, target="a man", output=tmp_path / "e")
    kept = requests.edit_avatar(trained.path, target="a man", output=tmp_path / "e", tell=lines.append)
    assert "kept" in lines[-1]
    assert kept == edited
    crowd = [requests.sample_avatars(trained.path, count=2, seed=seed, output=tmp_path / "c") for seed in (4, 4)]
    assert crowd[0] == crowd[1]
    lines.clear()
    requests.sample_avatars(trained.path, count=2, seed=4, output=tmp_path / "c", tell=lines.append)
    assert lines == [f"{tmp_path / 'c'}: 2 of 2 avatars are there already and kept"]
    lines.clear()
    requests.sample_avatars(trained.path, count=2, seed=5, output=tmp_path / "c", tell=lines.append)
    assert lines == [f"{tmp_path / 'c' / '0000'}: another avatar (seed '4') is replaced; and 1 more"]
