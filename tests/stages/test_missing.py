"""Shards that are given up: what they keep, what they may lack, and what the stages behind see."""

from pathlib import Path

import pytest
from fixtures.shards import arrays_of, fill

from jobs.run.failures import Failure
from jobs.run.giving_up import given_up
from rodin.config import Config
from rodin.config.data import Data
from rodin.hooks import Hooks
from rodin.presets.tiny import TINY
from rodin.stages import index
from rodin.stages.fit import shard_writer
from rodin.stages.missing import GivenUp, give_up
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import missing_people
from rodin.store.shards.reader import Shards

PEOPLE, SHARD = 17, 1
ALLOWED = 6  # of PEOPLE


def config_of(allowed: float = ALLOWED / PEOPLE) -> Config:
    return Config(
        preset="tiny",
        triplane=TINY.triplane,
        base=TINY.base,
        upsample=TINY.upsample,
        data=Data(
            subjects=PEOPLE, held_out=3, views=8, reference_views=2, shard_subjects=4, allow_missing=allowed + 1e-9
        ),
        fit=TINY.fit,
    )


def begun(path: Path, config: Config, rows: int = 2, others: bool = True) -> RunFolder:
    """A run whose shard SHARD of `fit` was left after some rows; the others are published."""
    folder = RunFolder(path)
    for shard in range(config.shards("fit")):
        with shard_writer(config, folder, shard) as writer:
            if shard == SHARD:
                fill(writer, rows)
            elif others:
                fill(writer)
                writer.publish()
    return folder


def test_rows_stay_and_the_rest_is_missing_with_its_reason(tmp_path: Path) -> None:
    config = config_of()
    folder = begun(tmp_path, config)
    subjects = config.subjects_of("fit", SHARD)
    assert give_up(config, folder, "fit", SHARD, "its process\ndied") == GivenUp(2, 4, 2, ALLOWED)
    planes = Shards(folder.stage("fit"), "planes")
    assert planes.failed == dict.fromkeys(subjects[2:], "its process died")
    assert planes.subjects_of(SHARD) == list(subjects[:2])
    shapes = {"planes": planes.shape("planes")}
    for subject in subjects[:2]:
        assert (planes.read(subject, "planes") == arrays_of(subject, shapes)["planes"]).all()
    index.run(config, folder, 0, Hooks())
    found = manifest.read(folder.manifest("index"))
    assert len(found["subjects"]) == PEOPLE - 2
    assert found["failed"] == planes.failed
    assert missing_people(folder.stage("fit")) == f"2 people are missing, first {subjects[2]}: its process died"


@pytest.mark.parametrize(("before", "given"), [(2, True), (3, False)])
def test_no_more_are_missing_than_allowed(tmp_path: Path, before: int, given: bool) -> None:
    config = config_of()
    folder = begun(tmp_path, config, rows=0, others=False)
    with shard_writer(config, folder, 0) as writer:
        for subject in writer.missing()[:before]:
            writer.fail(subject, "floor")
        fill(writer)
        writer.publish()
    found = give_up(config, folder, "fit", SHARD, "died")
    assert found == (GivenUp(4, 4, before + 4, ALLOWED) if given else None)
    assert folder.manifest("fit", SHARD).is_file() == given


def test_by_default_and_in_other_stages_nobody_may_be_missing(tmp_path: Path) -> None:
    strict, folder = config_of(0).model_copy(update={"data": Data()}), begun(tmp_path, config_of())
    assert strict.data.allow_missing == 0
    assert give_up(strict, folder, "fit", SHARD, "died") is None
    assert give_up(config_of(1 - 1e-9), folder, "base", 0, "died") is None
    assert not folder.manifest("fit", SHARD).exists()


def failure(**changed: object) -> Failure:
    return Failure(**{"stage": "fit", "shard": SHARD, "kind": "crash", "line": "died", **changed})  # type: ignore[arg-type]


def test_a_line_says_who_is_missing(tmp_path: Path) -> None:
    config = config_of()
    assert given_up(begun(tmp_path, config), config, failure()) == (
        f"fit shard 1 is given up without 2 of its 4 people; 2 are missing, data.allow_missing allows {ALLOWED}: died"
    )


@pytest.mark.parametrize("changed", [{"kind": "user"}, {"consequence": True}, {"transient": True}])
def test_what_a_person_or_time_mends_is_not_given_up(tmp_path: Path, changed: dict[str, object]) -> None:
    config = config_of()
    folder = begun(tmp_path, config)
    assert given_up(folder, config, failure(**changed)) is None
    assert not folder.manifest("fit", SHARD).exists()
