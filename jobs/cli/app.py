"""The command `rodin`: every command, and the one place where errors become a line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from jobs.cli import captures, presets, run, store, use, watch
from jobs.run.failures import Failed, describe

INTERRUPTED = 130

app = typer.Typer(
    name="rodin",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train RODIN-style 3-D avatar generators, on this machine or as Slurm jobs.\n\n"
    "Start with: rodin run demo. To resume anything: the same command again.",
)
run.add_to(app)
watch.add_to(app)
use.add_to(app)
app.add_typer(captures.importing, name="import")
presets.add_to(app)
store.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 well, 1 something failed, 2 the user can mend it, 130 interrupted."""
    sys.exit(status_of(list(sys.argv[1:] if arguments is None else arguments)))


def status_of(arguments: list[str]) -> int:
    """Run a command; a user's mistake is one line on stderr and 2."""
    try:
        result = app(args=arguments or ["--help"], prog_name="rodin", standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except typer.TyperException as error:
        return _say(" ".join(error.format_message().split()), 2)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted; run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Failed as error:
        return _say(str(error), 1)
    except Exception as error:
        kind, line = describe(error)
        if kind == "user":
            return _say(line, 2)
        raise


def _say(line: str, status: int) -> int:
    print(f"rodin: error: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
