"""What the small CLIP learns from: people's images, and what is true of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rodin.config import Config
from rodin.data.rows import SubjectField, training_subjects
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards


@dataclass(frozen=True)
class Captioned:
    """Images and captions of some people.

    Args:
        images: of person i in item i.
        shown: the first so many images of each are learned from.
        captions: all that are told of each.
        facts: for each attribute the captions that exclude each other; empty where the store tells none.
        truth: [N, A] which of an attribute's captions is true of a person.
    """

    images: SubjectField
    shown: int
    captions: list[list[str]]
    facts: list[list[str]]
    truth: np.ndarray

    @property
    def texts(self) -> list[str]:
        """All different captions."""
        every = [*self.captions, *self.facts]
        return list(dict.fromkeys(text for texts in every for text in texts))


def captioned(config: Config, folder: RunFolder) -> Captioned:
    """The people that CLIP learns from: those rendered for it alone, else the run's training people.

    Raises:
        StoreError: no such person has a row.
    """
    if not config.portrait_count():
        views = Shards(folder.stage("render"), "views")
        subjects = training_subjects(config, views)
        captions = [captions_of(views, subject, config.data.captions) for subject in subjects]
        return _captioned(views, subjects, captions, config.data.views - config.fit.held_out_views)
    views, subjects = portraits_of(config, folder)
    captions = [list(dict.fromkeys(views.meta(subject)["captions"])) for subject in subjects]
    return _captioned(views, subjects, captions, config.clip.views)


def portraits_of(config: Config, folder: RunFolder) -> tuple[Shards, list[str]]:
    """The views of the people of `portraits`, and the ids of those with a row.

    Raises:
        StoreError: none has.
    """
    views = Shards(folder.stage("portraits"), "views")
    subjects = [subject for subject in config.portrait_subjects() if subject in views]
    if not subjects:
        raise StoreError(f"{views.folder}: none of clip.subjects has a row; run stage portraits")
    return views, subjects


def captions_of(views: Shards, subject: str, count: int) -> list[str]:
    """The first `count` captions of a subject; repeated from the first if there are fewer."""
    meta = views.meta(subject)
    captions = meta.get("captions") or [meta.get("caption") or "a person"]
    return [captions[number % len(captions)] for number in range(count)]


def excluding(facts: Sequence[dict[str, str]]) -> tuple[list[list[str]], np.ndarray]:
    """Attributes that tell people apart.

    Args:
        facts: of each person, attribute -> the caption that is true.

    Returns:
        for each attribute that every person has and that is not the same of all, its different captions; and [N, A]
        which of them is true of a person.
    """
    named = [name for name in (facts[0] if facts else {}) if all(name in one for one in facts)]
    told = {name: list(dict.fromkeys(one[name] for one in facts)) for name in named}
    told = {name: texts for name, texts in told.items() if len(texts) > 1}
    truth = [[texts.index(one[name]) for name, texts in told.items()] for one in facts]
    return list(told.values()), np.array(truth, np.int64).reshape(len(facts), len(told))


def _captioned(views: Shards, subjects: list[str], captions: list[list[str]], shown: int) -> Captioned:
    metas: list[dict[str, Any]] = [views.meta(subject) for subject in subjects]
    facts, truth = excluding([meta.get("facts") or {} for meta in metas])
    return Captioned(SubjectField(views, subjects, "rgba", shown), shown, captions, facts, truth)
