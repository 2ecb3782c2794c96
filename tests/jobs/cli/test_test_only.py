"""`rodin run --test-only`: Slurm is asked about each script that would be submitted, and nothing is."""

import json
from pathlib import Path

import pytest
from fixtures import little_slurm

from jobs.cli.app import status_of


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in little_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "mine.toml").write_text('name = "x"\npartition = "p"\n')
    return tmp_path / "slurm"


def asked(slurm: Path, *more: str) -> list[str]:
    place = ["--run", str(slurm.parent / "run"), "--site", str(slurm.parent / "mine.toml")]
    return ["run", "tiny", "--stages", "render,portraits,clip", *place, "--test-only", *more]


def test_each_script_is_asked_about_and_none_is_sent(slurm: Path, capsys):
    assert status_of(asked(slurm, "--cluster", "slurm")) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["JOBID_OF_render_0", "JOBID_OF_portraits_0", "JOBID_OF_clip_0"]
    assert all("would begin at 2026-11-29T09:00:00 on n[1-2], 4 CPUs" in line for line in told)
    calls = (slurm / "calls").read_text().splitlines()
    assert len(calls) == 3
    assert all(call.startswith("sbatch --test-only ") for call in calls)
    sent = (slurm / "scripts").read_text()
    assert "JOBID_OF" not in sent  # no job that is not there is waited for
    assert sent.count("#SBATCH --partition=p") == 3
    assert not (slurm.parent / "run").exists()


def test_the_shell_chooses_only_what_the_site_file_leaves_open(slurm: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_QOS"):
        monkeypatch.setenv(name, "x")
    (slurm.parent / "mine.toml").write_text(
        'name = "x"\ncpu = { partition = "p" }\nstages.clip.account = "a"\nstages.resubmit.qos = "q"\n'
    )
    assert status_of(asked(slurm, "--cluster", "slurm", "--no-wait")) == 0
    assert (slurm / "variables").read_text().splitlines() == [
        "SBATCH_ACCOUNT SBATCH_QOS",
        "SBATCH_ACCOUNT SBATCH_QOS",
        "SBATCH_QOS",
        "SBATCH_ACCOUNT",
    ]


def test_a_refusal_is_told_in_slurm_s_words_and_is_a_failure(slurm: Path, capsys):
    (slurm / "orders").write_text("refuse-test allocation failure: Invalid account or account/partition combination\n")
    assert status_of(asked(slurm, "--cluster", "slurm", "--json")) == 1
    told = capsys.readouterr()
    rows = json.loads(told.out)
    assert [row["taken"] for row in rows] == [False] * 3
    assert rows[0]["line"] == "allocation failure: Invalid account or account/partition combination"
    assert "Slurm would refuse 3 of 3 jobs" in told.err


@pytest.mark.parametrize(
    "line",
    [
        "sbatch: fatal: Could not establish a configuration source",
        "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host",
        "allocation failure: Unable to contact slurm controller (connect failure)",
        "allocation failure: Socket timed out on send/recv operation",
        "allocation failure: Zero Bytes were transmitted or received",
        "Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_slurm_that_is_away_has_refused_nothing(slurm: Path, capsys, line: str):
    (slurm / "orders").write_text(f"refuse-test {line}\n")
    assert status_of(asked(slurm, "--cluster", "slurm")) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("rodin: error: Slurm does not answer (")
    assert told.err.endswith("; nothing was asked of it\n")


def test_it_needs_a_cluster(slurm: Path, capsys):
    assert status_of(asked(slurm)) == 2
    assert "--test-only needs --cluster slurm" in capsys.readouterr().err
