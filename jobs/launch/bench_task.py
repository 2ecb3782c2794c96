"""`rodin bench task`: what our layer adds to a task on the cluster, beside a bare `srun` of the same function.

The function loads nothing but Python and does a fixed amount of work, so that all else is the layer: its imports, the
ledger, the claim, progress, the manifest. Each pair runs side by side, so that other load meets both alike.
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.graph.graph import stage_of
from jobs.graph.work import Run
from jobs.launch import slurm_client
from jobs.launch.bench_submit import row
from jobs.launch.chosen import chosen_by_environment
from jobs.launch.scripts import batches, script_of
from jobs.run.failures import Failed, last_line
from jobs.run.ledger import Submission, enter
from jobs.run.record import write_config
from jobs.run.snapshot import take
from jobs.site import Site
from rodin.hooks import Progress
from rodin.presets import preset
from rodin.store.atomic import make_folder
from rodin.store.run_folder import RunFolder

STARTS = 5  # pairs whose start is measured; the row is their median
STAGE = "fit"  # the stage whose place the function takes
POLL_SECONDS = 1.0
SLOW_LOOKS = 30  # looks at a queue without the jobs until their files must be seen: file systems show them late
BUSY = 10  # times as long as on an idle machine the long task may take
WORK = 100_000  # additions in one unit of work: some milliseconds
FUNCTION = '''
"""The function that `rodin bench task` times."""

import json
import os
import time

from rodin.store import manifest


def run(config, folder, shard, hooks):
    entered, cpu = time.time(), time.process_time()
    units = json.loads((folder.path / "units.json").read_text())[shard]
    for unit in range(units):
        sum(range(WORK))
        hooks.progress(unit + 1, units, "")
    told = {"entered": entered, "cpu": cpu, "left": time.time(), "worked": time.process_time() - cpu}
    (folder.path / os.environ["RODIN_BENCH"]).write_text(json.dumps(told))
    manifest.publish(folder.manifest("fit", shard), {"kind": "bench"})
'''
BARE = (
    "import sys; from pathlib import Path; from rodin.hooks import Hooks; from rodin.stages import fit; "
    "from rodin.store.run_folder import RunFolder; run = RunFolder(Path(sys.argv[1])); "
    "fit.run(None, run, int(sys.argv[2]), Hooks())"
)
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Timed:
    """A job that has ended, seconds.

    Args:
        start: from the first line of its script to that of the function.
        start_cpu: of the processor, in the process of the function, until then.
        worked: of the processor, in the function.
        end: from the last line of the function to that of the script.
        whole: from the first line of the script to its last.
    """

    start: float
    start_cpu: float
    worked: float
    end: float
    whole: float


def bench_task(site: Site, seconds: float, progress: Progress) -> Rows:
    """Measure the start and the whole of a task under our layer, and the same of a bare srun.

    Args:
        site: the cluster.
        seconds: of work in the long task.
        progress: called with (pairs done, all pairs, note).

    Raises:
        Failed: a job did not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix=".rodin-bench-", dir=Path.cwd()) as name:  # where compute nodes see it
        pairs = Pairs(Path(name) / "run", site, seconds)
        short = []
        for number in range(STARTS):
            progress(number, STARTS + 1, "starts")
            short.append(pairs.pair(number))
        progress(STARTS, STARTS + 1, f"a task of {seconds:.0f} s")
        ours, bare = pairs.pair(STARTS)
        progress(STARTS + 1, STARTS + 1, "")
    rows = []
    for title, part in (("start", "start"), ("start, CPU", "start_cpu"), ("end", "end")):
        our, their = (statistics.median(getattr(pair[side], part) for pair in short) for side in (0, 1))
        rows.append(row(f"{title} of a task", our, "s", "bare srun", their))
        rows.append(row(f"added: {title}", our - their, "s"))
    title = f"a task of {seconds:.0f} s"
    rows.append(row(title, ours.whole, "s", "bare srun", bare.whole))
    rows.append(row(f"added to {title}", 100 * (ours.whole / bare.whole - 1), "%"))
    cpu = [one.start_cpu + one.worked for one in (ours, bare)]
    rows.append(row(f"added to {title}, CPU", 100 * (cpu[0] / cpu[1] - 1), "%"))
    return rows


