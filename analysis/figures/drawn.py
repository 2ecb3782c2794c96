"""Figures of what the models draw: the reverse process, samples with meshes, interpolations, inverted portraits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.figures.contact_sheet import Line, Tile
from analysis.figures.sheets import LARGE, SMALL, WIDE, WIDE_LARGE, in_rows, none_of
from analysis.results.large import Pictures, part
from analysis.results.provenance import config_of, setting
from analysis.results.renders import frontal_view, reconstructions, samples_of_kind, samples_with, views
from analysis.results.rows import MissingRows, next_step
from rodin.evaluation.shown import AROUND, BACK, BETWEEN, DRAWN, FRONT, INVERSION, LERP, MESH, SIDE, TURNED
from rodin.evaluation.steps import OURS

SEEN = (FRONT, BETWEEN, SIDE, BACK)  # cameras of a turn by which Figure 9 shows a sample and its mesh
PAIRS, MORE, INVERTED = 6, 12, 6  # pairs of interpolations, samples of Figure 10, portraits shown at most
BLEND, TURN = 140, 128  # px, sides of pictures: five of an interpolation, or eight of a turn, in a line


def reverse_process(run: Path) -> list[Line]:
    """Figure 5: x̂_0 along the reverse process, from noise to the sample; one trajectory after the other."""
    pictures, lines = Pictures(run), []
    for group in _groups(run, "step", "trajectory", "the reverse process"):
        lines += in_rows([Tile(pictures.front(name), (_moment(meta),)) for name, meta in group], LARGE, WIDE_LARGE)
    return lines


def reverse_caption(run: Path) -> str:
    """What Figure 5 shows of this run."""
    shown = max(len(group) for group in _groups(run, "step", "trajectory", "the reverse process"))
    steps = setting(config_of(run), "base.diffusion.sampling_steps")
    of = f" of the {steps}" if steps else ""
    return (
        f"The base model's guess of the finished avatar, x̂_0, upsampled and rendered, at {shown}{of} steps of the "
        "reverse process of the first sample; t is the timestep, the largest is noise alone."
    )


def with_mesh(run: Path) -> list[Line]:
    """Figure 9: the first samples from several sides, each picture with that of the mesh by the same camera."""
    pictures, lines = Pictures(run), []
    for sample in _drawn(run)[:TURNED]:
        around, meshes = pictures.around(sample), pictures.meshes(sample)
        if meshes is None:
            raise none_of(run, "meshes")
        places = [place for place in (SEEN if len(around) == AROUND else range(len(around))) if place < len(meshes)]
        tiles = [tile for place in places for tile in (Tile(around[place]), Tile(meshes[place]))]
        lines.append(Line(tiles, sample, TURN))
    return lines


def mesh_caption(run: Path) -> str:
    """What Figure 9 shows of this run: without larger pictures there is a mesh from the front alone."""
    larger = part(run, "turned") is not None
    sides = "" if larger else " From the front alone: the larger pictures of other sides are not there."
    return (
        f"The first {TURNED} avatars drawn from nothing, by their number, which gives their seed: chosen by nobody. "
        "Each picture stands beside that of the mesh that marching cubes takes from the density, by the same camera."
        f"{sides}"
    )


def more_caption(run: Path) -> str:
    """What Figure 10 shows of this run."""
    larger = part(run, "drawn") is not None
    turned = "Turned by 45 degrees." if larger else "From the front: the larger pictures are not there."
    return f"The next avatars after those of Figure 9, by their number: chosen by nobody. {turned}"


def more_samples(run: Path) -> list[Line]:
    """Figure 10: the samples after those of Figure 9, turned a little, each with its mesh."""
    names = _drawn(run)[TURNED : TURNED + MORE]
    if not names:
        raise MissingRows(
            f"{run}: Figure 10 shows samples after the first {TURNED}, of which there are none; a run with "
            f"`--set sample.unconditional={TURNED + MORE}` has them: {next_step(run, 'sample')}"
        )
    pictures, tiles = Pictures(run), []
    for sample in names:
        around, meshes = pictures.around(sample), pictures.meshes(sample)
        if meshes is None:
            raise none_of(run, "meshes")
        place = (
            len(meshes) - 1
        )  # the last is turned by 45 degrees; without larger pictures there is one, from the front
        tiles += [Tile(around[place], (sample,)), Tile(meshes[place], ("mesh",))]
    return in_rows(tiles, LARGE, WIDE_LARGE)


def uncurated(run: Path) -> list[Line]:
    """Figure 11: samples from the front in the order they were drawn, each with its mesh."""
    pictures, tiles = Pictures(run), []
    for sample in _drawn(run)[:DRAWN]:
        meshes = pictures.meshes(sample)
        tiles += [Tile(pictures.front(sample)), *([] if meshes is None else [Tile(meshes[0])])]
    return in_rows(tiles, SMALL, WIDE)


def interpolation(run: Path) -> list[Line]:
    """Figure 12: from one avatar to another by interpolating z; along the great circle, then straight."""
    pictures, lines = Pictures(run), []
    for group in _groups(run, "blend", "pair", "interpolations")[:PAIRS]:
        pair = group[0][1].get("pair", 0) + 1
        lines.append(_path(pictures, group, f"pair {pair}, slerp: along the great circle"))
        straight = [(LERP + name if LERP + name in pictures else name, meta) for name, meta in group]
        if any(name.startswith(LERP) for name, _ in straight):
            lines.append(_path(pictures, straight, f"pair {pair}, lerp: along the straight line"))
    return lines


def inversions(run: Path) -> list[Line]:
    """Figure 13: portraits of people no training saw; beside each the avatar made of it, turned, and its mesh.

    Raises:
        MissingRows: no portrait was inverted, or the larger pictures were not rendered.
    """
    reconstructions(run)  # names the stage to run
    made, known = part(run, "inverted"), views(run)
    if made is None:
        raise MissingRows(f"{run}: the avatars of portraits were not rendered yet; `rodin figure 13 --run {run}` does")
    psnr, lines = _psnr(run), []
    for name in [name for name in made.subjects if name.startswith(INVERSION)][:INVERTED]:
        person = name.removeprefix(INVERSION)
        around, meshes = made.read(name, "rgba"), made.read(MESH + name, "rgba")
        tiles = [Tile(frontal_view(known, person), ("portrait",)), *map(Tile, around), *map(Tile, meshes[:2])]
        tiles = [tiles[0], Tile(around[0], ("avatar",)), *tiles[2:-2], Tile(meshes[0], ("mesh",)), tiles[-1]]
        heading = f"person {person}" + (f": {psnr[person]:.1f} dB over its views" if person in psnr else "")
        lines.append(Line(tiles, heading, BLEND))
    if not lines:
        raise MissingRows(f"{run}: nobody was left out of the training to be inverted; set data.held_out in a new run")
    return lines


def _psnr(run: Path) -> dict[str, float]:
    """PSNR of each held-out person's avatar, as stage `evaluate` measured it."""
    rows = [row for _, meta in samples_with(reconstructions(run), "rows") for row in meta["rows"]]
    return {row["subject"]: row["psnr"] for row in rows if row.get("method") == OURS}


def _drawn(run: Path) -> list[str]:
    names = [name for name, _ in samples_of_kind(Pictures(run).stored, "unconditional")]
    if not names:
        raise none_of(run, "avatars from nothing")
    return names


def _path(pictures: Pictures, group: Sequence[tuple[str, dict[str, Any]]], heading: str) -> Line:
    return Line([Tile(pictures.front(name), (f"{meta['blend']:.2f}",)) for name, meta in group], heading, BLEND)


def _groups(run: Path, key: str, group: str, what: str) -> list[list[tuple[str, dict[str, Any]]]]:
    """Samples with the same value of `group`, or else the same seed, each group in ascending order of `key`."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for sample, meta in samples_with(Pictures(run).stored, key):
        groups[str(meta.get(group, meta.get("seed", "")))].append((sample, meta))
    if not groups:
        raise none_of(run, what)
    return [sorted(of, key=lambda one: one[1][key]) for _, of in sorted(groups.items())]


def _moment(meta: dict[str, Any]) -> str:
    return f"t = {meta['timestep']}" if meta.get("timestep") is not None else f"step {meta['step']}"
