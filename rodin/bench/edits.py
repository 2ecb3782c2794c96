"""Bench of edits: whether what a text names changes, and whether the rest stays, by the measures of `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import evenly, images_over_white
from rodin.evaluation import presence, prompts
from rodin.generate.api import Rodin
from rodin.generate.avatar import Avatar
from rodin.generate.edits import GENERAL_TEXTS
from rodin.generate.latents import unit
from rodin.hooks import Hooks, Progress, no_progress
from rodin.stages.evaluate import EvaluationStores, read_features
from rodin.store.run_folder import RunFolder

SPARE = 3  # edits to choose from for each that is measured
LEARNED = 240  # training people that the measures of glasses, hats and beards learn from: half a minute of rendering
KINDS = ("hair", "shirt", "hair", "shirt", "glasses", "hair", "shirt", "hat", "hair", "beard")  # of edits, in turn
WORDS = {
    "glasses": ("a person with round glasses", "a person with square glasses"),
    "hat": ("a person with a beanie", "a person with a cap"),
    "beard": ("a man with a full beard", "a man with a goatee"),
}
FACE = (0.38, 0.56, 0.40, 0.60)  # top, bottom, left, right of the skin below a fringe, in shares of the side
SHIRT = 0.78  # share of the side below which a shirt is; long hair lies above it
PEAK = 255.0  # largest value of 8 bits


@dataclass(frozen=True)
class Edit:
    """One edit: of a held-out person, its attribute and the value wanted, and the words."""

    subject: str
    attribute: str
    wanted: str
    text: str


@dataclass(frozen=True)
class Measures:
    """Palettes of colours and detectors of attributes, learned from training people.

    `left_out` has the `presence.check_row` of each attribute whose detector is not right often enough to count by.
    """

    palettes: Mapping[str, prompts.Palette]
    detectors: Mapping[str, presence.Detector]
    left_out: Sequence[Mapping[str, Any]] = ()

    def of(self, avatar: Avatar) -> tuple[dict[str, str], np.ndarray]:
        """Attribute -> measured value, and the frontal picture [H, H, 4] uint8, of an avatar."""
        front, back = avatar.models.turn(avatar.planes, 2, avatar.models.config.data.resolution)
        colours = prompts.measured_colours(front, back)
        found = {name: palette.nearest(colours[name]) for name, palette in self.palettes.items()}
        for name, detector in self.detectors.items():
            found[name] = presence.YES[bool(detector(presence.described(front, name)))]
        return found, front


def bench_edits(config: Config, folder: RunFolder, count: int, progress: Progress) -> list[dict[str, Any]]:
    """Edit held-out people, one attribute each, and measure.

    Args:
        config: the run's config.
        folder: the run, of synthetic people.
        count: number of edits.
        progress: called with edits done, edits in all and a note.

    Returns:
        rows, of avatars that do not show what is wanted before, against the plain difference of texts, the paper's
        edit: `came out`, share of edits with the value that was wanted; `others stay`, share of the other measured
        attributes without change; `PSNR outside`, dB of the picture outside the attribute's region, before against
        after. The last rows are of attributes that are left out, as their measure is not good enough.
    """
    stores, rodin = EvaluationStores.of(folder), Rodin(folder.path)
    measures = learned(config, stores, rodin, progress)
    edits = edits_of(config, stores, measures, SPARE * count)
    found: dict[str, list[tuple[bool, float, float]]] = {"ours": [], "plain": []}
    rows: list[dict[str, Any]] = []
    for edit in edits:
        if len(rows) == count:
            break
        progress(len(rows), count, edit.text)
        latent = torch.from_numpy(stores.latents.read(edit.subject, "image", 0)).float()
        seed = int("".join(filter(str.isdigit, edit.subject)) or 0)
        (planes,) = rodin.sampled(latent[None], [seed], no_progress)
        before = Avatar(rodin.models, planes, latent, seed, {"from": "bench"})
        first = measures.of(before)
        if first[0][edit.attribute] == edit.wanted:  # there already: nothing would be told
            continue
        after = {"ours": rodin.edit(before, edit.text), "plain": plain(rodin, latent, seed, edit.text)}
        for name, avatar in after.items():
            found[name].append(compared(measures, edit, first, avatar))
        came, stay, outside = found["ours"][-1]
        rows.append(
            {
                "name": f"{edit.subject}: {edit.text}",
                "value": float(came),
                "unit": f"came out, {stay:.0%} of the others stay, {outside:.1f} dB outside",
            }
        )
    if not rows:
        raise ValueError(f"{folder.path}: nobody to edit, or all avatars show already what is asked for")
    names = (("came out", "share of edits"), ("others stay", "share"), ("PSNR outside", "dB"))
    for place, (name, what) in enumerate(names):
        ours, theirs = (float(np.nanmean([one[place] for one in found[key]])) for key in ("ours", "plain"))
        row = {"name": name, "value": ours, "unit": what, "baseline": "plain difference of texts"}
        rows.append(row | {"baseline_value": theirs, "ratio": ours / theirs if theirs else None})
    return rows + [left_out_row(check) for check in measures.left_out]


def left_out_row(check: Mapping[str, Any]) -> dict[str, Any]:
    """Row of an attribute that no edit is measured by, out of its `presence.check_row`."""
    right = "cannot be learned"
    if check["accuracy"] is not None:
        right = f"right on {check['accuracy']:.0%} of pictures and {check['accuracy_on']['fits']:.0%} of fits"
    wanted = f"{presence.ENOUGH:.0%} and {presence.FEWEST} people of each are wanted"
    unit = f"people with it, {check['without_it']} without, {right}; {wanted}"
    return {"name": f"left out: {check['attribute']}", "value": check["with_it"], "unit": unit}


def learned(config: Config, stores: EvaluationStores, rodin: Rodin, progress: Progress) -> Measures:
    """The measures, from training people.

    Raises:
        ValueError: the run's people have no known attributes.
    """
    needed = (stores.views, stores.planes, stores.latents)
    subjects = [subject for subject in config.train_subjects() if all(subject in store for store in needed)]
    hooks = Hooks(progress=progress)
    features = read_features(config, stores, subjects, hooks)
    palettes = {}
    for attribute in prompts.PALETTES:
        names = [prompts.colour_of(stores.views, subject, attribute) for subject in features.subjects]
        finite = np.isfinite(features.colours[attribute]).all(axis=1)
        usable = [place for place, name in enumerate(names) if name and finite[place]]
        if not usable:
            raise ValueError("edits are measured on synthetic people, whose attributes are known; this run has others")
        palettes[attribute] = prompts.Palette.of(
            [str(names[one]) for one in usable], features.colours[attribute][usable]
        )
    some = [subjects[place] for place in evenly(len(subjects), LEARNED)]
    known = presence.known_subjects(stores.views, some, list(presence.REGIONS))
    described = presence.describe_subjects(
        rodin.models, stores.views, stores.planes, list(known), list(presence.REGIONS), hooks
    )
    return Measures(palettes, *detectors_of(known, described))


def detectors_of(
    known: Mapping[str, Mapping[str, bool | None]], described: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[dict[str, presence.Detector], list[dict[str, Any]]]:
    """Detectors of the attributes that avatars can be counted by, and the check rows of the others.

    Args:
        known: of `presence.known_subjects`.
        described: of `presence.describe_subjects`, the same subjects.
    """
    detectors, left_out = {}, []
    for name in presence.REGIONS:
        labels = {subject: there for subject, of in known.items() if (there := of[name]) is not None}
        table = np.array([described[subject][name] for subject in labels])
        check = presence.check_row(name, table, list(labels.values()))
        if check["counted"]:
            detectors[name] = presence.Detector.learn(table, np.array(list(labels.values()), bool))
        else:
            left_out.append(check)
    return detectors, left_out


def edits_of(config: Config, stores: EvaluationStores, measures: Measures, count: int) -> list[Edit]:
    """Edits of held-out people, each to a value that the person does not have; the same for the same run."""
    people = [one for one in config.held_out_subjects() if one in stores.views and one in stores.latents]
    of = {one: stores.views.meta(one).get("attributes") or {} for one in people}
    kinds = [kind for kind in KINDS if kind in measures.palettes or kind in measures.detectors]
    edits: list[Edit] = []
    for number in range(count if people else 0):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        order = people[number % len(people) :] + people[: number % len(people)]
        if kind in measures.palettes:
            person, names = order[0], measures.palettes[kind].names
            others = [name for name in names if name != of[person].get(f"{kind}_colour")]
            colour = others[sum(edit.attribute == kind for edit in edits) % len(others)]
            words = (
                f"with {colour} hair"
                if kind == "hair"
                else f"in {'an' if colour[0] in 'aeiou' else 'a'} {colour} shirt"
            )
            edits.append(Edit(person, kind, colour, f"a person {words}"))
            continue
        lacking = [
            one for one in order if of[one].get(kind) is None and (kind != "beard" or of[one].get("gender") == "man")
        ]
        if lacking:
            edits.append(Edit(lacking[0], kind, presence.YES[True], WORDS[kind][turn % len(WORDS[kind])]))
    return edits


def plain(rodin: Rodin, latent: torch.Tensor, seed: int, text: str) -> Avatar:
    """The paper's edit of a latent [D]: z + E(text) - mean E(general texts), all of its change."""
    embeddings = rodin.models.clip.text([text, *GENERAL_TEXTS])[0].to(latent)
    moved = unit(latent + embeddings[0] - embeddings[1:].mean(dim=0))
    (planes,) = rodin.sampled(moved[None], [seed], no_progress)
    return Avatar(rodin.models, planes, moved, seed, {"from": "bench"})


