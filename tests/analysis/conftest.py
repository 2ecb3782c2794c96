"""A run folder as the stages leave it, written by the real stores; the people are drawn, not rendered."""

import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image, ImageDraw

from analysis.all import write_all
from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shard import ShardWriter

HAIR = {"red": "#b03a2e", "black": "#222222", "blond": "#d9b36c", "brown": "#6e4a2f"}
PEOPLE, HELD_OUT, VIEWS, SIZE = 12, 3, 6, 48
WANTED = ["red", "black", "blond", "brown", "red", "black", "green", "blue"]
MEASURED = ["red", "black", "brown", "brown", "red", "blond", "green", "red"]
CFG_PSNR = {1.0: [20.0, 22.0, 24.0], 1.2: [21.0, 22.0, 23.0], 1.5: [22.0, 22.0, 22.0], 3.0: [19.0, 20.0, 21.0]}
RECONSTRUCTION = {"rodin": [20.0, 22.0, 24.0], "mean person": [18.0, 19.0, 20.0], "nearest person": [19.0, 21.5, 22.0]}


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
    """The picture of person `number`."""
    shirts = ["#2c5aa0", "#3a8f4d", "#b3372f", "#7a5aa8", "#e0a030"]
    return Face(list(HAIR.values())[number % 4], shirts[number % 5], turn).picture()


def around(number: int, count: int) -> np.ndarray:
    """[count, SIZE, SIZE, 4] uint8 pictures from all around."""
    return np.stack([face(number, 2 * math.pi * view / count) for view in range(count)])


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("runs") / "full"
    path.mkdir()
    write_run(path)
    return path


@dataclasses.dataclass(frozen=True)
class Written:
    """What analysis made of the finished run, and what it told of its progress."""

    made: dict
    told: list[tuple[int, int, str]]


@pytest.fixture(scope="session")
def written(full_run: Path) -> Written:
    """The finished run, written up once for all tests."""
    told: list[tuple[int, int, str]] = []
    return Written(write_all(full_run, lambda *what: told.append(what)), told)


@pytest.fixture
def empty_run(tmp_path: Path) -> Path:
    """A run that has its config and nothing else."""
    run = tmp_path / "empty"
    run.mkdir()
    write_config(run)
    return run


def write_run(path: Path) -> None:
    """Everything the stages would write."""
    run = RunFolder(path)
    write_config(path)
    write_views(run)
    write_samples(run)
    write_quality(run)
    write_evaluation(run)
    write_costs(run)
    write_retrieval(run)
    write_sweeps(run)


def write_config(path: Path) -> None:
    changed = ["seed=3", f"data.subjects={PEOPLE}", f"data.held_out={HELD_OUT}"]
    config = tomllib.loads(to_toml(preset("tiny", changed)))
    record = {
        "code": {"version": "0.1", "commit": "0123456789abcdef"},
        "versions": {"torch": "2.13.0"},
        "config": config,
    }
    (path / "run.toml").write_text(tomli_w.dumps(record), encoding="utf-8")


