"""No job is ever in Slurm's queue without a record in the run, whatever happens around its sbatch."""

import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import watch
from jobs.graph.graph import chosen, graph
from jobs.graph.work import Run
from jobs.launch import ends, sending, slurm_client
from jobs.launch.chosen import asked_cluster, chosen_by_environment
from jobs.launch.process import check_place
from jobs.launch.slurm import SlurmLauncher
from jobs.launch.slurm_client import Unreachable
from jobs.run.failures import Failed
from jobs.run.ledger import Submission, cut_off, enter, find, note_start, read_ledger, submissions
from jobs.run.record import write_config
from jobs.site import Site
from rodin.presets import preset
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

Answer = Callable[[], str]


class Clients:
    """Slurm's clients: what each does when it is called, the calls, and which variables each was last left."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.calls, self.kept = run, list[tuple[str, ...]](), dict[str, object]()
        self.answers: dict[str, Answer] = {"sbatch": lambda: "Submitted batch job 7 on cluster alpha\n"}

    def __call__(self, *command: str, **options: object) -> str:
        self.calls.append(command)
        self.kept[command[0]] = options.get("keep")
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
    for module in (slurm_client, ends):
        monkeypatch.setattr(module, "call", made)
    monkeypatch.setattr(sending.time, "sleep", lambda seconds: None)
    return made


def launcher(run: RunFolder, stage: str = "fit", **site: object) -> SlurmLauncher:
    config = preset("tiny")
    work = Run(run, config, Site.model_validate({"name": "x", **site}), chosen(graph(config), [stage]))
    return SlurmLauncher(work, lambda line: None, lambda: None)


def refuse(problem: BaseException) -> Answer:
    def answer() -> str:
        raise problem

    return answer


def test_the_record_is_there_before_sbatch_is_called_and_gets_the_id_after(run: RunFolder, clients: Clients):
    def sbatch() -> str:
        (intent,) = cut_off(run)
        assert f"#SBATCH --job-name={intent.job_name}" in Path(clients.calls[-1][1]).read_text()
        return "Submitted batch job 7 on cluster alpha\n"

    clients.answers["sbatch"] = sbatch
    launcher(run, requeues=3, retries=2).submit()
    (sent,) = submissions(run)
    assert (sent.job_id, sent.cluster, sent.stage, sent.starts) == ("7", "alpha", "fit", 5)
    script = (run.path / sent.script).read_text()
    assert cut_off(run) == []
    assert sent.minutes == int(re.findall("--time=(.*)", script)[0])
    assert f"{math.ceil(sent.memory_gb * 1024)}M" == re.findall("--mem=(.*)", script)[0]
    assert script.rstrip().endswith(f"-m jobs.launch.task {shlex.join((str(run.path), 'fit', sent.uid))}")
    assert find(run, "fit", sent.uid) == sent
    assert list(run.path.rglob("*.pkl")) == []


@pytest.mark.parametrize("problem", [StoreError("disk full"), KeyboardInterrupt(), SystemExit()])
def test_a_job_whose_id_could_not_be_written_down_is_found_by_its_name(
    run: RunFolder, clients: Clients, monkeypatch: pytest.MonkeyPatch, problem: BaseException
):
    def fail_with_id(folder: RunFolder, submission: Submission) -> None:
        if submission.job_id:
            raise problem
        enter(folder, submission)

    monkeypatch.setattr(sending, "enter", fail_with_id)
    with pytest.raises(type(problem)) as caught:
        launcher(run).submit()
    monkeypatch.setattr(sending, "enter", enter)
    assert caught.value is problem
    (intent,) = cut_off(run)
    clients.answers["squeue"] = lambda: f"7_0|{intent.job_name}|RUNNING|None\n7_1|{intent.job_name}|PENDING|None\n"
    assert launcher(run).submit() == []
    assert [one.job_id for one in submissions(run)] == ["7"]
    assert clients.named() == []
    assert sum(call[0] == "sbatch" for call in clients.calls) == 1


@pytest.mark.parametrize("words", ["Socket timed out on send/recv operation", "Message receive failure"])
def test_a_lost_answer_is_mended_by_the_name_of_the_job(run: RunFolder, clients: Clients, words: str):
    clients.answers["sbatch"] = refuse(Unreachable(f"sbatch: error: Batch job submission failed: {words}"))
    clients.answers["squeue"] = lambda: f"7|{intent_of(clients)}|PENDING|None\n"
    (sent,) = launcher(run).submit()
    assert sent.job_id == "7"
    assert submissions(run) == [sent]


def intent_of(clients: Clients) -> str:
    """Name of the job that was last sent."""
    script = next(call[1] for call in reversed(clients.calls) if call[0] == "sbatch")
    return re.findall("--job-name=(.*)", Path(script).read_text())[0]


@pytest.mark.parametrize("answer", ["", "job 12 was here before"])
def test_an_answer_that_cannot_be_read_withdraws_the_job_before_it_is_cancelled(
    run: RunFolder, clients: Clients, answer: str
):
    seen: list[str] = []
    clients.answers["sbatch"] = lambda: answer
    clients.answers["scancel"] = lambda: str(seen.append(read_ledger(run)[0][0].withdrawn))
    with pytest.raises(Failed, match="fit: sbatch answered without a job's id: .*; run the same command again later"):
        launcher(run).submit()
    assert len(clients.named()) == 1
    assert "without a job's id" in seen[0]
    assert submissions(run) == cut_off(run) == []


def test_a_job_that_could_not_be_looked_for_stays_on_record_and_is_settled_by_the_next_command(
    run: RunFolder, clients: Clients
):
    clients.answers |= {name: refuse(Unreachable(f"{name}: Unable to contact")) for name in ("sbatch", "squeue")}
    with pytest.raises(Failed, match="fit: sbatch: Unable to contact; run the same command again later"):
        launcher(run).submit()
    (intent,) = cut_off(run)
    with pytest.raises(Failed, match="squeue: Unable to contact; run the same command again later"):
        launcher(run).submit()
    assert cut_off(run) == [intent]
    del clients.answers["squeue"]
    clients.answers["sbatch"] = lambda: "Submitted batch job 8\n"
    launcher(run).submit()
    assert clients.named() == [intent.job_name]
    assert cut_off(run) == []
    assert [one.job_id for one in submissions(run)] == ["8"]
    assert [one.withdrawn != "" for one in read_ledger(run)[0]] == [True, False]


def test_a_job_that_ran_before_its_sbatch_answered_is_known_without_accounting(run: RunFolder, clients: Clients):
    def sbatch() -> str:
        (intent,) = cut_off(run)
        note_start(run, intent, "7")
        raise Unreachable("sbatch did not answer within 120 s")

    clients.answers["sbatch"] = sbatch
    (sent,) = launcher(run).submit()
    assert sent.job_id == "7"
    assert clients.named() == []


LIMIT = "sbatch: error: AssocMaxSubmitJobLimit; sbatch: error: Batch job submission failed: Job violates accounting/QOS"
ARRAY = "sbatch: error: Batch job submission failed: Invalid job array specification"


@pytest.mark.parametrize(("line", "names"), [(LIMIT, ("MaxSubmitJobs", "throttle")), (ARRAY, ("MaxArraySize",))])
def test_an_array_above_a_limit_goes_in_parts(run: RunFolder, clients: Clients, line: str, names: tuple[str, ...]):
    told: list[str] = []

    def sbatch() -> str:
        if "--array" in Path(clients.calls[-1][1]).read_text():
            raise Unreachable(line)
        return f"Submitted batch job {len(clients.calls)}\n"

    clients.answers["sbatch"] = sbatch
    made = launcher(run, "render", throttle=64)
    made.report = told.append
    sent = made.submit()
    assert [one.elements for one in sent] == [((0,),), ((1,),), ((2,),)]
    assert all(name in told[0] for name in names)
    assert sum("smaller arrays" in one for one in told) == 1
    assert [one.elements for one in read_ledger(run)[0]] == [
        one.elements for one in sent
    ]  # what was refused left nothing
    assert len(list((run.jobs / "scripts").iterdir())) == 3


def test_what_sbatch_will_not_have_is_one_line_and_no_job(run: RunFolder, clients: Clients):
    clients.answers["sbatch"] = refuse(Unreachable("sbatch: error: Batch job submission failed: Invalid account"))
    with pytest.raises(
        Failed, match="fit: not submitted: sbatch: error: Batch job submission failed: Invalid account$"
    ):
        launcher(run).submit()
    assert submissions(run) == cut_off(run) == []


def test_cancel_reaches_what_a_killed_driver_left_and_what_squeue_does_not_list(run: RunFolder, clients: Clients):
    write_config(run, preset("tiny"))
    enter(run, Submission("aa", "fit", "5", ((0,),), 1.0))
    enter(run, Submission("bb", "fit", "6", ((1,),), 2.0))
    enter(run, Submission("cc", "sweep-cfg", "", ((0,),), 3.0, cluster="alpha"))
    (run.jobs / "submissions" / "4.000-sweep-views-dd.json").write_text("{")
    clients.answers["squeue"] = lambda: "CLUSTER: here\nsqueue: a note\n5|rodin-fit-aa|RUNNING|None\n"
    watch.cancel(run.path)
    cancelled = [call[2:] for call in clients.calls if call[0] == "scancel" and "--me" not in call]
    assert cancelled == [("5",)]  # squeue tells its name; 6 may be another's job by now
    assert clients.named() == ["rodin-sweep-cfg-cc", "rodin-sweep-views-dd", "rodin-fit-bb"]
    assert "--clusters=alpha" in next(call for call in clients.calls if call[-1] == "--name=rodin-sweep-cfg-cc")
    assert cut_off(run) == []
    assert [one.job_id for one in submissions(run)] == ["5", "6"]


def test_what_the_site_file_says_goes_before_the_shell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_CLUSTERS", raising=False)
    assert asked_cluster(Site(name="x")) == ""
    monkeypatch.setenv("SLURM_CLUSTERS", "alpha")
    assert asked_cluster(Site(name="x")) == "alpha"
    assert asked_cluster(Site(name="x", extra={"clusters": "beta"})) == "beta"
    kept = set(chosen_by_environment(Site(name="x", account="mine", extra={"reservation": "today"}), "fit", 0))
    assert kept == {"SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_WCKEY", "SBATCH_CLUSTERS", "SLURM_CLUSTERS"}
    kept = set(chosen_by_environment(Site(name="x", extra={"clusters": "beta"}), "fit", 0))
    assert not {"SBATCH_CLUSTERS", "SLURM_CLUSTERS"} & kept


def test_what_the_site_file_says_of_some_stages_goes_before_the_shell_for_these(run: RunFolder, clients: Clients):
    own = {"qos": "", "extra": {"reservation": "today", "clusters": "beta"}}
    said = {"cpu": {"partition": "cpu", "account": "mine"}, "stages": {"fit": own}}
    site = Site.model_validate({"name": "x", **said})
    left = {
        (stage, gpus): {name.removeprefix("SBATCH_") for name in chosen_by_environment(site, stage, gpus)}
        for stage in ("fit", "base")
        for gpus in (0, 1)
    }
    assert left == {
        ("fit", 0): {"WCKEY"},
        ("fit", 1): {"WCKEY", "PARTITION", "ACCOUNT"},
        ("base", 0): {"WCKEY", "QOS", "RESERVATION", "CLUSTERS", "SLURM_CLUSTERS"},
        ("base", 1): {"WCKEY", "PARTITION", "ACCOUNT", "QOS", "RESERVATION", "CLUSTERS", "SLURM_CLUSTERS"},
    }
    assert (asked_cluster(site, "fit"), asked_cluster(site, "base")) == ("beta", "")
    launcher(run, "fit", **said).submit()
    assert clients.kept["sbatch"] == ["SBATCH_WCKEY"]


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