def compared(
    measures: Measures, edit: Edit, before: tuple[dict[str, str], np.ndarray], after: Avatar
) -> tuple[bool, float, float]:
    """Whether an edit came out, the share of other attributes that stayed, and the PSNR outside of its region."""
    (first, picture), (last, changed) = before, measures.of(after)
    others = [name for name in first if name != edit.attribute]
    stay = float(np.mean([first[name] == last[name] for name in others]))
    outside = ~region(edit.attribute, len(picture))
    both = [images_over_white(one[None])[0].permute(1, 2, 0).numpy()[outside] for one in (picture, changed)]
    error = float(np.square(both[0] - both[1]).mean())
    return last[edit.attribute] == edit.wanted, stay, -10 * float(np.log10(max(error, PEAK**-2)))


def region(attribute: str, side: int) -> np.ndarray:
    """Where an attribute may be in a frontal picture, [side, side] bool."""
    mask = np.zeros((side, side), bool)
    if attribute == "shirt":
        mask[round(SHIRT * side) :] = True
    elif attribute == "hair":
        mask[: round(SHIRT * side)] = True
        top, bottom, left, right = (round(edge * side) for edge in FACE)
        mask[top:bottom, left:right] = False
    else:
        top, bottom, left, right = (round(edge * side) for edge in presence.REGIONS[attribute])
        mask[top:bottom, left:right] = True
    return mask
