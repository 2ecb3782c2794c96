"""The table of the cascade: what each step is compared with, and where most is lost."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_stores import SIZE, SUBJECTS, around

from analysis.figures.cascade import PEOPLE, cascade_lines
from analysis.results.renders import views
from analysis.results.rows import MissingRows
from analysis.tables.cascade import cascade_rows
from analysis.tables.tables import render_table, table
from rodin.evaluation.steps import FITTED, LOW, MEAN_PERSON, SEEN, UNSEEN, UPSAMPLED


def test_each_step_by_hand(full_run: Path):
    rows = {row["step"]: row for row in table(full_run, "cascade")}
    assert list(rows)[:5] == [FITTED, LOW, UPSAMPLED, SEEN, UNSEEN]
    assert (rows[FITTED]["psnr"], rows[FITTED]["against"], rows[FITTED]["gain_step_psnr"]) == (29.0, None, None)
    assert rows[LOW]["gain_step_psnr"] == pytest.approx(-8.5)
    assert (rows[UPSAMPLED]["against"], rows[UPSAMPLED]["gain_step_psnr"]) == (FITTED, -4.5)
    # 4, 4.5 and 5 dB lost: s = 0.5, t(0.975, 2) = 4.3027, half = 4.3027 * 0.5 / sqrt(3) = 1.2421
    assert rows[UPSAMPLED]["gain_step_psnr_low"] == pytest.approx(-4.5 - 1.2421, abs=1e-4)
    assert rows[SEEN]["gain_step_psnr"] == pytest.approx(-1.25)
    # 20 22 24 of other people than 23 23.25 23.5: Welch's interval, variances 4 / 3 and 0.0625 / 3
    assert rows[UNSEEN]["gain_step_psnr"] == pytest.approx(22 - 23.25)
    assert rows[UNSEEN]["gain_step_psnr_high"] > 1
    assert rows["posterior mean"]["gain_step_psnr"] == pytest.approx(1.0)
    assert rows["posterior mean"]["gain_step_psnr_low"] == pytest.approx(1.0)  # all three alike, person by person
    assert rows[MEAN_PERSON]["gain_step_psnr"] == pytest.approx(-3.0)
    note = rows[FITTED]["note"]
    assert note.startswith("in PSNR most is lost where the base model's planes are small")
    assert "−4.50 dB [−5.74, −3.26]" in note.splitlines()[0]
    assert "LPIPS is —" in note
    assert "in LPIPS most" not in note
    assert "better by, LPIPS" not in render_table(table(full_run, "cascade"))


def lpips_rows(step: str, people: list[str], values: list[float]) -> list[dict]:
    return [
        {"step": step, "subject": subject, "psnr": 20.0, "ssim": 0.5, "lpips": value}
        for subject, value in zip(people, values, strict=True)
    ]


def test_a_higher_lpips_is_a_loss_between_the_same_people_and_between_others():
    rows = [
        *lpips_rows(UPSAMPLED, ["a", "b", "g"], [0.10, 0.20, 0.15]),
        *lpips_rows(SEEN, ["b", "a", "g"], [0.22, 0.14, 0.18]),
        *lpips_rows(UNSEEN, ["c", "d", "e"], [0.10, 0.60, 0.35]),
    ]
    found = {row["step"]: row for row in cascade_rows(rows)}
    assert list(found) == [UPSAMPLED, SEEN, UNSEEN]
    assert found[UPSAMPLED]["against"] is None  # the fits were not measured
    assert found[SEEN]["gain_step_lpips"] == pytest.approx(-0.03)
    assert found[UNSEEN]["gain_step_lpips"] == pytest.approx(-0.17)
    assert found[UNSEEN]["gain_step_lpips_low"] < -0.4 < -0.17 < found[UNSEEN]["gain_step_lpips_high"]
    first = found[UPSAMPLED]["note"].splitlines()[0]
    assert first.startswith("in LPIPS most is lost where people are unseen: −0.170 LPIPS [")


def test_a_run_that_does_not_measure_it_says_what_does(full_run: Path, tmp_path: Path):
    text = (full_run / "run.toml").read_text()
    assert "cascade = 2" in text
    for other in ("cascade = 0\n", ""):  # off, and a run of a version without the key
        (tmp_path / "run.toml").write_text(text.replace("cascade = 2\n", other))
        with pytest.raises(MissingRows, match=f"rodin bench cascade --run {tmp_path}"):
            table(tmp_path, "cascade")
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(MissingRows, match="run stage 'evaluate'"):
        table(tmp_path, "cascade")


def measured(subject: str, step: str, lpips: float | None = None) -> tuple[dict, np.ndarray]:
    pictures = np.stack([np.full((SIZE, SIZE, 4), view, np.uint8) for view in range(2)])
    return {"subject": subject, "step": step, "psnr": 20.04, "lpips": lpips}, pictures


def test_the_sheet_shows_the_truth_first_by_the_most_frontal_camera(full_run: Path):
    # the last two of six views are at 240 and 300 degrees: the last is nearer to the front
    unseen = f"{SUBJECTS:06d}"
    steps = [(unseen, UNSEEN, 0.25), (unseen, MEAN_PERSON, 0.5), ("000001", FITTED, None), ("000001", LOW, None)]
    seen, other = cascade_lines(views(full_run), [measured(*step) for step in steps])
    assert (seen.heading, other.heading) == ("person 000001, in the training", f"person {unseen}, unseen")
    for line, number in ((seen, 1), (other, SUBJECTS)):
        truth, *made = line.tiles
        assert np.array_equal(truth.picture, around(number, 6)[5])
        assert [picture.picture.max() for picture in made] == [1, 1]
    assert [tile.caption[-1] for tile in seen.tiles] == ["", "20.0 dB", "20.0 dB"]
    assert other.tiles[1].caption[-1] == "20.0 dB, LPIPS 0.250"
    assert len({len(tile.caption) for tile in (*seen.tiles, *other.tiles)}) == 1


def test_the_sheet_shows_no_more_people_than_one_can_compare(full_run: Path):
    many = [measured(f"{number % 12:06d}", FITTED) for number in range(12)]
    assert len(cascade_lines(views(full_run), many)) == 12 == PEOPLE
