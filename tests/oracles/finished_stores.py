"""Stores of a finished run, written by the real writers; the subjects are drawn, not rendered."""

import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import tomli_w
from PIL import Image, ImageDraw

from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

HAIR = {"red": "#b03a2e", "black": "#222222", "blond": "#d9b36c", "brown": "#6e4a2f"}
SUBJECTS, HELD_OUT, VIEWS, SIZE = 12, 3, 6, 48
WANTED = ["red", "black", "blond", "brown", "red", "black", "green", "blue"]


@dataclasses.dataclass(frozen=True)
class Face:
    """A drawn head with hair and a shirt."""

    hair: str
    shirt: str
    turn: float = 0.0

    def picture(self, size: int = SIZE) -> np.ndarray:
        """[size, size, 4] uint8 with straight alpha."""
        image = Image.new("RGBA", (size * 4, size * 4), (255, 255, 255, 0))
        pen, unit = ImageDraw.Draw(image), size * 4 / 100
        eye = 7 * math.cos(self.turn)
        pen.ellipse([22 * unit, 74 * unit, 78 * unit, 130 * unit], fill=self.shirt)
        pen.ellipse([26 * unit, 12 * unit, 74 * unit, 66 * unit], fill=self.hair)
        if math.cos(self.turn) > 0:
            pen.ellipse([32 * unit, 26 * unit, 68 * unit, 80 * unit], fill="#e0b090")
            for side in (-1, 1):
                middle = 50 + 14 * math.sin(self.turn) + side * eye
                pen.ellipse([(middle - 2) * unit, 48 * unit, (middle + 2) * unit, 53 * unit], fill="#202830")
        return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8).copy()


def face(number: int, turn: float = 0.0) -> np.ndarray:
    """The picture of subject `number`."""
    shirts = ["#2c5aa0", "#3a8f4d", "#b3372f", "#7a5aa8", "#e0a030"]
    return Face(list(HAIR.values())[number % 4], shirts[number % 5], turn).picture()


def around(number: int, count: int) -> np.ndarray:
    """[count, SIZE, SIZE, 4] uint8 pictures from all around."""
    return np.stack([face(number, 2 * math.pi * view / count) for view in range(count)])


def write_config(path: Path) -> None:
    changed = ["seed=3", f"data.subjects={SUBJECTS}", f"data.held_out={HELD_OUT}"]
    config = tomllib.loads(to_toml(preset("tiny", changed)))
    record = {
        "code": {"version": "0.1", "commit": "0123456789abcdef"},
        "versions": {"torch": "2.13.0"},
        "config": config,
    }
    (path / "run.toml").write_text(tomli_w.dumps(record), encoding="utf-8")


def write_views(run: RunFolder) -> None:
    ids = [f"{number:06d}" for number in range(SUBJECTS + HELD_OUT)]
    shapes = {"rgba": (VIEWS, SIZE, SIZE, 4), "camera_to_world": (VIEWS, 4, 4), "intrinsics": (VIEWS, 4)}
    with ShardWriter(run.stage("render"), 0, "views", ids, shapes) as writer:
        for number, subject in enumerate(ids):
            cameras = np.broadcast_to(np.eye(4, dtype=np.float32), (VIEWS, 4, 4)).copy()
            turns = 2 * np.pi * np.arange(VIEWS) / VIEWS
            cameras[:, :3, 3] = np.stack([4 * np.sin(turns), 0 * turns, 4 * np.cos(turns)], axis=1)
            intrinsics = np.ones((VIEWS, 4), np.float32)
            meta = {"caption": f"a person with {list(HAIR)[number % 4]} hair", "captions": [], "attributes": {}}
            writer.add(subject, meta, rgba=around(number, VIEWS), camera_to_world=cameras, intrinsics=intrinsics)
        writer.publish()


def write_samples(run: RunFolder) -> None:
    rows = {
        f"unconditional-{number:05d}": ({"kind": "unconditional", "seed": number}, number + 1) for number in range(8)
    }
    for number, wanted in enumerate(WANTED):
        rows[f"prompt-{number:05d}"] = (
            {"kind": "prompt", "prompt": f"a person with {wanted} hair", "seed": number},
            number,
        )
    for number in range(8):  # ids run against blends, steps and pairs
        step, group = 3 - number % 4, 1 - number // 4
        interpolated = {"kind": "interpolation", "blend": step / 3, "pair": group, "seed": 0}
        trajectory = {"kind": "trajectory", "step": step, "timestep": 900 - 300 * step, "seed": group}
        rows[f"interpolation-{number:05d}"] = (interpolated, number)
        rows[f"trajectory-{number:05d}"] = (trajectory, number)
    shapes = {"rgba": (4, SIZE, SIZE, 4), "mesh": (SIZE, SIZE, 3)}
    with ShardWriter(run.stage("sample"), 0, "samples", list(rows), shapes) as writer:
        for sample, (meta, number) in rows.items():
            grey = np.repeat(face(number).mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
            writer.add(sample, meta, rgba=around(number, 4), mesh=grey)
        writer.publish()


def write_rebuilt(run: RunFolder) -> None:
    ids = [f"{SUBJECTS + subject:06d}" for subject in range(HELD_OUT)]
    with ShardWriter(run.stage("evaluate"), 0, "samples", ids, {"rgba": (3, SIZE, SIZE, 4)}) as writer:
        for subject in ids:
            psnr = {"mean person": 15.0, "rodin": 9.0 + int(subject)}
            rows = [
                {"stage": "evaluate", "subject": subject, "method": method, "psnr": value}
                for method, value in psnr.items()
            ]
            meta = {"kind": "reconstruction", "reference": subject, "views": [0, 2, 4], "rows": rows}
            writer.add(subject, meta, rgba=around(int(subject) + 1, 3))
        writer.publish()


def write_sweep(run: RunFolder) -> None:
    """Renders of Figure 3's fits, the last two views of two subjects: the finer the planes, the sharper."""
    for shard, (value, subject) in enumerate((value, subject) for value in (16, 32, 64) for subject in range(2)):
        name = f"{subject:06d}-{shard:05d}"
        row = {"subject": f"{subject:06d}", "value": value, "psnr": 18.0 + value / 16}
        with ShardWriter(
            run.stage("sweep-resolution"), shard, "samples", [name], {"rgba": (2, SIZE, SIZE, 4)}
        ) as writer:
            sharp = around(subject, VIEWS)[-2:]
            coarse = sharp[:, :: 64 // value, :: 64 // value].repeat(64 // value, 1).repeat(64 // value, 2)
            writer.add(name, {"row": row}, rgba=coarse[:, :SIZE, :SIZE])
            writer.publish()
