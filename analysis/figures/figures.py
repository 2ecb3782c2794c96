"""Figures of a run by name, each with its title and caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.figures import curves, sheets
from analysis.figures.contact_sheet import Line, contact_sheet, save_sheet
from analysis.figures.memorisation import memorisation
from analysis.figures.presence import asked_and_not
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class Figure:
    """Figure of the report.

    Args:
        title: its heading; also in the PNG's metadata.
        caption: what it shows, in plain words; also its alternative text.
        draw: writes it: (run, path, title).
    """

    title: str
    caption: str
    draw: Callable[[Path, Path, str], None]


def _sheet(lines_of: Callable[[Path], list[Line]]) -> Callable[[Path, Path, str], None]:
    def draw(run: Path, path: Path, title: str) -> None:
        save_sheet(path, contact_sheet(lines_of(run)), title)

    return draw


FIGURES: dict[str, Figure] = {
    "subjects": Figure(
        "The people in the training data",
        "Frontal pictures of a spread of the people, then two of them from all around with their captions.",
        _sheet(sheets.subjects),
    ),
    "fit": Figure(
        "How well tri-planes were fitted",
        "Each dot is one person: PSNR of their tri-plane on views it was not fitted to, and the seconds it took.",
        curves.fits,
    ),
    "11": Figure(
        "Figure 11: samples as they came",
        "Avatars drawn from nothing, chosen by nobody, seen from the front; then two of them from all around.",
        _sheet(sheets.uncurated),
    ),
    "9": Figure(
        "Figure 9: samples and their meshes",
        "Avatars drawn from nothing, each with the mesh that marching cubes takes from its density field.",
        _sheet(sheets.with_mesh),
    ),
    "5": Figure(
        "Figure 5: the reverse process",
        "The guess of the finished avatar at points of the reverse process: coarse form first, detail last.",
        _sheet(sheets.reverse_process),
    ),
    "prompts": Figure(
        "Text to avatar",
        "An avatar drawn from each prompt, the colour it asked for and the colour measured on its picture.",
        _sheet(sheets.prompts),
    ),
    "attributes": Figure(
        "Glasses, hats and beards by text",
        "Avatars drawn from prompts that ask for one, and below each the same prompt without it, with the same noise.",
        _sheet(asked_and_not),
    ),
    "reconstruction": Figure(
        "Reconstruction from one picture",
        "People no training stage saw; under each, the avatar made of one picture alone, seen by the same cameras.",
        _sheet(sheets.reconstruction),
    ),
    "12": Figure(
        "Figure 12: interpolation",
        "From one avatar to another by interpolating the latent z; the number is the share of the second.",
        _sheet(sheets.interpolation),
    ),
    "7": Figure(
        "Figure 7: nearest training people",
        "Samples, and the training people most like them by CLIP similarity: a repeated person would look the same.",
        _sheet(sheets.nearest),
    ),
    "memorisation": Figure(
        "Figure 7 in numbers: copies of training people",
        "How near the nearest training person is to samples, people never seen and known copies; left of the ratio 1/2 "
        "lie copies; right of the dashed similarity lie the 5 % of people never seen who are most like one.",
        memorisation,
    ),
    "8": Figure(
        "Figure 8: where failures are looked for first",
        "The samples whose nearest training person is least like them.",
        _sheet(sheets.furthest),
    ),
    "guidance": Figure(
        "Table 1 as a picture",
        "Reconstruction quality against guidance, ours with its 95 % interval over people, and the paper's.",
        curves.guidance,
    ),
    "3": Figure(
        "Figure 3: tri-plane resolution",
        "Fit quality, time, memory and size of a person for tri-planes of several resolutions, with 95 % intervals "
        "over people; below, a view that was not fitted, its middle enlarged, beside the truth.",
        curves.resolutions,
    ),
    "4": Figure(
        "Figure 4: number of views",
        "Fit quality, time and memory against the number of views that were fitted, with 95 % intervals over people; "
        "below, a view that was not fitted, its middle enlarged, beside the truth.",
        curves.view_counts,
    ),
    "6": Figure(
        "Figure 6: roll-out and 3D-aware convolution",
        "How much better an upsampler is than one with neither, person by person, the base model fixed.",
        curves.convolutions,
    ),
    "losses": Figure(
        "Losses",
        "Loss of each network against its steps: faint, every recorded value; strong, their running mean.",
        curves.losses,
    ),
}
SAME = {"10": "11", "13": "reconstruction"}
"""the paper's Figure 10 (more samples) and 13 (portrait inversion) -> the figure of ours that shows it"""


def figure(run: Path, name: str, path: Path | None = None) -> Path:
    """Draw a figure, atomically, and return its path.

    Args:
        run: a run folder, finished or not.
        name: one of FIGURES or of SAME.
        path: the PNG to write; default: the run's ``figures/figure-<name>.png``.

    Raises:
        Unwritable: the picture cannot be written.
        ValueError: no such figure, or no data for it yet; the message lists the figures, or names the stage to run.
        FileNotFoundError: no such run folder.
    """
    shown = SAME.get(name, name)
    if shown not in FIGURES:
        raise ValueError(f"no figure '{name}'; there are {', '.join([*FIGURES, *SAME])}")
    if not Path(run).is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    path = path or RunFolder(run).figures / f"figure-{name}.png"
    FIGURES[shown].draw(Path(run), path, FIGURES[shown].title)
    return path
