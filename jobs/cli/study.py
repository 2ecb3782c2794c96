"""`rodin study`: Table 2, a user study by forced choice: build it, invite raters, show it, and count."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from jobs.cli.export import many, say
from jobs.cli.made import tell
from jobs.cli.options import JSON, path_argument, path_option
from jobs.cli.screen import Screen
from rodin.generate.options import MOST_SEED
from rodin.store.run_folder import RunFolder

STUDY = Annotated[Path, path_argument(metavar="DIR", help="folder of a study")]
OUTPUT = Annotated[Path, path_option("--output", "-o", metavar="DIR", help="folder to write; new, or this study's")]
METHODS = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=PATH]...", help="a method, and its folder of PNG files or its run; the first is ours"
    ),
]
QUESTION = Annotated[str, typer.Option("--question", help="what raters are asked of each pair")]
RUN = Annotated[Path | None, path_option("--run", help="run folder for --methods")]
OF_RUN = Annotated[
    str | None,
    typer.Option(
        "--methods", help="of --run: rodin, autoencoder, mean, nearest, with-roll-out, without-roll-out; by commas"
    ),
]
OF = Annotated[str, typer.Option("--of", help="of runs: people (held-out ones, rebuilt) or samples (from nothing)")]
REFERENCE = Annotated[
    Path | None,
    path_option("--reference", help="compare with these: a folder, or a run for its held-out people's pictures"),
]
CONSENT = Annotated[str | None, typer.Option("--consent", help="text that raters agree to first; default: a short one")]
ITEMS = Annotated[int | None, typer.Option("--items", help="at most so many items; default: all that are shared")]
TRIALS = Annotated[int | None, typer.Option("--trials", help="pairs for each rater; default: all, at most 30")]
CATCH = Annotated[
    int | None,
    typer.Option("--catch", help="more pairs for each rater, one of them obviously wrong; default: 4 where there are"),
]
REPEATS = Annotated[
    int | None,
    typer.Option(
        "--repeats", help="more pairs for each rater, seen before with sides swapped; default: 4 where there are"
    ),
]
SEED = Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="of orders, sides and choices")]
SIZE = Annotated[int, typer.Option("--size", help="side of the pictures, pixels")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="say what it would be and write nothing")]
HOST = Annotated[str, typer.Option("--host", help="address to listen on; 0.0.0.0: every one of this machine")]
PORT = Annotated[int, typer.Option("--port", min=0, max=65535, help="port to listen on; 0: any free one")]
URL = Annotated[str | None, typer.Option("--url", help="where raters find the page, as https://study.example.org")]
RATERS = Annotated[int, typer.Option("--raters", min=1, max=10_000, help="so many links")]
PASS = Annotated[float, typer.Option("--catch-pass", help="leave out raters with less than this share of them right")]

DEFAULT_PORT = 8123  # free of well-known services
PREFERENCES = "preferences"  # name of the figure

studying = typer.Typer(
    help="Compare methods by people's judgement (Table 2): build a study, invite raters, serve its page, and count.",
    rich_markup_mode=None,
)


@studying.command("build")
def build(
    output: OUTPUT,
    question: QUESTION,
    methods: METHODS = None,
    run: RUN = None,
    of_run: OF_RUN = None,
    of: OF = "people",
    reference: REFERENCE = None,
    consent: CONSENT = None,
    items: ITEMS = None,
    trials: TRIALS = None,
    catch: CATCH = None,
    repeats: REPEATS = None,
    seed: SEED = 0,
    size: SIZE = 384,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """Make a study of two or more methods out of folders of PNG files with equal names, or of runs.

    \b
    Examples:
      rodin study build --output study/ --question "Which avatar looks better?" ours=out/a eg3d=out/b
      rodin study build --output study/ --question "Which is more like the person above?" \\
          --run runs/evening --methods rodin,mean,nearest --reference runs/evening
    """
    from analysis.study.build import CONSENT as SHORT_CONSENT
    from analysis.study.build import Settings, build_study, plan_study
    from jobs.cli.study_sources import check_same_people, reference_of, sources_of

    settings = Settings(question, consent or SHORT_CONSENT, items, trials, catch, repeats, seed, size)
    sources = sources_of(methods or [], run, of_run, of, settings)
    true = None if reference is None else reference_of(reference, settings)
    check_same_people([*sources.values(), *([] if true is None else [true])])
    plan = plan_study(output, settings, sources, true)
    for name, count in plan.left_out.items():
        tell(f"{name}: {many(count, 'picture')} without a partner of the same name elsewhere, left out")
    if not dry_run:
        screen = Screen(quiet=as_json)
        build_study(plan, screen.meter("pictures"))
        screen.clear()
    made = plan.summary
    each = f"{made['trials']} pairs, {made['catch']} catch trials and {made['repeats']} repetitions"
    sentence = (
        f"{output}: {len(made['methods'])} methods, {many(made['items'], 'item')}, {made['combinations']:,} pairs; "
        f"each rater sees {each}; "
    )
    say(made, sentence + ("nothing was written" if dry_run else f"next: `rodin study invite {output}`"), as_json)


@studying.command("invite")
def invite(study: STUDY, raters: RATERS = 1, url: URL = None, port: PORT = DEFAULT_PORT, as_json: JSON = False) -> None:
    """Print one link a rater. A link is shown once and cannot be had again; make another in place of a lost one.

    \b
    Examples:
      rodin study invite study/ --raters 20
      rodin study invite study/ --raters 20 --url https://study.example.org
    """
    from analysis.study.record import open_study
    from analysis.study.votes import Votes

    opened, address = open_study(study), checked_url(url) or f"http://127.0.0.1:{port}"
    links = [f"{address}/#{token}" for token in Votes(opened.votes).invite(opened, raters)]
    print(json.dumps(links, indent=1) if as_json else "\n".join(links))


@studying.command("serve")
def serve(study: STUDY, host: HOST = "127.0.0.1", port: PORT = DEFAULT_PORT, url: URL = None) -> None:
    """Show the study to raters until Ctrl-C. Votes are on disk before they are acknowledged.

    Only this machine can reach it unless --host says otherwise; for raters elsewhere put a web server with HTTPS before
    it and name its address with --url. The folder should lie on a local disk.

    \b
    Examples:
      rodin study serve study/
      rodin study serve study/ --port 8200 --url https://study.example.org
    """
    from analysis.study.addresses import host_name
    from analysis.study.connections import listening
    from analysis.study.record import open_study
    from analysis.study.server import LOCAL, serve
    from analysis.study.votes import Votes

    opened, address = open_study(study), checked_url(url)
    opened.check()
    listener = listening(host, port)
    votes = Votes(opened.votes)
    names = [*LOCAL, *([] if host in ("0.0.0.0", "::") else [host_name(host)])]  # noqa: S104
    if address is not None:
        names.append(host_name(urlsplit(address).hostname or ""))
    elif host not in (*LOCAL, "::1"):
        tell("without --url, browsers that ask for this machine by a name are refused; give the address raters open")
    if not votes.raters():
        tell(f"nobody is invited yet; `rodin study invite {study}` prints links")
    print(f"{study}: http://{host_name(host)}:{listener.getsockname()[1]}/, end with Ctrl-C", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # which the server raises again once it has ended
        serve(opened, votes, listener, names, address)
    votes.close()


@studying.command("tally")
def tally(
    study: STUDY,
    output: Annotated[
        Path | None, path_option("--output", "-o", help="folder for tables and figure; default: that of the study")
    ] = None,
    catch_pass: PASS = 0.75,
    as_json: JSON = False,
) -> None:
    """Count the votes: Table 2 with intervals, strengths, checks, a figure and a reporting checklist.

    \b
    Examples:
      rodin study tally study/
      rodin study tally study/ --catch-pass 1 --json
    """
    from analysis.study.chart import draw_preferences
    from analysis.study.checklist import checklist
    from analysis.study.record import open_study
    from analysis.study.tally import checks, preferences, strengths, tally_of
    from analysis.study.votes import read_answers
    from analysis.tables.tables import render_table, write_table
    from rodin.store.atomic import publish_bytes

    opened = open_study(study)
    counted = tally_of(opened.design, read_answers(opened.votes) if opened.votes.is_file() else [], catch_pass)
    tables = {"2": preferences(counted), "strengths": strengths(counted), "checks": checks(counted)}
    titles = dict(zip(tables, ("Table 2: what raters preferred", "Strengths", "Checks of the answers"), strict=True))
    target = output or study
    written = [path for name, rows in tables.items() for path in write_table(target, name, rows)]
    figure, page = RunFolder(target).figures / f"figure-{PREFERENCES}.png", target / "checklist.md"
    draw_preferences(tables["2"], figure, titles["2"])
    publish_bytes(page, checklist(opened, counted, [(titles[name], rows) for name, rows in tables.items()]).encode())
    files = [str(path) for path in (*written, figure, figure.with_suffix(".pdf"), page)]
    if as_json:
        left_out = {"raters": len(counted.raters), "left_out": counted.left_out, "catch_pass": catch_pass}
        print(json.dumps({**left_out, **{f"table_{name}": rows for name, rows in tables.items()}, "files": files}))
        return
    for name, rows in tables.items():
        print(titles[name], render_table(rows), sep="\n\n")
    print(f"written: {target}/tables/, {figure}, {page}")


def checked_url(url: str | None) -> str | None:
    """The address raters open, without a slash at its end.

    Raises:
        ValueError: it is no http or https address, or has a path.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        plain = f"{parts.scheme}://{parts.netloc}" == url.rstrip("/") and "@" not in url and parts.port != 0
    except ValueError:  # brackets or a port that are none
        plain, parts = False, urlsplit("")
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--url got '{url}', wanted an address such as https://study.example.org")
    return url.rstrip("/")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(studying, name="study")
