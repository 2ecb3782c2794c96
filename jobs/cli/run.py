"""`rodin run`, and the driving of a run that other commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from jobs.cli.in_queue import check_queue, check_source
from jobs.cli.options import ASKS, CLUSTER, FROM, JSON, MAX_FAILS, NEW_RUN, PRESET_OR_FROM, SET, SITE, STAGES
from jobs.cli.prepare import check_change, check_machine, notes_of, prepare, sources_of, tell
from jobs.cli.screen import Screen
from jobs.cli.summary import summary, summary_text
from jobs.cli.taking import planned_lines, with_taken
from jobs.graph.changes import change_of, make_change
from jobs.graph.work import Run
from jobs.launch.chosen import chosen_by_environment
from jobs.launch.slurm_client import Unreachable, check_clients
from jobs.launch.test_only import would_take
from jobs.plan.asks import with_asks
from jobs.plan.plan import plan_rows, plan_text
from jobs.run.failures import Failed, failures
from jobs.run.lock import driving
from jobs.run.snapshot import take
from jobs.site import keep_site
from jobs.weights import check_weights
from rodin.store.run_folder import RunFolder


def run(
    name: PRESET_OR_FROM = None,
    folder: NEW_RUN = None,
    source: FROM = None,
    changes: SET = None,
    stages: STAGES = None,
    cluster: CLUSTER = "local",
    site: SITE = None,
    asks: ASKS = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be submitted; write nothing")] = False,
    test_only: Annotated[bool, typer.Option("--test-only", help="slurm: ask it about each script")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="slurm: submit, and leave it to a job of the run")] = False,
    refresh_code: Annotated[bool, typer.Option("--refresh-code", help="give the run today's code")] = False,
    max_fails: MAX_FAILS = None,
    as_json: JSON = False,
) -> None:
    """Run a preset up to its report; what is already done is not done again.

    With --from, what another run has finished is taken over, as far as no key differs that it follows from: as links,
    or as copies on another file system. Both runs go their own ways from there.

    \b
    Examples:
      rodin run demo
      rodin run tiny --run /scratch/tiny --set fit.steps=50
      rodin run small --stages render,decoder,fit
      rodin run --from runs/demo --run runs/lower --set base.training.lr=0.0001
      rodin run paper --cluster slurm --site mine.toml --dry-run
      rodin run paper --cluster slurm --site mine.toml --asks asks.toml --test-only
    """
    work, change = prepare(name, folder, changes or [], stages, cluster, site, source)
    check_change(work.folder, change)
    work, lines = with_asks(work, asks)
    sources = sources_of(work.folder, source)
    if test_only and cluster != "slurm":
        raise ValueError("--test-only needs --cluster slurm: it is Slurm that is asked")
    if dry_run or test_only:
        tell([*lines, *notes_of(work), *planned_lines(work, sources)], change)
        if test_only:
            test_scripts(work, no_wait, as_json)
        else:
            print_scripts(work, cluster, no_wait, as_json)
        return
    for line in lines:
        print(f"note: {line}", file=sys.stderr)
    if cluster == "slurm":
        check_clients()
    elif no_wait or max_fails:
        raise ValueError(
            f"{'--no-wait' if no_wait else '--max-fails'} needs --cluster slurm; local stages run inside this command"
        )
    check_weights(work)
    for one in sources:
        check_source(one)
    execute(work, cluster, no_wait, refresh_code, as_json, sources=sources, max_fails=max_fails or 0)


def scripts_of(work: Run, no_wait: bool) -> list[tuple[str, str]]:
    """Names and batch scripts of the jobs that would be submitted."""
    from jobs.launch.handing_on import with_script
    from jobs.launch.scripts import scripts

    return with_script(work, scripts(work)) if no_wait else scripts(work)


def print_scripts(work: Run, cluster: str, no_wait: bool, as_json: bool) -> None:
    """Print the batch scripts that would be submitted, or the plan of a local run."""
    if cluster == "local":
        print(json.dumps(plan_rows(work), indent=1) if as_json else plan_text(work))
        return
    found = scripts_of(work, no_wait)
    if as_json:
        print(json.dumps([{"name": name, "script": text} for name, text in found], indent=1))
    else:
        print("\n".join(f"### {name}\n{text}" for name, text in found))


def test_scripts(work: Run, no_wait: bool, as_json: bool) -> None:
    """Print what Slurm says of each batch script that would be submitted; nothing is written or submitted.

    Raises:
        Failed: it would refuse one, or does not answer.
    """
    check_clients()
    gpus, rows = {stage.name: work.resources(stage).gpus for stage in work.stages}, list[dict[str, object]]()
    for name, text in scripts_of(work, no_wait):
        stage = name.removeprefix("JOBID_OF_").rpartition("_")[0]  # or the job that sends again, which needs no GPU
        try:
            answer = would_take(text, chosen_by_environment(work.site, stage, gpus.get(stage, 0)))
        except Unreachable as error:
            raise Failed(f"Slurm does not answer ({error}); nothing was asked of it") from None
        rows.append({"name": name, "taken": answer.taken, "line": answer.line})
        if not as_json:
            print(f"{name}: {'' if answer.taken else 'refused: '}{answer.line}", flush=True)
    if as_json:
        print(json.dumps(rows, indent=1))
    refused = [row["name"] for row in rows if not row["taken"]]
    if refused:
        raise Failed(f"Slurm would refuse {len(refused)} of {len(rows)} jobs; `rodin doctor --site FILE` says more")


def execute(
    work: Run,
    cluster: str,
    no_wait: bool,
    refresh_code: bool,
    as_json: bool,
    report_again: bool = False,
    sources: Sequence[RunFolder] = (),
    max_fails: int = 0,
) -> None:
    """Drive a run to its end and print a summary.

    Args:
        work: what is to be done.
        cluster: local or slurm.
        no_wait: submit and return.
        refresh_code: replace the run's snapshot of the code.
        as_json: print the summary as JSON.
        report_again: the report's manifest is withdrawn first, so that the report is written anew.
        sources: runs whose finished stages are taken over first.
        max_fails: slurm: failed shards of a stage from which on no more of it begins; 0: no such limit.

    Raises:
        Failed: a stage failed for a reason that the user cannot mend.
        ValueError: a stage failed for a reason that the user can mend.
    """
    screen = Screen(quiet=as_json)
    begin = time.time()
    for line in notes_of(work):
        screen.note(f"note: {line}")
    drive(work, cluster, no_wait, refresh_code, screen, report_again, sources, max_fails)
    screen.clear()
    found = summary(work, begin)
    print(json.dumps(found) if as_json else summary_text(found))


def drive(
    work: Run,
    cluster: str,
    no_wait: bool,
    refresh_code: bool,
    screen: Screen,
    report_again: bool = False,
    sources: Sequence[RunFolder] = (),
    max_fails: int = 0,
) -> None:
    """Drive a run to its end; arguments and errors as of `execute`, with progress on `screen`."""
    if cluster == "local":
        check_machine(work)
    with driving(work.folder, screen.note), terminating():
        if cluster == "local":
            check_queue(work.folder, "would do the same work")
        if refresh_code and work.folder.code.is_dir():
            check_queue(work.folder, "runs the code that --refresh-code replaces")
        work = changed(work, screen)
        work = with_taken(work, sources, screen)
        if report_again:
            work.folder.manifest("report").unlink(missing_ok=True)
        if take(work.folder, refresh_code):
            screen.note("note: the code has changed since this run began; the run keeps its own (--refresh-code)")
        try:
            _launch(work, cluster, no_wait, screen, max_fails)
        except Failed as error:
            screen.clear()
            explain(work, error)


def changed(work: Run, screen: Screen) -> Run:
    """Write the config of a run, make way for what it changes in a run that has begun, and say so in one line.

    Raises:
        ValueError: a stage that has begun was made with other values, or queued jobs would read the new ones.
    """
    change = change_of(work.folder, work.config)
    check_change(work.folder, change)
    if change.keys or change.reopened:
        check_queue(work.folder, "would read the changed config")
    make_change(work.folder, work.config, change)
    if (sentence := change.sentence()) is not None:
        screen.note(f"note: {sentence}")
    return dataclasses.replace(work, reopened=frozenset())


def _launch(work: Run, cluster: str, no_wait: bool, screen: Screen, max_fails: int) -> None:
    if cluster == "slurm":
        from jobs.launch.handing_on import leave
        from jobs.launch.slurm import SlurmLauncher

        check_code(work.folder)
        keep_site(work.folder, work.site)
        launcher = SlurmLauncher(work, screen.note, screen.watcher(work), max_fails)
        leave(launcher) if no_wait else launcher.drive()
    else:
        from jobs.launch.local import LocalLauncher

        LocalLauncher(work, screen.note, screen.watcher(work)).drive()


def check_code(folder: RunFolder) -> None:
    """Refuse to send jobs with a run's own code where that is older than the jobs' way to find their work.

    Raises:
        ValueError: names the option that replaces the code.
    """
    if folder.code.is_dir() and not (folder.code / "jobs" / "launch" / "task.py").is_file():
        raise ValueError(f"{folder.code}: is of an older rodin, whose jobs this one cannot send; add --refresh-code")


def explain(work: Run, error: Failed) -> None:
    """Raise the first recorded failure of the run's stages, or `error` if none is recorded.

    Raises:
        ValueError: the recorded failure is a mistake of the user.
        Failed: any other failure.
    """
    names = {stage.name for stage in work.stages}
    found = [one for one in failures(work.folder) if one.stage in names]
    if not found:
        raise error
    others = f" (and {len(found) - 1} more: `rodin status {work.folder.path}`)" if len(found) > 1 else ""
    sentence = found[0].sentence() + others
    raise (ValueError(sentence) if found[0].kind == "user" else Failed(sentence)) from None


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C: workers are stopped and save their state first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(run)
