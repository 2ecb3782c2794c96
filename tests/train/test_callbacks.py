"""What a training reports while it runs, when it saves, and what a stop request does."""

import pytest
import torch
from fixtures.toy_training import ITEMS, toy_training

from rodin.train.loop import Callbacks
from rodin.train.parallel.flat import FlatParameters
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan
from rodin.train.state import checkpoint
from rodin.train.state.training_state import TrainingState


def saved_steps(folder):
    return [int(path.name[5:14]) for path in sorted(folder.glob("step-*"))]


def stopped_after(folder, step, **options):
    done = [0]
    callbacks = Callbacks(
        progress=lambda now, total, note: done.__setitem__(0, now), should_stop=lambda: done[0] + 1 == step
    )
    return toy_training(folder, Ranks(), callbacks=callbacks, **options)


def test_a_stop_request_saves_that_very_step_and_the_next_run_goes_on_after_it(tmp_path):
    stopped = stopped_after(tmp_path, 7)
    assert (stopped.finished, stopped.samples) == (False, 7 * 12)
    assert saved_steps(tmp_path) == [4, 7]
    saved = checkpoint.latest(tmp_path)
    assert (saved.step, saved["identity"]["items"]) == (7, ITEMS)
    losses = []
    again = toy_training(tmp_path, Ranks(), on_loss=lambda: losses.append(1))
    assert (again.finished, again.samples, len(losses)) == (True, 12 * 12, 5)
    assert [row["step"] for row in again.curve] == list(range(1, 13))


def test_a_stop_whose_checkpoint_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def full(folder, step, content, part):
        raise ValueError("no room")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(ValueError, match="no room"):
        stopped_after(tmp_path, 3)


def test_a_row_of_the_curve_that_a_stop_interrupts_is_that_of_the_unbroken_run(tmp_path):
    stopped_after(tmp_path / "stopped", 7, curve_rows=4)  # a row every 3 steps: step 7 is the first of one
    again, unbroken = (toy_training(tmp_path / name, Ranks(), curve_rows=4) for name in ("stopped", "unbroken"))
    assert [row["step"] for row in again.curve] == [3, 6, 9, 12]
    for key in ("samples", "loss", "grad_norm", "skipped"):
        assert [row[key] for row in again.curve] == [row[key] for row in unbroken.curve]


def test_a_stop_request_in_the_last_step_is_too_late_to_matter(tmp_path):
    assert stopped_after(tmp_path, 12).finished
    assert saved_steps(tmp_path) == [8, 12]


def test_progress_journal_pictures_and_parts_come_in_order(tmp_path):
    seen, parts, averages = [], [], []

    def picture(step, average):
        averages.append(average)
        seen.append(("picture", step))

    result = toy_training(
        tmp_path,
        Ranks(),
        steps=4,
        micro_batch=6,
        picture_every=2,
        callbacks=Callbacks(
            progress=lambda done, total, note: seen.append((done, total, note)),
            journal=lambda curve: seen.append([row["step"] for row in curve]),
            picture=picture,
            part_done=parts.append,
        ),
    )
    notes = [f"loss {row['loss']:.4g}" for row in result.curve]
    wanted = [[]]
    for step in (1, 2, 3, 4):
        wanted += [list(range(1, step + 1)), (step, 4, notes[step - 1])]
        wanted += [("picture", step)] if step % 2 == 0 else []
    assert seen == wanted
    assert parts[: len(parts) // 4] == [
        *("data", "forward", "backward", "forward", "backward", "exchange", "update", "report", "save")
    ]
    assert all(0 < row["samples_per_second"] < 1e8 for row in result.curve)
    assert averages[-1].keys() == result.average.keys()
    assert all(torch.equal(value, result.average[name]) for name, value in averages[-1].items())


def test_pictures_are_not_made_where_none_are_wanted(tmp_path):
    def picture(step, average):
        raise AssertionError

    assert toy_training(tmp_path, Ranks(), steps=2, callbacks=Callbacks(picture=picture)).finished


def state(**options):
    return TrainingState(FlatParameters(torch.nn.Linear(1, 1)), Plan(batch=8, lr=1.0, **options))


