"""A Slurm of one file: sbatch, srun, squeue, sacct, scancel and scontrol over a JSON state, with faults on order.

Jobs run inside `squeue`, one after another, so that a test is the same every time. Faults are lines of
$FAKE_SLURM/faults, each used once: `refuse` (next sbatch says no), `lost` (next sbatch takes the job and then fails),
`down N` (the next N squeue calls fail), `end STAGE STATE` (the next element of a stage ends so, its work not done),
`signal STAGE NAME FILE` (its next element gets the signal once FILE exists), `abort STAGE` (it ends as FAILED, its work
done), `deaf` (the next scancel fails), `sacct off` (stays). The calls are recorded in $FAKE_SLURM/calls.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

TOOLS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL")


def install(folder: Path) -> Path:
    """Put the tools into folder/bin and return it."""
    tools = folder / "bin"
    tools.mkdir(parents=True)
    for tool in TOOLS:
        path = tools / tool
        call = f"runpy.run_path({str(Path(__file__).resolve())!r}, run_name={tool!r})"
        path.write_text(f"#!{sys.executable} -IS\nimport runpy\n{call}\n")
        path.chmod(0o755)
    (folder / "jobs.json").write_text("{}")
    (folder / "faults").write_text("")
    return tools


class Cluster:
    def __init__(self) -> None:
        self.folder = Path(os.environ["FAKE_SLURM"])
        self.jobs = json.loads((self.folder / "jobs.json").read_text())

    def save(self) -> None:
        (self.folder / "jobs.json").write_text(json.dumps(self.jobs, indent=1))

    def fault(self, start: str) -> str | None:
        """The first fault that starts so, taken off the list."""
        path = self.folder / "faults"
        lines = path.read_text().splitlines()
        found = next((line for line in lines if line.startswith(start)), None)
        if found is not None:
            lines.remove(found)
            path.write_text("\n".join(lines))
        return found

    def sbatch(self, script: str) -> int:
        if self.fault("refuse"):
            print("sbatch: error: Batch job submission failed: Invalid account", file=sys.stderr)
            return 1
        text = Path(script).read_text()
        flags = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
        number = str(1 + len({job.split("_")[0] for job in self.jobs}))
        last = int(flags["array"].split("%")[0].split("-")[1]) if "array" in flags else None
        names = [number] if last is None else [f"{number}_{element}" for element in range(last + 1)]
        for name in names:
            self.jobs[name] = {"state": "PENDING", "script": script, "flags": flags, "text": text}
        self.save()
        if self.fault("lost"):
            print("sbatch: error: Socket timed out on send/recv operation", file=sys.stderr)
            return 1
        print(f"Submitted batch job {number}")
        return 0

    def squeue(self) -> int:
        down = self.fault("down")
        if down:
            left = int(down.split()[1]) - 1
            if left:
                with (self.folder / "faults").open("a") as file:
                    file.write(f"\ndown {left}")
            print("squeue: error: Unable to contact slurm controller", file=sys.stderr)
            return 1
        for name, job in self.jobs.items():
            if job["state"] not in FINAL:
                print(f"{name}|{job['state']}|{'Dependency' if 'dependency' in job['flags'] else 'None'}")
        sys.stdout.flush()
        self.step()
        return 0

    def step(self) -> None:
        """Run what may run; end what never can."""
        if os.environ.get("FAKE_SLURM_HOLD"):
            return
        for name, job in self.jobs.items():
            if job["state"] in FINAL:
                continue
            before = re.findall(r"\d+", job["flags"].get("dependency", "").strip("'"))
            states = [one["state"] for other, one in self.jobs.items() if other.split("_")[0] in before]
            if any(state in FINAL and state != "COMPLETED" for state in states):
                job["state"] = "CANCELLED"
            elif all(state == "COMPLETED" for state in states):
                job["state"] = self.execute(name, job)
            self.save()

    def execute(self, name: str, job: dict) -> str:
        stage = job["flags"]["job-name"].split("-", 1)[1].rpartition("-")[0]
        fault = self.fault(f"end {stage} ")
        if fault:
            return fault.split()[2]
        number, _, element = name.partition("_")
        env = os.environ | {
            "SLURM_JOB_ID": number,
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_NTASKS": "1",
            "SLURM_NODEID": "0",
        }
        env |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": element} if element else {}
        env |= {"SLURM_JOB_NAME": job["flags"]["job-name"], "SLURM_RESTART_COUNT": str(job.get("restarts", 0))}
        done = subprocess.run(["bash", job["script"]], env=env, capture_output=True, text=True, check=False)
        (self.folder / f"{name}.err").write_text(done.stderr)
        requeued = self.folder / f"{name}.requeued"
        if requeued.exists():
            requeued.unlink()
            job["restarts"] = job.get("restarts", 0) + 1
            return "PENDING"
        if self.fault(f"abort {stage}"):
            return "FAILED"
        return "COMPLETED" if done.returncode == 0 else "FAILED"

    def sacct(self, wanted: str) -> int:
        if "sacct off" in (self.folder / "faults").read_text():
            print("Slurm accounting storage is disabled", file=sys.stderr)
            return 1
        for name, job in self.jobs.items():
            number, _, element = name.partition("_")
            if number in wanted.split(","):
                never = element and job["state"] == "CANCELLED"
                print(f"{number}_[{element}]|CANCELLED by 0" if never else f"{name}|{job['state']}")
        return 0

    def scancel(self, arguments: list[str]) -> int:
        if self.fault("deaf"):
            print("scancel: fatal: Could not establish a configuration source", file=sys.stderr)
            return 1
        names = [one.removeprefix("--name=") for one in arguments if one.startswith("--name=")]
        for name, job in self.jobs.items():
            if name.split("_")[0] in arguments or job["flags"]["job-name"] in names:
                job["state"] = job["state"] if job["state"] in FINAL else "CANCELLED"
        self.save()
        return 0

    def scontrol(self, arguments: list[str]) -> int:
        if arguments[0] == "requeue":
            (self.folder / f"{arguments[1]}.requeued").touch()
            return 0
        for name, job in self.jobs.items():
            number, _, element = name.partition("_")
            if number == arguments[-1]:
                place = f"ArrayJobId={number} ArrayTaskId={element} " if element else ""
                print(f"JobId={number} {place}JobState={job['state']} Reason=None")
        return 0


def srun(cluster: Cluster, arguments: list[str]) -> int:
    """Run the command that follows the options, once; signal it where a fault says so."""
    output, command = "", list(arguments)
    while command[0].startswith("--"):
        option = command.pop(0)
        if option == "--output":
            output = command.pop(0)
    env = os.environ | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for mark, name in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID"), ("%j", "SLURM_JOB_ID")):
        output = output.replace(mark, os.environ.get(name, mark))
    stage = os.environ["SLURM_JOB_NAME"].split("-", 1)[1].rpartition("-")[0]
    fault = cluster.fault(f"signal {stage} ")
    with Path(output.replace("%t", "0")).open("a") as file:
        step = subprocess.Popen(command, env=env, stdout=file, stderr=file)
        if fault:
            _, _, name, path = fault.split()
            while not Path(path).exists() and step.poll() is None:
                time.sleep(0.02)
            step.send_signal(signal.Signals[f"SIG{name}"])
        return step.wait()


def call(tool: str, arguments: list[str]) -> int:
    cluster = Cluster()
    with (cluster.folder / "calls").open("a") as file:
        file.write(shlex.join([tool, *arguments]) + "\n")
    if tool == "srun":
        return srun(cluster, arguments)
    if tool == "sbatch":
        return cluster.sbatch(arguments[-1])
    if tool == "squeue":
        return cluster.squeue()
    if tool == "sacct":
        return cluster.sacct(arguments[arguments.index("--jobs") + 1])
    return cluster.scancel(arguments) if tool == "scancel" else cluster.scontrol(arguments)


if __name__ in TOOLS:
    sys.exit(call(__name__, sys.argv[1:]))
