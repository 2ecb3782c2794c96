"""Building a study: which items, what pictures, names that tell nothing, resumed after a kill, and bad input."""

import json
import os

import numpy as np
import pytest
from fixtures.small_study import METHODS, is_blocky, make_study, write_pictures
from PIL import Image

from analysis.study.build import Settings, build_study, plan_study
from analysis.study.design import DEGRADED, catch_pool
from analysis.study.pictures import as_shown, read_picture
from analysis.study.record import open_study
from analysis.study.sources import FolderSource
from rodin.store.errors import StoreError


def sources_in(folder, items=3):
    return {name: FolderSource(path) for name, path in write_pictures(folder, items).items()}


def settings(**changed):
    return Settings(**{"question": "Which?", "size": 64, "catch": 1, "repeats": 1, "trials": 3} | changed)


def quiet(done, total, note):
    pass


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


def test_pictures_are_those_of_the_folders_over_white_and_of_one_size(study, tmp_path):
    for method in METHODS:
        for item in study.design.items:
            shown = np.asarray(Image.open(study.picture(method, item)))
            source = Image.open(tmp_path / "pictures" / method / f"{item}.png")
            assert np.array_equal(shown, as_shown(source, 96))
            assert shown.shape == (96, 96, 3)
            assert shown[0, 0].tolist() == [255, 255, 255]


def test_nothing_but_the_record_tells_which_method_a_picture_is_of(study):
    for path in (study.path / "pictures").iterdir():
        data = path.read_bytes()
        assert {data[at + 4 : at + 8] for at in chunks(data)} == {b"IHDR", b"IDAT", b"IEND"}
        assert len(path.stem) == 24
        assert int(path.stem, 16) >= 0
    names = {study.picture(method, item).name for method in METHODS for item in study.design.items}
    other = make_study(study.path.parent / "again")
    assert not names & {path.name for path in (other.path / "pictures").iterdir()}


def chunks(data):
    at = 8
    while at < len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4])


def test_degraded_versions_are_mosaics_and_no_other_picture_is(study):
    pool = catch_pool(study.design)
    assert len(pool) == 6
    for method, item in pool:
        assert is_blocky(np.asarray(Image.open(study.picture(method + DEGRADED, item))))
        assert not is_blocky(np.asarray(Image.open(study.picture(method, item))))


def test_pictures_that_are_not_square_get_white_borders():
    wide = Image.new("RGB", (40, 20), "red")
    shown = as_shown(wide, 80)
    assert (shown[:10] == 255).all()
    assert (shown[-10:] == 255).all()
    assert (shown[30:50] == [255, 0, 0]).all()
    clear = as_shown(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), 64)
    assert (clear == 255).all()


def test_items_are_those_that_all_have_and_what_is_left_out_is_told(tmp_path):
    sources = sources_in(tmp_path / "pictures", 5)
    (tmp_path / "pictures" / METHODS[1] / "0002.png").unlink()
    plan = plan_study(tmp_path / "study", settings(), sources, None)
    assert plan.design.items == ("0000", "0001", "0003", "0004")
    assert plan.left_out == {METHODS[0]: 1, METHODS[2]: 1}
    few = plan_study(tmp_path / "study", settings(items=2, repeats=0), sources, None)
    assert few.design.items == ("0000", "0004")
    assert not (tmp_path / "study").exists()


def test_a_reference_narrows_the_items_and_has_pictures_of_its_own(tmp_path):
    sources = sources_in(tmp_path / "pictures", 4)
    reference = sources.pop(METHODS[2])
    (reference.path / "0000.png").unlink()
    study = build_study(plan_study(tmp_path / "study", settings(), sources, reference), quiet)
    assert study.has_reference
    assert study.design.methods == METHODS[:2]
    assert study.design.items == ("0001", "0002", "0003")
    assert study.picture("(reference)", "0001").is_file()


class Interrupted(Exception):
    pass


def test_a_killed_build_goes_on_where_it_stopped_and_keeps_its_pictures(tmp_path):
    plan = plan_study(tmp_path / "study", settings(), sources_in(tmp_path / "pictures"), None)

    def stop(done, total, note):
        if done == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        build_study(plan, stop)
    with pytest.raises(StoreError, match="not built to its end"):
        open_study(plan.output)
    before = {path.name: path.stat().st_mtime_ns for path in (plan.output / "pictures").iterdir()}
    assert len(before) == 5
    seen = []
    study = build_study(plan, lambda done, total, note: seen.append((done, total)))
    assert seen == [(6, 9), (7, 9), (8, 9), (9, 9)]
    assert all((plan.output / "pictures" / name).stat().st_mtime_ns == when for name, when in before.items())
    study.check()
    whole = (study.path / "study.json").read_bytes()
    assert build_study(plan, stop).record == study.record
    assert (study.path / "study.json").read_bytes() == whole


