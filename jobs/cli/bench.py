"""`rodin bench`: how fast this machine does a part of the work, and where a run loses detail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import JSON, path_option
from jobs.cli.results import elsewhere, file_of
from jobs.cli.screen import Screen
from jobs.graph.graph import NAMES as STAGES
from jobs.run.hardware import hardware
from jobs.run.record import read_config
from jobs.site import load_site
from rodin.config import Config
from rodin.hooks import Progress
from rodin.store.run_folder import RunFolder

BenchRows = list[dict[str, Any]]


def _fit() -> BenchRows:
    from rodin.bench.fit import bench_fit

    return bench_fit()


def _conv() -> BenchRows:
    from rodin.bench.conv import bench_conv

    return bench_conv()


def _unet() -> BenchRows:
    from rodin.bench.unet import bench_unet

    return bench_unet()


def _guidance() -> BenchRows:
    from rodin.bench.guidance import bench_guidance

    return bench_guidance()


def _train() -> BenchRows:
    from rodin.bench.train import bench_train

    return bench_train()


def _reading() -> BenchRows:
    from rodin.bench.reading import bench_store

    return bench_store()


def _metrics() -> BenchRows:
    from rodin.bench.metrics import bench_metrics

    return bench_metrics()


def _table() -> BenchRows:
    from analysis.tables.table_1 import table_1
    from rodin.bench.table import bench_table

    return bench_table(table_1)


def _submit() -> BenchRows:
    from jobs.launch.bench_submit import bench_submit

    return bench_submit()


def _task(site: Path | None, minutes: float, progress: Progress) -> BenchRows:
    from jobs.launch.bench_task import bench_task
    from jobs.launch.slurm_client import check_clients

    if site is None:
        raise ValueError(f"--site is missing: `rodin bench {TASK}` runs on a cluster, which its site file describes")
    check_clients()
    return bench_task(load_site(site, STAGES), minutes * 60, progress)


def _run_fit(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.fit_run import bench_run

    return bench_run(config, folder, count, progress)


def _run_decoder(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.decoder import bench_decoder

    return bench_decoder(config, folder, count, progress)


def _run_sampling(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.sampling import bench_run

    return bench_run(config, folder, count, progress)


def _run_edits(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.edits import bench_edits

    return bench_edits(config, folder, count, progress)


def _run_mesh(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.mesh import bench_mesh

    return bench_mesh(config, folder, count, progress)


def _run_watermark(config: Config, folder: RunFolder, count: int, progress: Progress) -> BenchRows:
    from rodin.bench.watermark import bench_watermark

    return bench_watermark(config, folder, count, progress)


def print_cascade(run: Path, count: int, output: Path | None, as_json: bool) -> None:
    """Print where a run's cascade loses detail, as its table `cascade`, and draw it."""
    from analysis.figures.cascade import cascade_lines
    from analysis.figures.contact_sheet import contact_sheet, save_sheet
    from analysis.tables.cascade import cascade_rows
    from analysis.tables.tables import render_table
    from rodin.bench.cascade import bench_cascade
    from rodin.store.shards.reader import Shards

    screen, folder = Screen(quiet=as_json), RunFolder(run)
    picture = file_of(output, CASCADE_PICTURE) or folder.figures / CASCADE_PICTURE
    measured = bench_cascade(read_config(folder), folder, count, screen.meter("cascade"))
    screen.clear()
    rows = cascade_rows([row for row, _ in measured])
    machine = hardware(len(os.sched_getaffinity(0)))
    print(json.dumps([row | machine for row in rows], indent=1) if as_json else render_table(rows))
    with elsewhere(output):
        sheet = contact_sheet(cascade_lines(Shards(folder.stage("render"), "views"), measured))
        save_sheet(picture, sheet, "Where detail is lost along the cascade")
    if not as_json:
        print(picture)


BENCHES: dict[str, Callable[[], BenchRows]] = {
    "fit": _fit,
    "conv": _conv,
    "unet": _unet,
    "sample": _guidance,
    "train": _train,
    "store": _reading,
    "metrics": _metrics,
    "table": _table,
    "submit": _submit,
}
RUN_BENCHES: dict[str, Callable[[Config, RunFolder, int, Progress], BenchRows]] = {
    "fit": _run_fit,
    "decoder": _run_decoder,
    "sample": _run_sampling,
    "edit": _run_edits,
    "mesh": _run_mesh,
    "watermark": _run_watermark,
}
COUNT, COUNTS = 8, {"mesh": 12}  # of people: by default, and of benches whose means spread more
CASCADE, CASCADE_PICTURE = "cascade", "figure-cascade.png"
TASK = "task"
NAMES = [*dict.fromkeys([*BENCHES, TASK, *RUN_BENCHES, CASCADE])]


