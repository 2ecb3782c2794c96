"""The command `rodin`: all its commands, and the exit status of errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from jobs.cli import (
    bench,
    captures,
    compare,
    departures,
    doctor,
    efficiency,
    export,
    generate,
    logs,
    marks,
    plan,
    presets,
    resubmit,
    results,
    run,
    site,
    store,
    study,
    sweeps,
    uses,
    watch,
)
from jobs.run.failures import Failed, describe, print_error
from rodin import __version__

FAILED, MISTAKE = 1, 2  # exit statuses: something failed; the user can mend it
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it: 128 + SIGINT

app = typer.Typer(
    name="rodin",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train RODIN-style 3-D avatar generators, on this machine or as Slurm jobs.\n\n"
    "Start with: rodin run demo. To resume anything: the same command again.",
)


def print_version(wanted: bool) -> None:
    """Print the version and exit, where it is wanted."""
    if wanted:
        print(f"rodin {__version__}")
        raise typer.Exit


VERSION = typer.Option("--version", help="print the version and exit", callback=print_version, is_eager=True)


@app.callback()
def options(version: Annotated[bool, VERSION] = False) -> None:
    """Options of `rodin` itself, before a command."""


for group in (
    run,
    resubmit,
    sweeps,
    plan,
    watch,
    logs,
    efficiency,
    generate,
    uses,
    results,
    compare,
    study,
    bench,
    captures,
    export,
    marks,
    presets,
    departures,
    store,
    site,
    doctor,
):
    group.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 a failure, 2 a mistake of the user, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # paths that we print need not be UTF-8
    sys.exit(status_of(list(sys.argv[1:] if arguments is None else arguments)))


def status_of(arguments: list[str]) -> int:
    """Run a command and return its exit status; an expected error becomes one line on stderr."""
    try:
        result = app(args=arguments or ["--help"], prog_name="rodin", standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except typer.TyperException as error:
        return _failed(" ".join(error.format_message().split()), MISTAKE)
    except (typer.Abort, KeyboardInterrupt):
        return _failed("interrupted; run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Failed as error:
        return _failed(str(error), FAILED)
    except Exception as error:
        kind, line = describe(error)
        if kind == "user":
            return _failed(line, MISTAKE)
        raise


def _failed(line: str, status: int) -> int:
    print_error(line)
    return status


if __name__ == "__main__":
    main()