def test_another_study_is_not_overwritten(study, tmp_path):
    sources = {method: FolderSource(tmp_path / "pictures" / method) for method in METHODS}
    plan = plan_study(study.path, settings(), sources, None)
    with pytest.raises(ValueError, match=r"holds a study of other question, .*choose another --output"):
        build_study(plan, quiet)
    record = study.path / "study.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"complete": False}))
    with pytest.raises(ValueError, match=r"not built to its end; remove the folder, or choose another --output"):
        build_study(plan, quiet)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        plan_study(tmp_path / "full", settings(), sources, None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"question": "  "}, "--question: got 2 characters"),
        ({"consent": "x" * 5000}, "--consent: got 5000 characters"),
        ({"question": "Which\udcff?"}, r"--question: got 'Which.udcff\?', which is not UTF-8"),
        ({"trials": 10}, "--trials got 10, and there are 9 pairs"),
        ({"trials": 0}, "--trials got 0, wanted at least 1"),
        ({"repeats": 4}, "--repeats got 4, wanted at most the 3 trials"),
        ({"catch": 10}, "--catch got 10, wanted at most 9"),
        ({"catch": -1}, "--catch got -1, wanted at least 0"),
        ({"size": 8}, "--size got 8, wanted 64 to 2048"),
    ],
)
def test_settings_out_of_range_are_one_line(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        plan_study(tmp_path / "study", settings(**changed), sources_in(tmp_path / "pictures"), None)


def test_a_small_study_has_as_many_checks_as_can_be(tmp_path):
    folders = write_pictures(tmp_path / "pictures", 2, ("a", "b"))
    sources = {name: FolderSource(path) for name, path in folders.items()}
    small = plan_study(tmp_path / "study", Settings("Which?"), sources, None).design
    assert (small.trials, small.catch, small.repeats) == (2, 4, 2)
    large = plan_study(tmp_path / "study", Settings("Which?"), sources_in(tmp_path / "more", 8), None).design
    assert (large.trials, large.catch, large.repeats) == (24, 4, 4)
    with pytest.raises(ValueError, match="--repeats got 4, wanted at most the 2 trials"):
        plan_study(tmp_path / "study", Settings("Which?", repeats=4), sources, None)


def test_bad_sources_are_one_line(tmp_path):
    sources = sources_in(tmp_path / "pictures")
    with pytest.raises(ValueError, match="got 1 methods, wanted two or more"):
        plan_study(tmp_path / "study", settings(), {"ours": sources["ours"]}, None)
    with pytest.raises(ValueError, match=r"method 'a\(b': wanted up to 40 letters"):
        plan_study(tmp_path / "study", settings(), {"ours": sources["ours"], "a(b": sources["EG3D"]}, None)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        plan_study(tmp_path / "study", settings(), sources | {"x": FolderSource(tmp_path / "none")}, None)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="has no PNG files"):
        plan_study(tmp_path / "study", settings(), sources | {"x": FolderSource(tmp_path / "other")}, None)
    Image.new("RGB", (4, 4)).save(tmp_path / "other" / "z.png")
    with pytest.raises(ValueError, match="no picture has the same name everywhere .*x: z"):
        plan_study(tmp_path / "study", settings(), sources | {"x": FolderSource(tmp_path / "other")}, None)
    (sources["ours"].path / "0001.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match=r"0001\.png: not a picture that can be read .*mend or remove it"):
        build_study(plan_study(tmp_path / "study", settings(), sources, None), quiet)


def test_pictures_of_16_bits_keep_their_brightness_and_paths_need_not_be_utf_8(tmp_path):
    grey = np.tile(np.arange(64, dtype=np.uint16) * 4, (64, 1))
    folders = {name: FolderSource(tmp_path / os.fsdecode(b"\xff") / name) for name in ("a", "b")}
    for name, deep in (("a", True), ("b", False)):
        folders[name].path.mkdir(parents=True)
        values = grey * 257 if deep else grey.astype(np.uint8)
        Image.fromarray(values).save(folders[name].path / "0001.png")
    study = build_study(
        plan_study(tmp_path / "study", settings(trials=1, catch=0, repeats=0, size=64), folders, None), quiet
    )
    shown = [np.asarray(read_picture(study.picture(name, "0001"))) for name in folders]
    assert np.array_equal(*shown)
    assert study.record["methods"]["a"].endswith("\\xff/a")
    (folders["a"].path / os.fsdecode(b"\xfe.png")).touch()
    with pytest.raises(ValueError, match=r"has a file '.udcfe', a name that is not UTF-8"):
        plan_study(tmp_path / "other", settings(), folders, None)


DAMAGE = [
    {"methods": {}}, {"methods": {"a": 1, "b": 2}}, {"items": []}, {"items": [1]}, {"trials": 0}, {"trials": 10**12},
    {"catch": -1}, {"repeats": 10**9}, {"seed": -1}, {"pictures": {"x": 1}}, {"pictures": {"x": {"sha256": 3}}},
    {"pictures": {"x": {"method": "a", "item": "b", "sha256": 3}}},
    {"pictures": {"x": {"method": "a", "item": "b", "sha256": "c"}, "y": {}}},
]  # fmt: skip


@pytest.mark.parametrize("change", DAMAGE)
def test_a_record_that_no_study_is_built_with_is_refused(study, change):
    record = study.path / "study.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    with pytest.raises(StoreError, match=f"'{next(iter(change))}' is not as rodin wrote it; restore a copy"):
        open_study(study.path)


def test_a_damaged_study_is_refused_and_named(study):
    path = study.picture("ours", "0001")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=f"{path.name}: the picture is damaged"):
        study.check()
    path.unlink()
    with pytest.raises(StoreError, match="the picture is gone"):
        study.check()
    record = study.path / "study.json"
    found = json.loads(record.read_text())
    record.write_text(json.dumps(found | {"trials": "many"}))
    with pytest.raises(StoreError, match="'trials' is 'many'"):
        open_study(study.path)
    with pytest.raises(FileNotFoundError, match="not a study"):
        open_study(study.path.parent)
