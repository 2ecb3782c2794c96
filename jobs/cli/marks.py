"""`rodin watermark check`, and the options of commands that mark what they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, path_argument, path_option

WATERMARK = Annotated[
    bool | None,
    typer.Option("--watermark/--no-watermark", help="hide a watermark in the pictures; default: sample.watermark"),
]
WATERMARK_KEY = Annotated[
    Path | None, path_option("--watermark-key", help="file whose bytes are the watermark's key; default: a public key")
]
C2PA_CERT = Annotated[
    Path | None, path_option("--c2pa-cert", help="PEM chain to sign the pictures with (content credentials, C2PA)")
]
C2PA_KEY = Annotated[Path | None, path_option("--c2pa-key", help="PEM private key of --c2pa-cert")]

app = typer.Typer(name="watermark", help="Look for the invisible watermark of `rodin sample --watermark`.")


def certificate(chain: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    """Both files of the content credentials; None for neither.

    Raises:
        ValueError: one without the other.
    """
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        given, lacking = ("--c2pa-cert", "--c2pa-key") if key is None else ("--c2pa-key", "--c2pa-cert")
        raise ValueError(f"got {given} without {lacking}; wanted both, or neither for pictures without signature")
    return chain, key


@app.callback()
def group() -> None:
    """Group of the command `check`."""


@app.command()
def check(
    files: Annotated[list[Path], path_argument(metavar="FILE...", help="pictures: PNG, JPEG, GIF, WebP")],
    key: Annotated[Path | None, path_option("--key", help="file with the key; default: the public key")] = None,
    as_json: JSON = False,
) -> None:
    """Say of each picture whether it holds the watermark, and how often a picture without it would look like it.

    The mark is found in crops, in JPEG files and in pictures made smaller, within the limits that README tells. "no"
    means that the mark was not found: it may have been damaged, or made with another key.

    \b
    Examples:
      rodin watermark check runs/demo/made/*/avatar-00.png
      rodin watermark check --key secret.bin *.jpg --json
    """
    from rodin.marks.keys import key_of
    from rodin.marks.pictures import detect_in

    secret, rows = key_of(key), []
    for path in files:
        found = detect_in(path, secret)
        rows.append(
            {"file": str(path), "watermark": found.marked, "false_alarm": found.false_alarm}
            | {"score": found.score, "enlarged": found.scale}
        )
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        answer, alarm = "yes" if row["watermark"] else "no", row["false_alarm"]
        print(f"{row['file']}: {answer}  (false alarms: at most {alarm:.1e} of pictures, score {row['score']:.1f})")


def add_to(parent: typer.Typer) -> None:
    """Add this group to the command line."""
    parent.add_typer(app)
