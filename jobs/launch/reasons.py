"""Slurm's words: why jobs wait, which of them for a person and which can never start; and what is no answer."""

import re

HELD = re.compile(r"held|MaxRequeue", re.IGNORECASE)
RELEASED = re.compile(r"requeued|launch failed", re.IGNORECASE)  # held by Slurm itself, not by a person
# what sbatch says where the controller did not answer: whether it took the job is not known
AWAY = re.compile(
    r"Unable to contact|timed out|connect|Zero Bytes|Message (send|receive) failure|Transport endpoint|did not answer"
    r"|standby mode|resolve_ctls|configuration source|without a job's id",
    re.IGNORECASE,
)
DEPENDENCY = "DependencyNeverSatisfied"
NEVER = {  # reason -> what it means, and what to change in the site file
    DEPENDENCY: "a job that it waits for has failed",
    r"PartitionTimeLimit|MaxWall": "its time is above a limit of the partition, account or QOS; lower `max_minutes`",
    r"PartitionNodeLimit": "it asks for more machines than the partition has; lower `train_nodes`",
    r"BadConstraints": "no machine is as it asks; see `constraint`, `memory_gb_per_node` and `cpus_per_node`",
    # not PerUser and PerAccount, which other jobs of theirs use up, and whose end makes room
    r"(Assoc|QOS)Max\w+Per(Job|Node)": "it is larger than a limit of the account or QOS",
    r"(Invalid|Not)(Account|QOS)|(Account|QOS)NotAllowed": "see `account` and `qos`: they may not be used here",
}


def why_never(reason: str) -> str | None:
    """Why a job can never start; None: it may.

    Args:
        reason: in Slurm's words.
    """
    return next((f"{reason}: {text}" for pattern, text in NEVER.items() if re.search(pattern, reason)), None)
