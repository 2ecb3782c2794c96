"""A measure of whether a frontal picture shows glasses, a hat or a beard.

It uses no network, and no feature that avatars are conditioned on: histograms of oriented gradients in a fixed part of
the picture, as subjects are aligned, and a linear classifier. It learns from training subjects, whose attributes are
known: from their pictures and from renders of their fitted planes, each also blurred, as avatars are rendered planes
and are softer than pictures. Cross-validation over subjects says how often it is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.feature import hog
from skimage.transform import resize

from rodin.data.pictures import evenly, images_over_white
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks, Stopped
from rodin.store.shards.reader import Shards

# attribute -> top, bottom, left, right of its part of the picture, in shares of the side, found on 160 rendered
# subjects: brows to cheeks; crown to brows; nose to throat. Left and right mirror each other.
REGIONS = {
    "glasses": (0.25, 0.47, 0.28, 0.72),
    "hat": (0.03, 0.34, 0.22, 0.78),
    "beard": (0.41, 0.69, 0.31, 0.69),
}
BEARDS = ("full beard", "goatee")  # hair on the chin; stubble and a moustache lie between a beard and none
SIDE, CELL, BLOCK, ANGLES = 32, 4, 2, 8  # pixels of a part, pixels of a cell, cells of a block, bins of directions
BLUR = 1.5 / 64  # standard deviation of the blur in shares of the side: about the softness of the demo's avatars
KINDS = (("pictures", 0.0), ("blurred pictures", BLUR), ("fits", 0.0), ("blurred fits", BLUR))
PENALTY = 1e-3  # of the squared weights, in shares of the variance; of 3e-4 to 4e-2 the best on 400 rendered subjects
YES = {True: "yes", False: "no"}  # in result rows
FOLDS = 10  # of the cross-validation, the usual number; fewer where fewer subjects have or lack the attribute
ENOUGH = 0.9  # least share of right answers, with and without the attribute weighted equally: one error in ten
MOST = 1_000  # training subjects to learn from: minutes of rendering, and intervals of a few per cent
FEWEST = 10  # subjects with the attribute, and without; one of them more or less is then at most a tenth


def presence(attributes: Mapping[str, Any], attribute: str) -> bool | None:
    """Whether a subject has an attribute; None if that is unknown, or if it is stubble or a moustache.

    Args:
        attributes: as stored with a synthetic subject; empty for an imported one.
        attribute: glasses, hat or beard.
    """
    if attribute not in attributes:
        return None
    value = attributes[attribute]
    return None if attribute == "beard" and value not in (None, *BEARDS) else value is not None


def softened(rgba: np.ndarray, blur: float) -> np.ndarray:
    """A picture [H, H, 4] uint8 over white, then blurred: what is transparent has no colour.

    Args:
        rgba: straight alpha.
        blur: standard deviation of the Gaussian, in shares of the side; 0: none.

    Returns:
        [H, H, 3] float32 in [0, 1].
    """
    picture = images_over_white(rgba[None])[0].permute(1, 2, 0).numpy()
    return gaussian_filter(picture, (blur * len(picture), blur * len(picture), 0)) if blur else picture


def described(rgba: np.ndarray, attribute: str, blur: float = 0.0) -> np.ndarray:
    """Features of the part of a frontal picture where an attribute is.

    Args:
        rgba: [H, H, 4] uint8, straight alpha.
        attribute: glasses, hat or beard.
        blur: standard deviation of a Gaussian blur before, in shares of the side.

    Returns:
        [F] float32, the same for the picture and its mirror image.
    """
    picture = softened(rgba, blur)
    top, bottom, left, right = (round(edge * len(picture)) for edge in REGIONS[attribute])
    part = resize(picture[top:bottom, left:right], (SIDE, SIDE), anti_aliasing=True)
    cell, block = (CELL, CELL), (BLOCK, BLOCK)
    both = [hog(one, ANGLES, cell, block, channel_axis=-1) for one in (part, part[:, ::-1])]
    return np.mean(both, axis=0, dtype=np.float32)


@dataclass(frozen=True)
class Detector:
    """Linear classifier: positive scores mean that the attribute is there.

    Args:
        weights: [F].
        offset: added to the product of features and weights.
    """

    weights: np.ndarray
    offset: float

    @classmethod
    def learn(cls, features: np.ndarray, labels: np.ndarray) -> Detector:
        """Ridge regression to 1 (there) and -1 (not there), both of the same weight in all, in its dual form.

        Not scikit-learn, which is no dependency: the classifier is the solution of one linear system.

        Args:
            features: [N, K, F] of N subjects in K kinds of pictures.
            labels: [N] bool, with both values.
        """
        there = np.repeat(labels, features.shape[1])
        rows = features.reshape(len(there), -1)
        share = np.where(there, 0.5 / there.sum(), 0.5 / (~there).sum()).astype(rows.dtype)
        mean, root = share @ rows, np.sqrt(share)
        weighted = (rows - mean) * root[:, None]
        products = weighted @ weighted.T
        products[np.diag_indices_from(products)] += PENALTY * np.trace(products)
        weights = weighted.T @ np.linalg.solve(products, root * np.where(there, 1, -1).astype(rows.dtype))
        return cls(weights, -float(mean @ weights))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Whether the attribute is there: features [..., F] -> bool [...]."""
        return features @ self.weights + self.offset > 0


