"""Building a study folder: which items all methods have, and their pictures under neutral names."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.study.checklist import FACTS_TEMPLATE
from analysis.study.design import DEGRADED, REFERENCE, Design, catch_pool
from analysis.study.pictures import as_shown, degraded, encoded, read_picture
from analysis.study.record import KIND, RECORD, Study, open_study, picture_path, publish_study
from analysis.study.sources import FolderSource, Source, is_utf_8
from rodin import __version__
from rodin.hooks import Progress
from rodin.store.atomic import publish_bytes, sha256_of
from rodin.store.outputs import check_output
from rodin.store.reading import read_record

METHOD = re.compile(r"[\w][\w .+-]{0,39}")  # a method's name: it goes into tables, and into no file's name
MOST_TRIALS = 30  # of a rater by default: with three methods about three minutes, before attention fades
CHECKS = 4  # catch trials of a rater by default, and repetitions: a minute tells how far answers can be trusted
MOST_TEXT = 4_000  # characters of the question and of the consent text
SHOWN = 60  # characters of a text that a message quotes
SIZES = (64, 2_048)  # least and greatest side of a picture, pixels
CONSENT = (
    "You will see pairs of pictures and choose one of each pair. The pictures were made by computers. Your choices and "
    "how long each took are stored under a random number; your name, address and device are not. Taking part is "
    "voluntary, and you may stop at any time by closing this page."
)


@dataclass(frozen=True)
class Settings:
    """What a study asks, and how often.

    Args:
        question: asked of each pair.
        consent: shown before anything else.
        items: at most so many, evenly chosen; None: all that every method has.
        trials: pairs of each rater; None: all, at most MOST_TRIALS.
        catch, repeats: further trials of each rater; None: 4, or as many as there can be.
        seed: of all random choices.
        size: side of the pictures, pixels.
    """

    question: str
    consent: str = CONSENT
    items: int | None = None
    trials: int | None = None
    catch: int | None = None
    repeats: int | None = None
    seed: int = 0
    size: int = 384


@dataclass(frozen=True)
class Plan:
    """A study that can be built.

    Args:
        output: its folder.
        settings: of the study.
        sources: method -> where its pictures come from.
        reference: where the pictures come from that pairs are compared with; None: there are none.
        design: pairs, sides and orders.
        left_out: method -> how many of its items the others lack.
    """

    output: Path
    settings: Settings
    sources: Mapping[str, Source]
    reference: Source | None
    design: Design
    left_out: dict[str, int]

    @property
    def all_sources(self) -> dict[str, Source]:
        """The methods' sources, and that of the reference under `REFERENCE`."""
        return {**self.sources, **({} if self.reference is None else {REFERENCE: self.reference})}

    @property
    def summary(self) -> dict[str, Any]:
        """What will be built, in numbers."""
        design = self.design
        count = len(design.items) * len(self.all_sources) + len(catch_pool(design))
        return {
            "output": str(self.output),
            "methods": list(design.methods),
            "items": len(design.items),
            "pictures": count,
            "combinations": design.combinations,
            "trials": design.trials,
            "catch": design.catch,
            "repeats": design.repeats,
            "asked_of_each_rater": design.asked,
            "left_out": self.left_out,
        }


def plan_study(output: Path, settings: Settings, sources: Mapping[str, Source], reference: Source | None) -> Plan:
    """Check a study's settings and sources.

    Raises:
        ValueError: a setting is out of range, methods have no item in common, or the folder holds something else.
    """
    check_settings(settings, sources)
    check_output(output, RECORD)
    found = {name: list(source.items) for name, source in sources.items()}
    if reference is not None:
        found[REFERENCE] = list(reference.items)
    shared = sorted(set.intersection(*map(set, found.values())))
    if not shared:
        examples = ", ".join(f"{name}: {items[0]}" for name, items in found.items())
        raise ValueError(f"no picture has the same name everywhere ({examples}); wanted equal names for the same item")
    left_out = {name: len(items) - len(shared) for name, items in found.items()}
    if settings.items is not None:
        places = np.linspace(0, len(shared) - 1, min(settings.items, len(shared))).round().astype(int)
        shared = [shared[place] for place in np.unique(places)]
    design = Design(tuple(sources), tuple(shared), settings.trials or 1, 0, 0, settings.seed)
    trials, pictures = settings.trials or min(design.combinations, MOST_TRIALS), len(shared) * len(sources)
    if trials > design.combinations:
        raise ValueError(f"--trials got {trials}, and there are {design.combinations} pairs of pictures in all")
    repeats = min(CHECKS, trials) if settings.repeats is None else settings.repeats
    if repeats > trials:
        raise ValueError(f"--repeats got {repeats}, wanted at most the {trials} trials that can be repeated")
    catch = min(CHECKS, pictures) if settings.catch is None else settings.catch
    if catch > pictures:
        raise ValueError(f"--catch got {catch}, wanted at most {pictures}, one a picture")
    design = replace(design, trials=trials, catch=catch, repeats=repeats)
    return Plan(output, settings, sources, reference, design, {name: n for name, n in left_out.items() if n})


