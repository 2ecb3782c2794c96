"""Figures of a run by name, each with its title and caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.figures import curves, drawn, sheets
from analysis.figures.contact_sheet import Line
from analysis.figures.edits import edits
from analysis.figures.failures import worst, worst_caption
from analysis.figures.memorisation import memorisation
from analysis.figures.plots import publish_sheet
from analysis.figures.presence import asked_and_not
from rodin.evaluation.shown import DRAWN
from rodin.store.run_folder import RunFolder


@dataclass(frozen=True)
class Figure:
    """Figure of the report.

    Args:
        title: its heading; also in the metadata of its files.
        caption: what it shows, in plain words; also its alternative text. A function says it of a run.
        draw: writes it as PNG and PDF: (run, path of the PNG, title).
        parts: larger pictures of avatars that it shows, keys of `rodin.evaluation.shown.PARTS`.
    """

    title: str
    caption: str | Callable[[Path], str]
    draw: Callable[[Path, Path, str], None]
    parts: tuple[str, ...] = ()

    def caption_of(self, run: Path) -> str:
        """Its caption for a run."""
        return self.caption if isinstance(self.caption, str) else self.caption(run)


def _sheet(lines_of: Callable[[Path], list[Line]]) -> Callable[[Path, Path, str], None]:
    def draw(run: Path, path: Path, title: str) -> None:
        publish_sheet(path, lines_of(run), title)

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
    "3": Figure(
        "Figure 3: tri-plane resolution",
        curves.resolutions_caption,
        curves.resolutions,
    ),
    "4": Figure(
        "Figure 4: number of views",
        curves.view_counts_caption,
        curves.view_counts,
    ),
    "5": Figure(
        "Figure 5: the reverse process",
        drawn.reverse_caption,
        _sheet(drawn.reverse_process),
        ("paths",),
    ),
    "6": Figure(
        "Figure 6: roll-out and 3D-aware convolution",
        "How much better an upsampler is than one with neither, person by person, the base model fixed; below, people "
        "no training saw, rebuilt from one picture behind each upsampler, the middle enlarged.",
        curves.convolutions,
    ),
    "7": Figure(
        "Figure 7: nearest training people",
        "Samples, and the training people most like them by CLIP similarity: a repeated person would look the same.",
        _sheet(sheets.nearest),
        ("turned",),
    ),
    "memorisation": Figure(
        "Figure 7 in numbers: copies of training people",
        "How near the nearest training person is to samples, people never seen and known copies; left of the ratio 1/2 "
        "lie copies; right of the dashed similarity lie at most 5 % of people never seen, of fewer than 20 none.",
        memorisation,
    ),
    "8": Figure(
        "Figure 8: failures, the worst by measure",
        worst_caption,
        _sheet(worst),
        ("turned", "drawn", "prompts"),
    ),
    "9": Figure(
        "Figure 9: samples from several sides, with their meshes",
        drawn.mesh_caption,
        _sheet(drawn.with_mesh),
        ("turned",),
    ),
    "10": Figure(
        "Figure 10: more samples and their meshes",
        drawn.more_caption,
        _sheet(drawn.more_samples),
        ("drawn",),
    ),
    "11": Figure(
        "Figure 11: samples as they came",
        f"All avatars drawn from nothing, the first {DRAWN} at most, by their number: chosen by nobody. From the "
        "front, each with its mesh.",
        _sheet(drawn.uncurated),
        ("turned", "drawn"),
    ),
    "12": Figure(
        "Figure 12: interpolation",
        "From one avatar to another by interpolating the latent z, with the same noise; the number is the share of the "
        "second. Slerp keeps the length of z, as all latents of the training have it; lerp is shorter on its way.",
        _sheet(drawn.interpolation),
        ("paths",),
    ),
    "13": Figure(
        "Figure 13: inversion of portraits",
        "Portraits of people no training stage saw; the avatar that the models make of its CLIP latent, from the "
        "front, turned by 45 and 90 degrees and from behind; its mesh. The noise is drawn once: no avatar was chosen.",
        _sheet(drawn.inversions),
        ("inverted",),
    ),
    "guidance": Figure(
        "Table 1 as a picture",
        "Reconstruction quality against guidance, ours with its 95 % interval over people where there is one, and the "
        "paper's.",
        curves.guidance,
    ),
    "prompts": Figure(
        "Text to avatar",
        "An avatar drawn from each prompt, the colour it asked for and the colour measured on its picture.",
        _sheet(sheets.prompts),
        ("prompts",),
    ),
    "attributes": Figure(
        "Glasses, hats and beards by text",
        "Avatars drawn from prompts that ask for one, and below each the same prompt without it, with the same noise.",
        _sheet(asked_and_not),
        ("prompts",),
    ),
    "edits": Figure(
        "Edits by text",
        "Avatars before and after an edit: the latent moves by what the text says, the noise stays.",
        _sheet(edits),
    ),
    "reconstruction": Figure(
        "Reconstruction from one picture",
        "People no training stage saw; under each, the avatar made of one picture alone, seen by the same cameras.",
        _sheet(sheets.reconstruction),
    ),
    "losses": Figure(
        "Losses",
        "Loss of each network against its steps: faint, every recorded value; strong, their running mean.",
        curves.losses,
    ),
}


def check_name(name: str) -> Figure:
    """The figure of a name.

    Raises:
        ValueError: there is none; the message lists the figures.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure '{name}'; there are {', '.join(FIGURES)}")
    return FIGURES[name]


def figure(run: Path, name: str, path: Path | None = None) -> Path:
    """Draw a figure, atomically, as PNG and beside it as PDF, and return the path of the PNG.

    Args:
        run: a run folder, finished or not.
        name: one of FIGURES.
        path: the PNG to write; default: the run's ``figures/figure-<name>.png``.

    Raises:
        Unwritable: the picture cannot be written.
        ValueError: no such figure, or no data for it yet; the message lists the figures, or names the stage to run.
        FileNotFoundError: no such run folder.
    """
    shown = check_name(name)
    if not Path(run).is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    path = path or RunFolder(run).figures / f"figure-{name}.png"
    shown.draw(Path(run), path, shown.title)
    return path
