"""What sacct tells, against numbers worked out by hand."""

import pytest
from fixtures import recorded_accounting as recorded

from jobs.efficiency.accounting import COLUMNS, GB, Attempt, Step, attempts_of, bytes_of, seconds_of, tres_of


def by_id(text: str, **options) -> dict[str, Attempt]:
    return {one.job_id: one for one in attempts_of(text, **options)}


def test_elements_of_an_array():
    found = by_id(recorded.ARRAY)
    assert list(found) == ["100_0", "100_1", "100_2"]
    first = found["100_0"]
    assert (first.state, first.seconds, first.limit_minutes, first.cpus, first.nodes, first.gpus) == (
        "COMPLETED", 600, 60, 2, 1, 0
    )  # fmt: skip
    assert [one.wait_seconds for one in found.values()] == [60, 180, 300]
    assert [one.asked_bytes for one in found.values()] == [3 * GB] * 3
    assert [step.name for step in first.steps] == ["batch", "extern", "0"]


def test_memory_is_that_of_the_batch_script_and_of_the_largest_step():
    found = by_id(recorded.ARRAY)
    assert found["100_0"].memory_bytes == GB + 10 * 2**20
    assert found["100_1"].memory_bytes == 2 * GB
    two = Attempt("1", "COMPLETED", 0, 1, 1, 1, 1, 0, 1, 1, [Step("0", 1, 1, 5.0, 5.0), Step("1", 1, 1, 9.0, 9.0)])
    assert two.memory_bytes == 9.0
    assert Attempt("1", "COMPLETED", 0, 1, 1, 1, 1, 0, 1, 1).memory_bytes is None


def test_cpu_time_of_a_killed_step_is_what_was_sampled():
    found = by_id(recorded.ARRAY)
    assert [one.cpu_seconds for one in found.values()] == [900, 1200, 300]


def test_a_job_on_two_machines_that_was_requeued():
    first, second = attempts_of(recorded.TRAINING)
    assert [one.state for one in (first, second)] == ["REQUEUED", "COMPLETED"]
    assert (first.cpus, first.nodes, first.gpus) == (32, 2, 8)
    assert first.asked_bytes == 400 * GB  # of each machine
    assert first.memory_bytes == 200 * GB  # four ranks of 50 GB each; 300 GB on both is a weaker bound
    assert second.memory_bytes == 160 * GB
    assert [one.wait_seconds for one in (first, second)] == [
        1800,
        60,
    ]  # since it might have begun, not since it was sent
    assert first.cpu_seconds == 10.5 * 3600
    assert [one.gpu_seconds for one in (first, second)] == [6.4 * 3600, 4.0 * 1800]


def test_an_element_that_was_requeued_has_two_attempts_apart_from_its_neighbour_s():
    found = attempts_of(recorded.REQUEUED)
    assert [(one.job_id, one.state, one.seconds, len(one.steps)) for one in found] == [
        ("12_1", "REQUEUED", 9, 2), ("12_2", "COMPLETED", 10, 1), ("12_1", "COMPLETED", 6, 2)
    ]  # fmt: skip
    assert [one.memory_bytes for one in found] == [(9296 + 33192) * 1024, 32024 * 1024, 9196 * 1024]
    assert [one.cpu_seconds for one in found] == pytest.approx([0.462, 0.544, 0.370])


def test_the_total_of_all_ranks_bounds_unequal_ones():
    assert Step("0", 2, 8, largest=50.0, total=90.0).memory() == 90.0
    assert Step("0", 2, 7, largest=50.0).memory() == 200.0
    assert Step("0", 1, 1).memory() is None


def test_what_never_began_or_tells_nothing():
    found = by_id(recorded.LOST)
    assert [(one.job_id, one.state, one.seconds) for one in found.values()] == [
        ("300_[0-9%4]", "CANCELLED", 0), ("301", "CANCELLED", 120), ("302", "NODE_FAIL", 240)
    ]  # fmt: skip
    assert found["300_[0-9%4]"].wait_seconds is None
    assert (found["301"].limit_minutes, found["302"].limit_minutes) == (None, None)
    assert (found["301"].asked_bytes, found["302"].asked_bytes) == (4 * GB, 4000 * 2**20)
    assert (found["302"].cpu_seconds, found["302"].memory_bytes, found["302"].gpu_seconds) == (None, None, None)


def test_lines_that_are_no_entry_and_jobs_of_others_are_left_out():
    text = "Welcome\n|||\n" + recorded.ARRAY + recorded.LOST + "100_0|x\n"
    assert list(by_id(text, wanted={"301"})) == ["301"]
    assert len(attempts_of(text)) == 6


def test_an_empty_line_of_every_column_breaks_nothing():
    (one,) = attempts_of("7" + "|" * (len(COLUMNS) - 1))
    assert (one.state, one.seconds, one.cpus, one.wait_seconds, one.asked_bytes) == ("UNKNOWN", 0, 0, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:00", 0), ("03:04.500", 184.5), ("01:02:03", 3723), ("2-01:02:03", 176523), ("", None), ("INVALID", None)],
)
def test_times(text: str, seconds: float | None):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("10240K", 10485760), ("1.50G", 1.5 * GB), ("2T", 2048 * GB), ("", None), ("1Z", None)],
)
def test_sizes(text: str, size: float | None):
    assert bytes_of(text) == size


def test_trackable_resources():
    assert tres_of("") == {}
    assert tres_of("billing=2,cpu=2,mem=3G,gres/gpu:a100=8") == {
        "billing": 2,
        "cpu": 2,
        "mem": 3 * GB,
        "gres/gpu:a100": 8,
    }