def check_settings(settings: Settings, sources: Mapping[str, Source]) -> None:
    """Refuse settings that are out of range.

    Raises:
        ValueError: names the setting.
    """
    if len(sources) < 2:
        raise ValueError(f"got {len(sources)} methods, wanted two or more to compare, such as ours=DIR theirs=DIR")
    for name in sources:
        if not METHOD.fullmatch(name):
            raise ValueError(f"method '{name}': wanted up to 40 letters, digits, spaces and .+-_")
    for name, text in (("--question", settings.question), ("--consent", settings.consent)):
        if not text.strip() or len(text) > MOST_TEXT:
            raise ValueError(f"{name}: got {len(text)} characters, wanted a text of 1 to {MOST_TEXT}")
        if not is_utf_8(text):
            raise ValueError(f"{name}: got {text[:SHOWN]!a}, which is not UTF-8; wanted a text in UTF-8")
    least = {"--items": (settings.items, 1), "--trials": (settings.trials, 1)}
    least |= {"--catch": (settings.catch, 0), "--repeats": (settings.repeats, 0), "--seed": (settings.seed, 0)}
    for name, (value, smallest) in least.items():
        if value is not None and value < smallest:
            raise ValueError(f"{name} got {value}, wanted at least {smallest}")
    if not SIZES[0] <= settings.size <= SIZES[1]:
        raise ValueError(f"--size got {settings.size}, wanted {SIZES[0]} to {SIZES[1]} pixels")


def build_study(plan: Plan, progress: Progress) -> Study:
    """Make a study's pictures and its record; what an earlier, killed command made is kept.

    Args:
        plan: of `plan_study`.
        progress: called with (pictures made, pictures in all, note).

    Raises:
        ValueError: the folder holds another study.
    """
    output, design, record = plan.output, plan.design, started(plan)
    if record["complete"]:
        (study := open_study(output)).check()
        return study
    publish_study(output, record)
    total, done = len(design.items) * len(plan.all_sources), 0
    for method, source in plan.all_sources.items():
        paths = {item: picture_path(output, record["salt"], method, item) for item in design.items}
        missing = [item for item, path in paths.items() if not path.is_file()]
        done += len(paths) - len(missing)
        for item, picture in source.pictures(missing):
            publish_bytes(paths[item], encoded(as_shown(Image.fromarray(picture), plan.settings.size)))
            done += 1
            progress(done, total, f"{method}, {item}")
    for method, item in catch_pool(design):
        whole = read_picture(picture_path(output, record["salt"], method, item))
        publish_bytes(
            picture_path(output, record["salt"], method + DEGRADED, item), encoded(degraded(np.asarray(whole)))
        )
    if not (output / "facts.toml").exists():
        publish_bytes(output / "facts.toml", FACTS_TEMPLATE.encode())
    publish_study(output, record | {"complete": True, "pictures": described(plan, record["salt"])})
    return open_study(output)


def started(plan: Plan) -> dict[str, Any]:
    """The record of a study that is being built, with the secret of an earlier, killed command; or of a complete one.

    Raises:
        ValueError: the folder holds another study.
    """
    settings, design = plan.settings, plan.design
    record: dict[str, Any] = {
        "kind": KIND,
        "version": __version__,
        "question": settings.question,
        "consent": settings.consent,
        "methods": {name: source.description for name, source in plan.sources.items()},
        "reference": None if plan.reference is None else plan.reference.description,
        "trials": design.trials,
        "catch": design.catch,
        "repeats": design.repeats,
        "seed": design.seed,
        "size": settings.size,
        "items": list(design.items),
    }
    salt, path = secrets.token_hex(16), plan.output / RECORD
    if path.is_file():
        found = read_record(path)
        if differing := [name for name in record if found.get(name) != record[name]]:
            begun = "" if found.get("complete") else ", not built to its end; remove the folder, or"
            raise ValueError(
                f"{plan.output}: holds a study of other {', '.join(differing)}{begun or ';'} choose another --output"
            )
        if found.get("complete") is True:
            return found
        salt = str(found.get("salt"))
    runs = not any(isinstance(source, FolderSource) for source in plan.all_sources.values())
    return record | {
        "salt": salt, "complete": False, "pictures": {},
        "unchosen": runs and settings.items is None,  # the items are all that runs have, and nobody chose them
    }  # fmt: skip


def described(plan: Plan, salt: str) -> dict[str, dict[str, str]]:
    """File name -> method, item and SHA-256 of every picture."""
    wanted = [(method, item) for method in plan.all_sources for item in plan.design.items]
    wanted += [(method + DEGRADED, item) for method, item in catch_pool(plan.design)]
    paths = {picture_path(plan.output, salt, method, item): (method, item) for method, item in wanted}
    return {
        path.name: {"method": method, "item": item, "sha256": sha256_of(path)}
        for path, (method, item) in sorted(paths.items())
    }
