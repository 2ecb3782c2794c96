"""`rodin export planes`: fitted tri-planes and their decoder as safetensors, with all that it takes to render them.

Files hold many people each: of 100,000 people with 256² planes of 32 channels there are 5,000 files, not 100,000, as
file systems of clusters limit the number of files. One person is read without the others, by id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rodin.captures.capture import EXPORTED
from rodin.config import Config
from rodin.data.shared_decoder import load_decoder
from rodin.export.folder import GENERATOR, ORIGINS, exporting, record_of
from rodin.field.decoder import Decoder
from rodin.hooks import Progress
from rodin.store import manifest
from rodin.store.atomic import publish_bytes
from rodin.store.errors import check_space
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

FILE_BYTES = 1 << 28
"""most bytes of planes in a file, 268 MB: three copies fit into the memory of any machine"""
DECODER, PEOPLE = "decoder.safetensors", "people.jsonl"
LOOK_UP = (
    "feature(x, y, z) = (P[0](x, y) + P[1](x, z) + P[2](y, z)) / 3; P[k](a, b) is bilinear, a along the last axis "
    "(columns) and b along the axis before (rows); texel i is centred at box * ((2 i + 1) / R - 1), and beyond the "
    "outermost centres the border texel is repeated: torch's grid_sample of (a, b) / box with align_corners=False and "
    "padding_mode='border'"
)
RENDER = (
    "a ray's part inside the box [-box, box]^3 is cut into `samples` equal bins of length d, one sample in the middle "
    "of each; alpha = 1 - exp(-density d); weight = alpha times the product of (1 - alpha) of the bins before; colour "
    "and opacity are the sums of weight times colour and of weights; over white: colour + 1 - opacity; convert planes "
    "to float32 first"
)


@dataclass(frozen=True)
class PlanesExport:
    """What is to be written.

    Args:
        folder: the run.
        config: its config.
        output: the folder for it.
        shards: the run's planes.
        subjects: ids, sorted.
    """

    folder: RunFolder
    config: Config
    output: Path
    shards: Shards
    subjects: Sequence[str]

    @property
    def row_bytes(self) -> int:
        """Bytes of one person's planes, float16."""
        return 2 * int(np.prod(self.shards.shape("planes")))

    @property
    def files(self) -> dict[str, list[str]]:
        """Name of each file -> its people."""
        size, people = max(1, FILE_BYTES // self.row_bytes), list(self.subjects)
        parts = [people[first : first + size] for first in range(0, len(people), size)]
        return {f"planes-{number:05d}.safetensors": part for number, part in enumerate(parts)}

    def marks(self, people: Sequence[str]) -> dict[str, str]:
        """What a file says of itself: where it comes from, and of which rows it was made."""
        rows = {subject: self.shards.checksum(subject, "planes") for subject in people}
        return marked(origin=self.origin, rows=rows)

    @property
    def origin(self) -> str:
        """Where the planes come from (R60)."""
        return f"tri-planes fitted to {ORIGINS[self.config.data.source]}"


def export_planes(export: PlanesExport, progress: Progress | None = None) -> dict[str, Any]:
    """Write an export; files that are there already, whole and the same, are kept.

    Args:
        export: what is to be written.
        progress: called with people done, people in all and the current file.

    Returns:
        {"output", "subjects", "files", "written", "kept", "bytes"}: numbers of people, of files of planes, of those
        written now and kept, and bytes of all planes.

    Raises:
        FileNotFoundError, ValueError, StoreError: one line, see `exporting`; what is whole stays.
    """
    decoder = load_decoder(export.folder)
    people = list(export.subjects)
    record = record_of(export.folder, export.config, "planes", "safetensors", people) | described(export, decoder)
    with exporting(export.output, record):
        files = export.files
        marks = {name: export.marks(part) for name, part in files.items()}
        missing = [name for name in marks if not is_whole(export.output / name, marks[name])]
        if missing:
            needed = export.row_bytes * sum(len(files[name]) for name in missing)
            check_space(export.output / missing[0], needed)
            (export.output / PEOPLE).unlink(missing_ok=True)
        done = len(people) - sum(len(files[name]) for name in missing)
        for name in missing:
            planes = {}
            for subject in files[name]:
                if progress is not None:
                    progress(done + len(planes), len(people), name)
                planes[subject] = export.shards.read(subject, "planes")
            publish_bytes(export.output / name, save(planes, marks[name]))
            done += len(planes)
        publish_bytes(export.output / DECODER, decoder_bytes(decoder, export.origin))
        publish_bytes(export.output / PEOPLE, people_text(export).encode())
    made = {"output": str(export.output), "subjects": len(people), "files": len(marks), "written": len(missing)}
    return made | {"kept": len(marks) - len(missing), "bytes": len(people) * export.row_bytes}


def marked(**said: Any) -> dict[str, str]:
    """Metadata of a file of safetensors. One entry, as several are written in another order each time."""
    return {EXPORTED: manifest.canonical({"generator": GENERATOR, **said})}


def is_whole(path: Path, marks: dict[str, str]) -> bool:
    """Whether a file is one of safetensors, of full length, that was made of the same rows."""
    try:
        with safe_open(path, "np") as file:
            return file.metadata() == marks
    except (SafetensorError, FileNotFoundError):
        return False


def decoder_bytes(decoder: Decoder, origin: str) -> bytes:
    """The decoder's weights, float32, under the names of `Decoder`, as a file of safetensors."""
    weights = {name: value.numpy() for name, value in decoder.state_dict().items()}
    return save(weights, marked(origin=f"decoder of {origin}", settings=decoder.settings()))


def people_text(export: PlanesExport) -> str:
    """One line of JSON for each person: id, file, quality of the fit, and captions where the run has its views."""
    views = Shards(export.folder.stage("render"), "views") if has_views(export.folder) else None
    lines = []
    for name, people in export.files.items():
        for subject in people:
            meta = export.shards.meta(subject)
            line: dict[str, Any] = {"subject": subject, "file": name}
            line |= {key: meta[key] for key in ("psnr", "ssim") if key in meta}
            if views is not None and subject in views:
                line["captions"] = views.meta(subject).get("captions", [])
            lines.append(json.dumps(line, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def has_views(folder: RunFolder) -> bool:
    """Whether the run still has views."""
    return any(folder.stage("render").glob("[0-9]*.json"))


def described(export: PlanesExport, decoder: Decoder) -> dict[str, Any]:
    """What the record says of planes, decoder and rendering: enough to render them without this program."""
    config, settings = export.config, decoder.settings()
    hidden = [f"trunk.{number}" for number in range(len(decoder.trunk))]
    direction = ", with the ray's unit direction (world axes) behind it" if decoder.view_directions else ""
    return {
        "origin": export.origin,
        "planes": {
            "files": "planes-*.safetensors, a tensor a person under the id; people.jsonl says which file",
            "dtype": "float16",
            "shape": list(export.shards.shape("planes")),
            "axes": "[plane, channel, row, column]; planes in the order xy, xz, yz",
            "range": [-1, 1],
            "box": config.triplane.box,
            "look_up": LOOK_UP,
        },
        "decoder": {
            "file": DECODER,
            **settings,
            "layers": [*hidden, "density_and_features", "colour"],
            "rule": (
                "h = feature; for each trunk layer: h = relu(weight h + bias); o = density_and_features of h; density "
                f"= {settings['density']:g} softplus(o[0]) per world unit; colour = sigmoid of the layer colour of "
                f"relu(o[1:]){direction}; sRGB in [0, 1]"
            ),
        },
        "world": "y up, the face looks to +z, x to the right in the frontal view; world units",
        "render": {
            "rule": RENDER,
            "samples": config.fit.samples,
            "camera_radius": config.data.camera_radius,
            "fov_degrees": config.data.fov_degrees,
        },
    }
