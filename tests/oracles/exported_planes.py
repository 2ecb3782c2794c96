"""Another project's renderer: it knows an export's files and what README.json says, and nothing of this program."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file


def load(folder: Path, subject: str) -> tuple[np.ndarray, dict[str, np.ndarray], dict]:
    """Planes of a person, weights of the decoder, and README.json."""
    lines = map(json.loads, (folder / "people.jsonl").read_text(encoding="utf-8").splitlines())
    (file,) = [line["file"] for line in lines if line["subject"] == subject]
    readme = json.loads((folder / "README.json").read_text(encoding="utf-8"))
    return load_file(folder / file)[subject], load_file(folder / readme["decoder"]["file"]), readme


def render(folder: Path, subject: str, pose: np.ndarray, fov_degrees: float, side: int) -> np.ndarray:
    """[side, side, 4] float64: premultiplied colour and opacity, pixel by pixel."""
    planes, weights, readme = load(folder, subject)
    focal = side / 2 / np.tan(np.radians(fov_degrees) / 2)
    image = np.zeros((side, side, 4))
    for row in range(side):
        for column in range(side):
            local = np.array([(column + 0.5 - side / 2) / focal, (row + 0.5 - side / 2) / focal, 1.0])
            direction = pose[:3, :3].astype(np.float64) @ local
            direction /= np.linalg.norm(direction)
            image[row, column] = march(planes, weights, readme, pose[:3, 3].astype(np.float64), direction)
    return image


def march(planes: np.ndarray, weights: dict, readme: dict, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Premultiplied colour and opacity [4] of one ray."""
    box, samples = readme["planes"]["box"], readme["render"]["samples"]
    hits = np.sort(np.stack([(-box - origin) / direction, (box - origin) / direction]), axis=0)
    near, far = hits[0].max(), hits[1].min()
    if far <= near:
        return np.zeros(4)
    d = (far - near) / samples
    points = origin + (near + (np.arange(samples) + 0.5) * d)[:, None] * direction
    density, colour = decode(features(planes, points, box), weights, readme["decoder"], direction)
    light, seen = 1.0, np.zeros(4)
    for sigma, rgb in zip(density, colour, strict=True):
        alpha = 1 - np.exp(-sigma * d)
        seen += light * alpha * np.array([*rgb, 1.0])
        light *= 1 - alpha
    return seen


def features(planes: np.ndarray, points: np.ndarray, box: float) -> np.ndarray:
    """[S, C] by grid_sample: planes xy, xz, yz, the first letter along columns."""
    total = np.zeros(1)
    for plane, (a, b) in zip(planes, ((0, 1), (0, 2), (1, 2)), strict=True):
        grid = torch.from_numpy(points[None, None][..., [a, b]] / box)
        sampled = torch.nn.functional.grid_sample(
            torch.from_numpy(plane.astype(np.float64))[None], grid, padding_mode="border", align_corners=False
        )
        total = total + sampled[0, :, 0].T.numpy()
    return total / 3


def decode(h: np.ndarray, weights: dict, decoder: dict, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Density [S] and colour [S, 3]."""
    *trunk, last, paint = decoder["layers"]

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    for name in trunk:
        h = np.maximum(layer(name, h), 0)
    out = layer(last, h)
    hidden = np.maximum(out[:, 1:], 0)
    if decoder["view_directions"]:
        hidden = np.concatenate([hidden, np.broadcast_to(direction, (len(hidden), 3))], axis=1)
    density = decoder["density"] * np.log1p(np.exp(out[:, 0]))
    return density, 1 / (1 + np.exp(-layer(paint, hidden)))