def test_a_row_of_the_curve_is_the_mean_of_its_steps_and_the_last_one_may_be_short():
    made = state(steps=8, curve_rows=2, precision="float16")  # a row every 4 steps
    numbers = [(1.0, 2.0), (2.0, 4.0), (3.0, float("inf")), (6.0, 3.0), (5.0, 1.0), (9.0, float("nan"))]
    finished = []
    for loss, norm in numbers:
        made.step += 1
        finished.append(made.record(loss, norm, 0.5, 0.01))
    assert finished == [False, False, False, True, False, False]
    assert made.curve == [
        {"step": 4, "samples": 32, "loss": 3.0, "grad_norm": 3.0, "samples_per_second": 16.0, "mfu": 0.16, "skipped": 0}
    ]
    made.step = 8
    assert made.record(1.0, float("inf"), 1.0, None)
    assert made.curve[1]["loss"] == 5.0
    assert made.curve[1]["grad_norm"] == 1.0
    assert made.curve[1]["samples_per_second"] == 12.0
    assert made.curve[1]["mfu"] is None
    small = state(steps=1)  # its share of a large GPU
    small.step = 1
    assert small.record(1.0, 1.0, 1.0, 1.23456e-8)
    assert small.curve[0]["mfu"] == 9.88e-8
    only_skipped = state(steps=1)
    only_skipped.step = 1
    assert only_skipped.record(1.0, float("inf"), 1.0, None)
    assert only_skipped.curve[0]["grad_norm"] is None


@pytest.mark.parametrize(
    ("steps", "rows", "every"), [(50, 100, 1), (1000, 100, 10), (10**6, 100, 100), (60, 20, 3), (0, 100, 1)]
)
def test_the_curve_has_about_as_many_rows_as_planned(steps, rows, every):
    assert Plan(batch=1, steps=steps, lr=1.0, curve_rows=rows).curve_every == every


def test_a_training_goes_on_with_other_settings_only_where_the_result_stays_the_training_s_own(tmp_path):
    stopped_after(tmp_path, 5)
    other = {
        "micro_batch": 4,
        "recompute": True,
        "picture_every": 3,
        "curve_rows": 50,
        "tensorboard": True,
        "sharded": True,
    }
    assert toy_training(tmp_path, Ranks(), steps=6, **other).finished
    for changed, got in (({"seed": 9}, "seed is 0"), ({"batch": 6}, "batch is 12"), ({"weight_decay": 0.5}, "weight_")):
        with pytest.raises(ValueError, match=f"of another training .{got}.* there"):
            toy_training(tmp_path, Ranks(), **changed)


def test_parts_of_a_rank_s_batch_are_nearly_equal_and_no_larger_than_asked():
    for count, micro, wanted in ((12, 5, [4, 4, 4]), (7, 3, [2, 2, 3]), (4, 8, [4]), (5, None, [5]), (3, 1, [1] * 3)):
        spans = Plan(batch=1, steps=1, lr=1.0, micro_batch=micro).parts(count)
        assert [end - first for first, end in spans] == wanted
        assert [first for first, _ in spans[1:]] == [end for _, end in spans[:-1]]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_rows_of_a_checkpoint_in_parts_are_those_of_the_whole(count, tmp_path):
    whole = torch.arange(14.0).reshape(7, 2)
    for number, rows in enumerate(whole.tensor_split(count)):
        content = {"model": {"w": rows, "few": whole[:1] if number == 0 else whole[:0]}, "identity": {"a": number}}
        checkpoint.save(tmp_path, 3, content, (number, count))
    saved = checkpoint.latest(tmp_path)
    assert (saved.step, saved["identity"]) == (3, {"a": 0})
    assert torch.equal(saved.rows("model", "w"), whole)
    for first in range(8):
        for rows in range(8 - first):
            assert torch.equal(saved.rows("model", "w", first, rows), whole[first : first + rows])
    assert torch.equal(saved.rows("model", "few"), whole[:1])
    assert torch.equal(saved.rows("model", "few", 1, 1), whole[:0])
    again = checkpoint.opened(saved.paths)
    assert torch.equal(again.rows("model", "w"), whole)
