"""What a Slurm client says, on stdout and on stderr: several answer on stderr."""

from __future__ import annotations

import subprocess
from collections.abc import Collection

from jobs.launch.slurm_client import LONGEST_REASON, TIMEOUT, Unreachable, environment


def said(*command: str, seconds: float = TIMEOUT, keep: Collection[str] = ()) -> str:
    """All that a Slurm client prints, stdout first, run without the variables by which a shell changes its meaning.

    Args:
        command: the client and its arguments.
        seconds: longest wait for it.
        keep: names of such variables that it gets nevertheless.

    Raises:
        Unreachable: it failed, or did not answer in time; the message is one line.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment(keep),
        )
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {seconds:.0f} s") from None
    except OSError as error:
        raise Unreachable(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        words = "; ".join(filter(None, (line.strip() for line in (done.stderr or done.stdout).splitlines())))
        raise Unreachable(f"{command[0]}: {words.removeprefix(f'{command[0]}: ')[:LONGEST_REASON] or 'no answer'}")
    return done.stdout + done.stderr
