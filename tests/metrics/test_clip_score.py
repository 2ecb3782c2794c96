"""CLIP score by hand, its rows, and its place in the table of prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.tables.tables import render_table, table
from rodin.evaluation.clip_score import with_clip_scores
from rodin.metrics.clip_score import clip_scores
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder


def test_scores_by_hand() -> None:
    pictures, texts = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([[1.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(clip_scores(pictures, texts), [[50 * np.sqrt(2), 0], [50 * np.sqrt(2), 0]])
    with pytest.raises(ValueError, match="wanted one width"):
        clip_scores(pictures, np.ones((1, 3)))
    with pytest.raises(ValueError, match="texts: a feature row is zero"):
        clip_scores(pictures, np.zeros((1, 2)))


VECTORS = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8]}


class Store:
    """Samples whose picture is their embedding."""

    prompts = ("a", "a", "b", "c")
    subjects = ("nothing", "0", "1", "2", "3")

    def meta(self, one):
        return {"kind": "unconditional"} if one == "nothing" else {"kind": "prompt", "prompt": self.prompts[int(one)]}

    def read(self, one, field, row):
        assert (field, row) == ("rgba", 0)
        return {"0": [1.0, 0.0], "1": [0.6, 0.8], "2": [0.0, -1.0], "3": [0.6, 0.8]}[one]


class Tower:
    """A CLIP of which every picture is its own embedding."""

    clip = None

    def __init__(self):
        self.clip = self

    def latent_from_image(self, picture):
        return torch.tensor([picture])

    def text(self, texts):
        return torch.tensor([VECTORS[text] for text in texts]), None, None


def test_each_prompt_is_scored_with_its_own_words_and_with_those_of_others() -> None:
    rows = [{"stage": "prompts", "sample": one} for one in "0112"] + [{"stage": "frechet", "value": 1.0}]
    told = with_clip_scores(rows, Tower(), Store())
    of = {row["sample"]: row for row in told if "sample" in row}
    assert of["0"]["clip_score"] == pytest.approx(100)
    assert of["0"]["clip_score_others"] == pytest.approx((0 + 60) / 2)
    assert of["1"]["clip_score"] == pytest.approx(60, rel=1e-5)
    assert of["2"]["clip_score"] == 0  # a negative cosine
    assert told[4] == {"stage": "frechet", "value": 1.0}
    assert told[5]["stage"] == "clip-score"
    assert (told[5]["sample"], told[5]["prompt"]) == ("3", "c")
    assert told[5]["clip_score"] == pytest.approx(100, rel=1e-5)
    assert len(told) == 6


def row_of(sample: str, attribute: str, score: float) -> dict:
    hit = {"wanted": "red", "measured": "red", "hit": True, "sample": sample, "prompt": "red"}
    return {"stage": "prompts", "attribute": attribute, "clip_score": score, "clip_score_others": 10.0} | hit


def test_the_table_has_each_avatar_once(tmp_path: Path) -> None:
    rows = [row_of("0", "hair", 20.0), row_of("1", "shirt", 30.0), row_of("2", "shirt", 40.0)]
    rows += [{"stage": "clip-score", "sample": "3", "prompt": "x", "clip_score": 50.0, "clip_score_others": None}]
    write_rows(RunFolder(tmp_path), "evaluate", 0, rows)
    everything, hair, shirt, plain = table(tmp_path, "prompts")
    assert [line["clip_score"] for line in (everything, hair, shirt, plain)] == [30.0, 20.0, 35.0, 50.0]
    assert everything["clip_score_low"] < 30 < everything["clip_score_high"] <= 100
    assert (everything["clip_score_others"], plain["clip_score_others"]) == (10.0, None)
    text = render_table([everything, hair, shirt, plain])
    assert "CLIP score ↑" in text
    assert "none (captions)" in text


def test_runs_of_captions_alone_have_a_table_too(tmp_path: Path) -> None:
    row = {"stage": "clip-score", "sample": "3", "prompt": "x", "clip_score": 50.0, "clip_score_others": 20.0}
    write_rows(RunFolder(tmp_path), "evaluate", 0, [row])
    (line,) = table(tmp_path, "prompts")
    assert (line["prompts"], line["clip_score"], line["hit_rate"]) == (1, 50.0, None)