def cross_validated(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Answers on subjects that the detector did not learn from.

    Args:
        features: [N, K, F] of N subjects in K kinds of pictures.
        labels: [N] bool; at least two of both values.

    Returns:
        [N, K] bool, whether the attribute was found.
    """
    folds = min(FOLDS, int(labels.sum()), int((~labels).sum()))
    fold = np.empty(len(labels), int)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % folds  # each fold has its share of both
    found = np.empty(features.shape[:2], bool)
    for number in range(folds):
        left_out = fold == number
        found[left_out] = Detector.learn(features[~left_out], labels[~left_out])(features[left_out])
    return found


def balanced(found: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the share of right answers with the attribute and without it; both [N] bool."""
    return float((found[labels].mean() + (~found[~labels]).mean()) / 2)


def check_row(attribute: str, features: np.ndarray, labels: Sequence[bool]) -> dict[str, Any]:
    """Result row of how often the measure is right on subjects it did not learn from.

    Args:
        attribute: glasses, hat or beard.
        features: [N, K, F], K as KINDS.
        labels: N times whether the subject has it.

    Returns:
        `accuracy` on pictures, balanced, and with `accuracy_on` on each kind; numbers of subjects `with_it` and
        `without_it`, and of pictures where it was `found` and of `false_alarms`; `counted`: whether it is right often
        enough, on pictures and on renders of fits, and was tried on enough subjects, for avatars to be counted by it.
        Accuracies are None if there are not two subjects with and two without.
    """
    known = np.array(labels, bool)
    row: dict[str, Any] = {"stage": "prompts-check", "attribute": attribute, "subjects": len(known), "chance": 0.5}
    row |= {"with_it": int(known.sum()), "without_it": int((~known).sum()), "accuracy": None, "counted": False}
    if min(row["with_it"], row["without_it"]) < 2:
        return row
    found = cross_validated(features, known)
    accuracies = {kind: balanced(found[:, place], known) for place, (kind, _) in enumerate(KINDS)}
    row |= {"accuracy": accuracies["pictures"], "accuracy_on": accuracies}
    row |= {"found": int(found[known, 0].sum()), "false_alarms": int(found[~known, 0].sum())}
    right = min(accuracies["pictures"], accuracies["fits"]) >= ENOUGH
    return row | {"counted": right and min(row["with_it"], row["without_it"]) >= FEWEST}


def presence_rows(
    avatars: Avatars, views: Shards, planes: Shards, samples: Shards, subjects: Sequence[str], hooks: Hooks
) -> list[dict[str, Any]]:
    """Rows of whether prompted avatars have the attributes they ask for, and of the measure on real subjects.

    Args:
        avatars: the run's models, which render planes.
        views, planes, samples: the run's stores.
        subjects: ids of training subjects, with views and planes.
        hooks: progress callback and stop request.

    Returns:
        For each attribute that a prompt asks for a `prompts-check` row (see `check_row`) and, if anything could be
        learned, a `prompts` row for each avatar drawn for it: `wanted` and `measured` yes or no, `hit`, `pair`, whether
        it is a `control`, and whether it is `counted`. None at all if no prompt asks for an attribute.
    """
    metas = {sample: samples.meta(sample) for sample in samples.subjects}
    asked = {sample: meta for sample, meta in metas.items() if meta.get("present")}
    attributes = [name for name in REGIONS if any(name in meta["present"] for meta in asked.values())]
    rows = []
    known = known_subjects(views, subjects, attributes) if attributes else {}
    described_all = describe_subjects(avatars, views, planes, list(known), attributes, hooks)
    for name in attributes:
        labels = {subject: there for subject, of in known.items() if (there := of[name]) is not None}
        features = np.array([described_all[subject][name] for subject in labels])
        rows.append(check := check_row(name, features, list(labels.values())))
        if check["accuracy"] is None:
            continue
        detector = Detector.learn(features, np.array(list(labels.values()), bool))
        for sample, meta in asked.items():
            if (wanted := meta["present"].get(name)) is not None:
                picture = frontal(avatars, samples, sample)
                there = bool(detector(described(picture, name)))
                row = {"stage": "prompts", "prompt": meta["prompt"], "attribute": name, "sample": sample}
                row |= {"wanted": YES[wanted], "measured": YES[there], "hit": there == wanted}
                rows.append(row | {"pair": meta["pair"], "control": not wanted, "counted": check["counted"]})
    return rows


def known_subjects(
    views: Shards, subjects: Sequence[str], attributes: Sequence[str]
) -> dict[str, dict[str, bool | None]]:
    """At most MOST of the subjects, evenly chosen among those of known attributes -> attribute -> `presence`."""
    of = {subject: views.meta(subject).get("attributes") or {} for subject in subjects}
    known = [subject for subject in subjects if all(name in of[subject] for name in attributes)]
    chosen = [known[place] for place in evenly(len(known), MOST)] if known else []
    return {subject: {name: presence(of[subject], name) for name in attributes} for subject in chosen}


def describe_subjects(
    avatars: Avatars, views: Shards, planes: Shards, subjects: Sequence[str], attributes: Sequence[str], hooks: Hooks
) -> dict[str, dict[str, np.ndarray]]:
    """Features of subjects: id -> attribute -> [K, F], K as KINDS.

    Raises:
        Stopped: a stop was requested.
    """
    found = {}
    for done, subject in enumerate(subjects):
        if hooks.should_stop():
            raise Stopped()
        hooks.progress(done, len(subjects), "glasses, hats and beards of training subjects")
        sources = {"pictures": views.read(subject, "rgba", 0), "fits": frontal(avatars, planes, subject)}
        found[subject] = {
            name: np.stack([described(sources[kind.split()[-1]], name, blur) for kind, blur in KINDS])
            for name in attributes
        }
    return found


def frontal(avatars: Avatars, store: Shards, subject: str) -> np.ndarray:
    """Frontal render of stored planes, of the size of the training pictures: [H, H, 4] uint8."""
    planes = torch.from_numpy(store.read(subject, "planes")).float()
    return avatars.turn(planes, 1, avatars.config.data.resolution)[0]