def bench(
    name: Annotated[str, typer.Argument(help=f"{', '.join(NAMES[:-1])} or {NAMES[-1]}")],
    run: Annotated[Path | None, path_option("--run", help="measure with this run's subjects and models")] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--subjects", min=1, help="with --run: number of its subjects, avatars or edits; default 8, of mesh 12"
        ),
    ] = None,
    output: Annotated[
        Path | None, path_option("--output", "-o", help="of cascade: PNG or folder to write to; default RUN/figures")
    ] = None,
    site: Annotated[Path | None, path_option("--site", help="of task: site file of the cluster")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="of task: work of the long task")] = 5.0,
    as_json: JSON = False,
) -> None:
    """Measure how fast this machine does a part of the work, against a named baseline.

    `table` makes up and measures Table 1 of the paper's 1.5 million pictures; `watermark` measures what the invisible
    watermark costs a picture, and what it survives.

    `cascade` measures quality, not time: where detail is lost from the fitted planes to avatars of unseen people, with
    pictures of each step. So does `edit`: whether what a text names comes out, and what else of the avatar changes.
    And `mesh`: how far meshes of fitted people are from the surface that Blender rendered, and whether they are closed.

    `submit` measures the job layer itself with 100,000 subjects, beside submitit's `map_array`; Slurm is stubbed.

    `task` measures on a cluster what the layer adds to a job, beside a bare `srun` of the same function.

    `fit --run` stores each fit as it is measured, so that the same command continues after a stop. `unet` is as wide as
    the paper's base model: minutes on a CPU, and 10 GB.

    \b
    Examples:
      rodin bench fit
      rodin bench fit --run runs/demo --subjects 4
      rodin bench decoder --run runs/demo --subjects 2
      rodin bench conv --json
      rodin bench submit
      rodin bench task --site mine.toml
      rodin bench sample --run runs/demo --subjects 4
      rodin bench cascade --run runs/demo --subjects 4
      rodin bench edit --run runs/evening --subjects 20
      rodin bench mesh --run runs/evening --subjects 12
      rodin bench watermark --run runs/demo --subjects 16
    """
    if name not in NAMES:
        raise ValueError(f"unknown bench '{name}'; there are {', '.join(NAMES)}")
    if output is not None and name != CASCADE:
        raise ValueError(f"--output goes with `rodin bench {CASCADE}`, which draws a picture, not with `{name}`")
    if site is not None and name != TASK:
        raise ValueError(f"--site goes with `rodin bench {TASK}`, not with `{name}`")
    if run is None and name not in (*BENCHES, TASK):
        raise ValueError(f"--run is missing: `rodin bench {name}` needs a run with subjects")
    count = count or COUNTS.get(name, COUNT)
    if run is not None and name == CASCADE:
        print_cascade(run, count, output, as_json)
        return
    screen = Screen(quiet=as_json)
    if run is None and name == TASK:
        rows = _task(site, minutes, screen.meter(name))
        screen.clear()
    elif run is None:
        rows = BENCHES[name]()
    elif name in RUN_BENCHES:
        folder = RunFolder(run)
        rows = RUN_BENCHES[name](read_config(folder), folder, count, screen.meter(name))
        screen.clear()
    else:
        raise ValueError(f"--run goes with `rodin bench {'` or `'.join([*RUN_BENCHES, CASCADE])}`, not with `{name}`")
    if as_json:
        machine = hardware(len(os.sched_getaffinity(0)))
        print(json.dumps([row | machine for row in rows], indent=1))
    else:
        print("\n".join(bench_line(row) for row in rows))


def bench_line(row: dict[str, Any]) -> str:
    """One row of a bench as a line: name, value, ratio to the baseline, the baseline, further ratios."""
    against = f"  ({row['baseline']}: {row['baseline_value']:.4g} {row['unit']})" if row.get("baseline") else ""
    ratio = f"  x{row['ratio']:.2f}" if row.get("ratio") else ""
    over = {key.replace("_", " "): value for key, value in row.items() if key.startswith("over_")}
    cost = "".join(f"  {key} {value:.2f}" for key, value in over.items())
    return f"{row['name']:<32} {row['value']:>10.4g} {row['unit']}{ratio}{against}{cost}"


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(bench)