def write_views(run: RunFolder) -> None:
    ids = [f"{number:06d}" for number in range(PEOPLE + HELD_OUT)]
    shapes = {"rgba": (VIEWS, SIZE, SIZE, 4), "camera_to_world": (VIEWS, 4, 4), "intrinsics": (VIEWS, 4)}
    with ShardWriter(run.stage("render"), 0, "views", ids, shapes) as writer:
        for number, person in enumerate(ids):
            cameras = np.broadcast_to(np.eye(4, dtype=np.float32), (VIEWS, 4, 4))
            intrinsics = np.ones((VIEWS, 4), np.float32)
            meta = {"caption": f"a person with {list(HAIR)[number % 4]} hair", "captions": [], "attributes": {}}
            writer.add(person, meta, rgba=around(number, VIEWS), camera_to_world=cameras, intrinsics=intrinsics)
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
    for number in range(4):
        rows[f"interpolation-{number:05d}"] = (
            {"kind": "interpolation", "blend": number / 3, "pair": 0, "seed": 0},
            number,
        )
        rows[f"trajectory-{number:05d}"] = (
            {"kind": "trajectory", "step": number, "timestep": 900 - 300 * number, "seed": 0},
            number,
        )
    rows["image-00000"] = ({"kind": "image", "reference": f"{PEOPLE:06d}", "seed": 1}, 2)
    shapes = {"rgba": (4, SIZE, SIZE, 4), "mesh": (SIZE, SIZE, 3)}
    with ShardWriter(run.stage("sample"), 0, "samples", list(rows), shapes) as writer:
        for sample, (meta, number) in rows.items():
            grey = np.repeat(face(number).mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
            writer.add(sample, meta, rgba=around(number, 4), mesh=grey)
        writer.publish()


def write_quality(run: RunFolder) -> None:
    fits = [
        {"stage": "fit", "subject": f"{number:06d}", "psnr": 20.0 + number, "ssim": 0.8, "seconds": 2.0, "steps": 20}
        for number in range(PEOPLE)
    ]
    write_rows(run, "fit", 0, fits)
    for shard, (scale, values) in enumerate(CFG_PSNR.items()):
        write_rows(
            run,
            "sweep-cfg",
            shard,
            [
                {
                    "stage": "sweep-cfg",
                    "subject": f"{PEOPLE + person:06d}",
                    "guidance_scale": scale,
                    "psnr": psnr,
                    "ssim": 0.7 + psnr / 1000,
                    "lpips": None,
                }
                for person, psnr in enumerate(values)
            ],
        )


def write_evaluation(run: RunFolder) -> None:
    rows = [
        {
            "stage": "evaluate",
            "subject": f"{PEOPLE + person:06d}",
            "method": method,
            "guidance_scale": 1.5,
            "psnr": psnr,
            "ssim": 0.8,
            "lpips": None,
        }
        for method, values in RECONSTRUCTION.items()
        for person, psnr in enumerate(values)
    ]
    rows += [
        {
            "stage": "neighbours",
            "sample": f"unconditional-{number:05d}",
            "neighbours": ["000001", "000003", "000004"],
            "similarity": [0.9 - number / 100, 0.8, 0.7],
        }
        for number in range(8)
    ]
    for number, (wanted, measured) in enumerate(zip(WANTED, MEASURED, strict=True)):
        attribute = "shirt" if number >= 6 else "hair"
        rows.append(
            {
                "stage": "prompts",
                "prompt": f"a person with {wanted} {attribute}",
                "attribute": attribute,
                "wanted": wanted,
                "measured": measured,
                "hit": wanted == measured,
                "sample": f"prompt-{number:05d}",
            }
        )
    rows += [{"stage": "prompts-check", "attribute": "hair", "accuracy": 0.9, "people": PEOPLE}]
    rows += [{"stage": "prompts-check", "attribute": "shirt", "accuracy": 0.7, "people": PEOPLE}]
    rows += [{"stage": "frechet", "value": 0.25, "samples": 8, "people": PEOPLE, "features": "CLIP image embedding"}]
    write_rows(run, "evaluate", 0, rows)


def write_retrieval(run: RunFolder) -> None:
    row = {"stage": "clip-retrieval", "people": "held-out", "views": "not fitted", "count": HELD_OUT, "chance": 1 / 3}
    write_rows(run, "clip-retrieval", 0, [row | {"image_to_text": 0.75, "text_to_image": 1.0}])


def write_costs(run: RunFolder) -> None:
    for shard, seconds in enumerate([10.0, 14.0]):
        write_rows(
            run,
            "timing-fit",
            shard,
            [{"stage": "timing", "name": "fit", "shard": shard, "seconds": seconds, "peak_rss_mb": 500.0 + shard}],
        )
    write_rows(
        run, "timing-base", 0, [{"stage": "timing", "name": "base", "shard": 0, "seconds": 100.0, "peak_rss_mb": 800.0}]
    )
    generator = np.random.default_rng(0)
    for stage, start in (("base", 1.0), ("upsample", 0.2), ("latent", 1.0), ("prior", 1.0)):
        rows = [
            {
                "stage": stage,
                "step": step,
                "samples": 8 * step,
                "loss": float(start * (0.1 + 0.9 * math.exp(-step / 60)) * generator.uniform(0.9, 1.1)),
                "grad_norm": 1.0,
                "samples_per_second": 50.0,
            }
            for step in range(10, 301, 10)
        ]
        write_rows(run, stage, 0, rows)


def write_sweeps(run: RunFolder) -> None:
    for name, values in (("sweep-resolution", (16, 32, 64)), ("sweep-views", (6, 12, 21))):
        for shard, value in enumerate(values):
            write_rows(
                run,
                name,
                shard,
                [
                    {
                        "stage": name,
                        "subject": f"{person:06d}",
                        "value": value,
                        "psnr": 18.0 + 2 * shard + person,
                        "ssim": 0.8,
                        "seconds": 2.0 + shard,
                        "megabytes": value**2 / 1000,
                    }
                    for person in range(2)
                ],
            )
    for shard, (roll_out, aware) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
        write_rows(
            run,
            "sweep-convolution",
            shard,
            [
                {
                    "stage": "sweep-convolution",
                    "subject": f"{person:06d}",
                    "roll_out": roll_out,
                    "aware": aware,
                    "psnr": 20.0 + shard + person,
                    "ssim": 0.8,
                }
                for person in range(3)
            ],
        )
