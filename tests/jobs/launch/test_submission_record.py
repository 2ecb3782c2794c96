"""No job is ever in Slurm's queue without a record in the run, whatever happens around its sbatch."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from submitit.core.utils import DelayedSubmission

from jobs.cli import watch
from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import slurm, slurm_client
from jobs.launch.element import Element
from jobs.launch.process import check_place
from jobs.launch.slurm import SlurmLauncher, asked_cluster, chosen_by_environment
from jobs.launch.slurm_client import Unreachable
from jobs.run.failures import Failed
from jobs.run.ledger import Submission, cut_off, enter, submissions
from jobs.run.record import write_config
from jobs.site import Site
from rodin.presets import preset
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

Answer = Callable[[], str]


class Clients:
    """Slurm's clients: what each does when it is called, and the calls."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.calls = run, list[tuple[str, ...]]()
        self.answers: dict[str, Answer] = {"sbatch": lambda: "Submitted batch job 7 on cluster alpha\n"}

    def __call__(self, *command: str, **options: object) -> str:
        self.calls.append(command)
        return self.answers.get(command[0], str)()

    def named(self) -> list[str]:
        """Names of the jobs that were cancelled by their name."""
        return [call[-1].removeprefix("--name=") for call in self.calls if "--me" in call and call[0] == "scancel"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "a 50% run")