class Pairs:
    """Pairs of jobs that run the function at the same time, one under our layer, one without.

    Args:
        path: a new run folder, which compute nodes see.
        site: the cluster.
        seconds: of work in the last pair; the others have none.
    """

    def __init__(self, path: Path, site: Site, seconds: float) -> None:
        shards = 2 * (STARTS + 1)
        config = preset("tiny", [f"data.subjects={shards}", "data.shard_subjects=1"])
        self.work = Run(RunFolder(path), config, site, (stage_of(STAGE),))
        path.mkdir()
        write_config(self.work.folder, config)
        take(self.work.folder)
        (self.work.folder.code / "rodin" / "stages" / f"{STAGE}.py").write_text(FUNCTION.replace("WORK", str(WORK)))
        make_folder(self.work.folder.jobs / "logs" / STAGE)
        make_folder(self.work.folder.stage(STAGE))
        self.minutes = math.ceil(BUSY * seconds / 60)
        units = [0] * (shards - 2) + [round(seconds / unit_seconds())] * 2
        (path / "units.json").write_text(json.dumps(units))

    def pair(self, number: int) -> tuple[Timed, Timed]:
        """Run a pair: ours, then the bare one."""
        sent = [self._send(2 * number, bare=False), self._send(2 * number + 1, bare=True)]
        files = [self.work.folder.path / f"{name}.ended" for name, _ in sent]
        gone = 0
        while gone <= SLOW_LOOKS and not all(file.is_file() and file.read_text().strip() for file in files):
            time.sleep(POLL_SECONDS)
            try:
                gone = 0 if slurm_client.queue([one for _, one in sent]) else gone + 1
            except slurm_client.Unreachable:
                gone = 0
        return self._read(sent[0][0]), self._read(sent[1][0])

    def _send(self, shard: int, bare: bool) -> tuple[str, Submission]:
        """Submit the function on one shard; the name under which it tells its times, and the submission."""
        run, folder = self.work, self.work.folder
        resources = run.resources(run.stages[0])
        (batch,) = batches(run.stages[0], resources, [shard], run.config.shards(STAGE), run.site)
        batch = replace(batch, minutes=min(run.site.max_minutes, batch.minutes + self.minutes))
        one = Submission(uuid.uuid4().hex[:8], STAGE, "", batch.elements, time.time(), starts=run.site.retries)
        enter(folder, one)
        name = f"{'bare' if bare else 'ours'}-{shard}"
        lines = script_of(run, batch, one, []).splitlines()
        first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
        place = shlex.quote(str(folder.path.resolve()))
        lines[first:first] = [f"export RODIN_BENCH={name}.json", f"date +%s.%N > {place}/{name}.begun"]
        if bare:
            python = shlex.quote(run.site.python)
            lines[-1] = lines[-1].split(python)[0] + f"{python} -c {shlex.quote(BARE)} {place} {shard}"
        lines.append(f"date +%s.%N > {place}/{name}.ended")
        script = folder.path / f"{name}.sh"
        script.write_text("\n".join(lines) + "\n")
        try:
            slurm_client.send(script.resolve(), chosen_by_environment(run.site, STAGE, resources.gpus))
        except slurm_client.Unreachable as problem:
            raise Failed(f"the bench was not submitted: {problem}") from None
        return name, one

    def _read(self, name: str) -> Timed:
        place = self.work.folder.path
        try:
            begun, ended = (float((place / f"{name}.{word}").read_text()) for word in ("begun", "ended"))
            told = json.loads((place / f"{name}.json").read_text())
        except (FileNotFoundError, ValueError):
            logs = sorted((self.work.folder.jobs / "logs" / STAGE).iterdir(), key=lambda log: log.stat().st_mtime)
            raise Failed(
                f"a job of the bench failed; its log ends in: {last_line(logs[-1]) if logs else '-'}"
            ) from None
        return Timed(told["entered"] - begun, told["cpu"], told["worked"], ended - told["left"], ended - begun)


def unit_seconds() -> float:
    """Seconds of a unit of the function's work, here."""
    units, begin = 20, time.process_time()
    for _ in range(units):
        sum(range(WORK))
    return (time.process_time() - begin) / units
