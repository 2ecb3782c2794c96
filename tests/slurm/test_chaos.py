"""A fit array and a two-node training on a real Slurm, under a dozen kinds of faults at random times.

`pytest -m chaos` draws 20 faults; RODIN_CHAOS_FAULTS=200 as many as that, RODIN_CHAOS_SEED another sequence,
RODIN_CHAOS_SECONDS another mean time between two, RODIN_CHAOS_STEPS a longer training. The first line of the report
replays the faults: their kinds, times and victims; not the moment of a job at which each of them comes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures import private_slurm as private
from fixtures.obedient import Rodin
from slurm_chaos.account import rows, settle, table
from slurm_chaos.fault import Fault
from slurm_chaos.faults import Injector
from slurm_chaos.machine import Machine
from slurm_chaos.rounds import SITE, STAGES, STEPS, Outcome, Round, counting_tree, differences, make_start, small_disk

from jobs.run.ledger import submissions

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(6 * 3600)]
DISK_MB = 400
NODES = 4
FAULTS = int(os.environ.get("RODIN_CHAOS_FAULTS", "20"))
SEED = int(os.environ.get("RODIN_CHAOS_SEED", str(int(time.time()) % 1_000_000)))
SECONDS = float(os.environ.get("RODIN_CHAOS_SECONDS", "15"))
REPLAY = (
    f"RODIN_CHAOS_SEED={SEED} RODIN_CHAOS_FAULTS={FAULTS} RODIN_CHAOS_SECONDS={SECONDS:g} "
    f"RODIN_CHAOS_STEPS={STEPS} pytest -m chaos"
)


def test_nothing_is_lost_doubled_or_half_written_under_faults(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    def tell(line: str) -> None:
        with capfd.disabled():
            print(time.strftime("%H:%M:%S"), line, flush=True)

    tell(REPLAY)
    disk = small_disk(tmp_path / "disk", DISK_MB)  # before the nodes: their namespaces are copies of ours
    runs = disk or tmp_path / "disk"
    folder, environment = private.start("--nodes", str(NODES))
    machine = Machine(folder, environment, disk, NODES)
    try:
        (tmp_path / "site.toml").write_text(SITE)
        make_start(tmp_path / "start")
        tree = counting_tree(tmp_path / "tree", tmp_path / "done")
        rodin = Rodin(tree, runs, environment | {"OMP_NUM_THREADS": "1"})
        found = chaos(machine, rodin, tmp_path, tell)
        (tmp_path / "chaos.json").write_text(json.dumps(found, indent=1))
        tell(f"{tmp_path}/chaos.json\n{table(found['faults'])}\n{json.dumps(found['all'], indent=1)}")
        assert [found["all"][word] for word in ("lost", "doubled", "damage", "differences")] == [0, 0, [], 0]
    finally:
        private.stop(folder)
        if disk is not None:
            subprocess.run(["umount", "--lazy", disk], check=True)


def chaos(machine: Machine, rodin: Rodin, work: Path, tell: Callable[[str], None]) -> dict:
    """Rounds until there were enough faults, then one without; what is to be told of them."""
    injector = Injector(machine, SEED, SECONDS, FAULTS)
    disturbed = list[Outcome]()
    while len(injector.faults) < FAULTS:
        disturbed.append(one_round(Round(machine, rodin, work, str(len(disturbed))), injector, tell))
    quiet = one_round(Round(machine, rodin, work, "quiet"), None, tell)
    return report(quiet, disturbed, injector.faults, list(injector.kinds))


def one_round(one: Round, injector: Injector | None, tell: Callable[[str], None]) -> Outcome:
    """What came out of a round, whose faults are settled and written down; its runs are kept if it failed."""
    faults = injector.faults if injector is not None else []
    before = len(faults)
    try:
        one.drive(injector, tell)
        return one.outcome()
    except BaseException:
        one.keep()
        raise
    finally:
        ledgers = {stage: submissions(one.folder(stage)) for stage in STAGES}
        settle(one.machine, faults[before:], ledgers, [mend for client in one.clients for mend in client.mends])
        with (one.work / "faults.jsonl").open("a") as file:
            file.writelines(json.dumps(vars(fault)) + "\n" for fault in faults[before:])
        tell(one.state(injector))
        one.remove()


def report(quiet: Outcome, disturbed: list[Outcome], faults: list[Fault], kinds: list[str]) -> dict:
    useful = sum(one.useful * one.training for one in disturbed) / 3600
    hours = sum(max(one.seconds.values()) for one in disturbed) / 3600
    training = sum(one.training for one in disturbed) / 3600
    hits = sum("base" in fault.runs for fault in faults)
    cancelled = sum(fault.mends for fault in faults if fault.kind == "element cancelled")
    return {
        "replay": REPLAY,
        "faults": rows(faults, kinds),
        "all": {
            "rounds": len(disturbed),
            "lost": sum(one.lost for one in disturbed),
            "doubled": sum(one.doubled for one in disturbed),
            "damage": [line for one in disturbed for line in one.damage],
            "differences": sum(differences(one, quiet) for one in disturbed),
            "hours": hours,
            "faults_an_hour": len(faults) / hours,
            "faults_of_the_training_an_hour": hits / training,
            "effective_training_time_ratio": useful / training,
            "the_same_undisturbed": quiet.useful,
            "subjects_fitted_again": sum(one.again["fit"] for one in disturbed),
            "subjects": sum(len(one.planes) for one in disturbed),
            "steps_again": sum(one.again["base"] for one in disturbed),
            "seconds_undisturbed": quiet.seconds,
            "second_clients_refused": sum(one.refused for one in disturbed),
            "begun_before_a_full_disk": sum(one.told_full for one in disturbed),
            "mends": sum(one.mends for one in disturbed) - cancelled,
            "cancelled_and_typed_again": cancelled,  # whoever cancels an element decides whether it is sent again
        },
    }