@pytest.fixture
def clients(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients(run)
    monkeypatch.setattr(slurm_client, "call", made)
    return made


def launcher(run: RunFolder, stage: str = "fit", **site: object) -> SlurmLauncher:
    config = preset("tiny")
    work = Run(run, config, Site.model_validate({"name": "x", **site}), chosen(graph(config), [stage]))
    return SlurmLauncher(work, lambda line: None, lambda: None)


def refuse(problem: BaseException) -> Answer:
    def answer() -> str:
        raise problem

    return answer


def files(run: RunFolder) -> list[str]:
    return sorted(path.name for folder in ("logs/fit", "submissions") for path in (run.jobs / folder).glob("*"))


def test_the_record_is_there_before_sbatch_is_called_and_gets_the_id_after(run: RunFolder, clients: Clients):
    def sbatch() -> str:
        (intent,) = cut_off(run)
        assert f"#SBATCH --job-name={intent.job_name}" in Path(clients.calls[-1][1]).read_text()
        return "Submitted batch job 7 on cluster alpha\n"

    clients.answers["sbatch"] = sbatch
    launcher(run, requeues=3).submit()
    (sent,) = submissions(run)
    assert (sent.job_id, sent.cluster, sent.stage) == ("7", "alpha", "fit")
    assert (run.path / sent.script).is_file()
    assert cut_off(run) == []
    minutes = int(re.findall("--time=(.*)", (run.path / sent.script).read_text())[0])
    pickles = [DelayedSubmission.load(run.jobs / "logs" / "fit" / f"7_{number}_submitted.pkl") for number in range(2)]
    elements = [cast(Element, one.function) for one in pickles]
    assert [one.tasks[0].shards for one in elements] == list(sent.elements)
    assert {(one._timeout_min, one._timeout_countdown) for one in pickles} == {(minutes, 3)}


@pytest.mark.parametrize("problem", [StoreError("disk full"), KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("where", ["record", "pickle"])
def test_a_failure_after_sbatch_took_the_job_cancels_it(
    run: RunFolder, clients: Clients, monkeypatch: pytest.MonkeyPatch, problem: BaseException, where: str
):
    def fail_with_id(folder: RunFolder, submission: Submission) -> None:
        if submission.job_id:
            raise problem
        enter(folder, submission)

    if where == "record":
        monkeypatch.setattr(slurm, "enter", fail_with_id)
    else:
        monkeypatch.setattr(Path, "rename", lambda path, target: refuse(problem)())
    with pytest.raises(type(problem)) as caught:
        launcher(run).submit()
    assert caught.value is problem
    (name,) = clients.named()
    assert name.startswith("rodin-fit-")
    assert submissions(run) == cut_off(run) == []
    if where == "pickle":
        assert files(run) == []


def test_a_full_disk_after_sbatch_is_one_line(run: RunFolder, clients: Clients, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "rename", lambda path, target: refuse(OSError(28, "No space left on device"))())
    with pytest.raises(StoreError, match="logs/fit: no space left"):
        launcher(run).submit()
    assert len(clients.named()) == 1
    assert files(run) == []


@pytest.mark.parametrize("answer", ["", "job 12 was here before"])
def test_an_answer_that_cannot_be_read_cancels_the_job_it_may_tell_of(run: RunFolder, clients: Clients, answer: str):
    clients.answers["sbatch"] = lambda: answer
    with pytest.raises(Failed, match="fit: not submitted: sbatch answered without a job's id"):
        launcher(run).submit()
    assert len(clients.named()) == 1
    assert files(run) == []


def test_a_job_that_could_not_be_cancelled_stays_on_record_and_is_cancelled_by_the_next_command(
    run: RunFolder, clients: Clients
):
    clients.answers |= {name: refuse(Unreachable(f"{name}: no")) for name in ("sbatch", "scancel")}
    with pytest.raises(Failed, match=r"fit: not submitted: sbatch: no; and scancel: no: should .*`scancel --name="):
        launcher(run).submit()
    (intent,) = cut_off(run)
    with pytest.raises(Failed, match="fit: an earlier submission was cut off; and scancel: no"):
        launcher(run).submit()
    assert cut_off(run) == [intent]
    del clients.answers["scancel"]
    clients.answers["sbatch"] = lambda: "Submitted batch job 8\n"
    launcher(run).submit()
    assert clients.named()[-1] == intent.job_name
    assert cut_off(run) == []
    assert [one.job_id for one in submissions(run)] == ["8"]


def test_cancel_reaches_what_a_killed_driver_left_and_what_squeue_does_not_list(run: RunFolder, clients: Clients):
    write_config(run, preset("tiny"))
    enter(run, Submission("aa", "fit", "5", ((0,),), 1.0))
    enter(run, Submission("bb", "fit", "6", ((1,),), 2.0))
    enter(run, Submission("cc", "sweep-cfg", "", ((0,),), 3.0, cluster="alpha"))
    (run.jobs / "submissions" / "4.000-sweep-views-dd.json").write_text("{")
    clients.answers["squeue"] = lambda: "CLUSTER: here\nsqueue: a note\n5|RUNNING|None\n"
    watch.cancel(run.path)
    cancelled = [call[2:] for call in clients.calls if call[0] == "scancel" and "--me" not in call]
    assert cancelled == [("5",), ("6",)]
    assert clients.named() == ["rodin-sweep-cfg-cc", "rodin-sweep-views-dd"]
    assert "--clusters=alpha" in next(call for call in clients.calls if call[-1] == "--name=rodin-sweep-cfg-cc")
    assert cut_off(run) == []
    assert [one.job_id for one in submissions(run)] == ["5", "6"]


def test_what_the_site_file_says_goes_before_the_shell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_CLUSTERS", raising=False)
    assert asked_cluster(Site(name="x")) == ""
    monkeypatch.setenv("SLURM_CLUSTERS", "alpha")
    assert asked_cluster(Site(name="x")) == "alpha"
    assert asked_cluster(Site(name="x", extra={"clusters": "beta"})) == "beta"
    kept = set(chosen_by_environment(Site(name="x", account="mine", extra={"reservation": "today"})))
    assert kept == {"SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_WCKEY", "SBATCH_CLUSTERS", "SLURM_CLUSTERS"}
    kept = set(chosen_by_environment(Site(name="x", extra={"clusters": "beta"})))
    assert not {"SBATCH_CLUSTERS", "SLURM_CLUSTERS"} & kept


@pytest.mark.parametrize(
    ("name", "local", "slurm"),
    [
        ("cfg 50%jobs", "%j", "%j"),
        ("at 10:30", ":", ":"),
        ("%x", None, "%x"),
        ("%5t", None, "%5"),
        ("100%%", None, "%%"),
        ("a\\b", None, r"\\\\"),
        ("a\nb", None, r"\\n"),
        ('50% of it\'s [*] $HOME "#5" ü', None, None),
        ("100%", None, None),
    ],
)
def test_a_path_that_would_be_changed_is_refused(tmp_path: Path, name: str, local: str | None, slurm: str | None):
    for cluster, mark in (("local", local), ("slurm", slurm)):
        if mark is None:
            check_place(tmp_path / name / "run", cluster)
        else:
            with pytest.raises(ValueError, match=f"holds '{mark}', which .*; choose another run folder") as caught:
                check_place(tmp_path / name / "run", cluster)
            assert "\n" not in str(caught.value)
