"""`rodin bench submit`: what the job layer itself costs with 100,000 subjects, beside submitit's `map_array`.

Slurm's clients are stubs that answer at once; everything else is what a user runs.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import submitit

from jobs.graph.graph import graph
from jobs.graph.work import Run
from jobs.launch.local import environment
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.status import status
from jobs.run.ledger import Submission, submissions
from jobs.run.record import write_config
from jobs.site import Site
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

SUBJECTS = 100_000  # of the paper
PRESET = "paper"
FEW, HALF = 0.01, 0.5  # share of the shards that are missing
SBATCH = """#!/bin/sh
read n < "$RODIN_STUB/count" || n=0
n=$((n + 1))
echo $n > "$RODIN_STUB/count"
echo "Submitted batch job $n"
"""
SACCT = '#!/bin/sh\ncat "$RODIN_STUB/ends" 2>/dev/null || true\n'
QUIET = "#!/bin/sh\n"
TOOLS = dict.fromkeys(("squeue", "scancel", "srun", "scontrol"), QUIET) | {
    "sbatch": SBATCH,
    "sacct": SACCT,
    "sinfo": "#!/bin/sh\necho 16\n",
}
Rows = list[dict[str, Any]]


def bench_submit(subjects: int = SUBJECTS) -> Rows:
    """Measure submission, status and resubmission of a run of so many subjects.

    Returns:
        rows as of every bench; times in seconds.
    """
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="rodin-bench-") as name, stubs(Path(name)) as count:
        folder, site = RunFolder(Path(name) / "run"), Site(name="stub", python="python", retries=3)
        config = preset(PRESET, [f"data.subjects={subjects}"])
        write_config(folder, config)
        work = Run(folder, config, site, tuple(graph(config)))
        launcher = SlurmLauncher(work, lambda line: None, lambda: None)
        seconds, _ = timed(launcher.submit)
        sent, calls = submissions(folder), count()
        elements = sum(len(one.elements) for one in sent)
        files = sum(path.is_file() for path in folder.jobs.rglob("*"))
        theirs, their_calls, their_files = map_array(Path(name) / "submitit", elements, site.max_array_size, count)
        title = f"submit {subjects:,} subjects"
        rows.append(row(f"{title}, {elements:,} elements", seconds, "s", "submitit.map_array", theirs))
        rows.append(row("sbatch calls", calls, "calls", "submitit.map_array", their_calls))
        rows.append(row("files an element", files / elements, "files", "submitit.map_array", their_files / elements))
        finish(work, sent, 0.0)
        seconds, _ = timed(lambda: status(folder, config))
        rows.append(row("status, all done", seconds, "s"))
        for share in (FEW, HALF):
            lost = finish(work, sent, share)
            seconds, _ = timed(lambda: status(folder, config))
            rows.append(row(f"status, {share:.0%} missing", seconds, "s"))
            before = count()
            seconds, again = timed(lambda: launcher.submit(again=True))
            found = sum(len(element) for one in again for element in one.elements)
            if found != lost:
                raise AssertionError(f"{found} shards were sent again, {lost} were missing")
            rows.append(row(f"resubmit, {share:.0%} missing, {count() - before} sbatch", seconds, "s"))
    return rows


@contextmanager
def stubs(folder: Path) -> Iterator[Callable[[], int]]:
    """Stubs of Slurm's clients on PATH; a function that tells how often sbatch was called."""
    place = folder / "bin"
    place.mkdir()
    for tool, text in TOOLS.items():
        (place / tool).write_text(text)
        (place / tool).chmod(0o700)
    (folder / "count").write_text("0\n")
    with environment({"PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "RODIN_STUB": str(folder)}):
        yield lambda: int((folder / "count").read_text())


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a function takes, and what it returns."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def map_array(folder: Path, elements: int, largest: int, count: Callable[[], int]) -> tuple[float, int, int]:
    """Seconds, sbatch calls and files of submitit for so many elements, in arrays as large as they may be."""
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(time=60)
    before = count()

    def send() -> None:
        for begin in range(0, elements, largest):
            executor.map_array(abs, range(begin, min(elements, begin + largest)))

    seconds, _ = timed(send)
    return seconds, count() - before, sum(path.is_file() for path in folder.rglob("*"))


def finish(work: Run, sent: list[Submission], share: float) -> int:
    """Publish every shard but a share of the fits, whose jobs lost their node; how many those are."""
    every = range(work.config.shards("fit"))
    lost = set(list(every)[:: round(1 / share)]) if share else set()
    for stage in work.stages:
        for shard in range(work.config.shards(stage.name)):
            path = work.folder.manifest(stage.name, shard)
            path.parent.mkdir(exist_ok=True)
            if stage.name == "fit" and shard in lost:
                path.unlink(missing_ok=True)
            elif not path.is_file():
                path.write_text(json.dumps({"kind": "stub"}))
    ends = []
    for one in (replace(one) for one in submissions(work.folder)):
        for job, shards in one.job_ids().items():
            state = "NODE_FAIL" if one.stage == "fit" and lost.intersection(shards) else "COMPLETED"
            ends.append(f"{job}|{one.job_name}|{state}|0:0|2026-01-01T00:00:00|node1\n")
    (work.folder.path.parent / "ends").write_text("".join(ends))
    return len(lost)


def row(name: str, value: float, unit: str, baseline: str = "", theirs: float | None = None) -> dict[str, Any]:
    """A row of a bench; a ratio above 1 means that ours is better."""
    found: dict[str, Any] = {"name": name, "value": value, "unit": unit}
    if theirs is not None:
        found |= {"baseline": baseline, "baseline_value": theirs, "ratio": theirs / value if value else None}
    return found
