"""Files that commands read at their start, damaged: one line that names the file, and the rest is still shown."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.app import status_of
from jobs.launch import ends, slurm_client
from jobs.run.failures import Failure, record
from jobs.run.ledger import Submission, enter, submissions
from jobs.run.progress import read_progress
from jobs.run.record import write_config
from jobs.site import load_site
from rodin.presets import preset
from rodin.store import manifest, results
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose first shard of views is done, with a log."""
    folder = RunFolder(tmp_path / "run")
    write_config(folder, preset("tiny"))
    manifest.publish(folder.manifest("render", 0), {"kind": "fake"})
    log = folder.jobs / "logs" / "render" / "1_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"drawn \xff\n")
    return folder


@pytest.fixture
def command(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command on the run: (exit status, stdout, the one line on stderr)."""

    def start(*words: str) -> tuple[int, str, str]:
        status = status_of([*words, str(run.path)])
        found = capsys.readouterr()
        assert len(found.err.splitlines()) <= 1
        return status, found.out, found.err

    return start


TOMLS = {
    "empty": (b"", "is empty"),
    "without a config": (b"[code]\nversion = '0'\n[config]\n", "its table [config] is empty"),
    "not TOML": (b"[config", "Expected ']'"),
    "not UTF-8": (b"seed = '\xff'", "not UTF-8 text"),
    "of another version": (b"[config]\npreset = 'tiny'\nshade = 1\n", "unknown key 'shade'"),
    "huge": (b"#" * (17 << 20), "has 18 MB"),
}


@pytest.mark.parametrize("what", TOMLS)
def test_a_damaged_run_toml(run: RunFolder, what: str, command: Callable[..., tuple[int, str, str]]) -> None:
    content, reason = TOMLS[what]
    run.config_file.write_bytes(content)
    status, out, err = command("status")
    assert (status, out.split()) == (2, ["render", "partly", "1/?"])
    assert err.startswith(f"rodin: error: {run.config_file}: {reason}")
    assert "restore it, or delete it and start the run again with the same preset and --set" in err
    assert command("store", "info")[0] == 2
    assert command("logs") == (0, f"==> {run.jobs}/logs/render/1_0_log.out\ndrawn �\n", "")
    assert command("cancel") == (0, f"{run.path}: nothing is running\n", "")


def test_a_lost_run_toml_hides_no_log(run: RunFolder, command: Callable[..., tuple[int, str, str]]) -> None:
    run.config_file.unlink()
    assert "run.toml is missing" in command("status")[2]
    assert command("logs")[0] == command("cancel")[0] == 0


def test_a_byte_order_mark_does_no_harm(run: RunFolder, command: Callable[..., tuple[int, str, str]]) -> None:
    run.config_file.write_bytes(b"\xef\xbb\xbf" + run.config_file.read_bytes())
    assert command("status")[0] == command("store", "info")[0] == 0
    site = run.path / "site.toml"
    site.write_bytes("\ufeffname = 'here'\n".encode())
    assert load_site(site, []).name == "here"
    site.write_bytes(b"name = '\xe9'\n")
    with pytest.raises(ValueError, match=r"site\.toml: not UTF-8 text"):
        load_site(site, [])


RECORDS = [b"", b"[]", b"{}", b"\xff", b"{", b"[" * 100_000, b'{"stage": 1, "shard": "x", "pid": null, "time": "x"}']


@pytest.mark.parametrize("content", RECORDS)
def test_damaged_records_of_jobs(
    run: RunFolder,
    content: bytes,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelled: list[Submission] = []
    monkeypatch.setattr(
        slurm_client, "queue", lambda sent: {one.job_id: slurm_client.Queued(one.job_id, "RUNNING", "") for one in sent}
    )
    monkeypatch.setattr(ends, "ends_of", lambda ids: {})
    monkeypatch.setattr(slurm_client, "cancel", cancelled.extend)
    monkeypatch.setattr(slurm_client, "cancel_named", cancelled.append)
    enter(run, Submission("a1", "fit", "7", ((0,),), 1.0))
    record(run, Failure("base", 0, "crash", "boom"))
    bad = {name: run.jobs / name for name in ("submissions/2.000-embed-b2.json", "errors/clip-00000-0.json")}
    progress = run.jobs / "progress" / "fit-00000.json"
    for path in (*bad.values(), progress, run.jobs / "lock"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    status, out, err = command("status", "--json")
    assert (status, err) == (0, "")
    found = {row["stage"]: row for row in json.loads(out)}
    assert found["fit"]["jobs"] == ["7"]
    assert (found["base"]["state"], found["base"]["note"]) == ("failed", "boom")
    for stage, path in (("embed", bad["submissions/2.000-embed-b2.json"]), ("clip", bad["errors/clip-00000-0.json"])):
        assert found[stage]["state"] == "problem"
        assert len(found[stage]["problems"]) == 1
        assert found[stage]["problems"][0].startswith(f"{path}: ")
    assert sum(len(row["problems"]) for row in found.values()) == 2
    assert read_progress(run) == []
    status, _, err = command("cancel")
    assert (status, err) == (0, "")
    assert {one.job_name for one in cancelled} == {"rodin-embed-b2", "rodin-fit-a1"}
    assert read_record(bad["submissions/2.000-embed-b2.json"])["withdrawn"] == "`rodin cancel`"
    assert [one.job_id for one in submissions(run)] == ["7"]


def test_status_names_what_is_damaged(run: RunFolder, command: Callable[..., tuple[int, str, str]]) -> None:
    for shard in range(5):
        results.write_rows(run, "timing-render", shard, [{"stage": "timing"}])
        (run.results / f"timing-render-{shard:05d}.jsonl").write_bytes(b"")
    status, out, _ = command("status")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["render", "problem", "1/3"]
    damaged = "results/timing-render-0000{}.jsonl: damaged, is empty; delete it: "
    assert [damaged.format(shard) in line for shard, line in enumerate(lines[1:4])] == [True] * 3
    assert lines[4].strip() == f"and 2 more; `rodin status {run.path} --json` lists all"
    assert lines[5].split() == ["portraits", "waiting", "0/2"]
    run.manifest("render", 0).write_bytes(b"")
    assert "00000.json: not a manifest that rodin wrote" in command("status")[1]
