"""The Blender process: one JSON request per line on stdin, one JSON answer per line on stdout.

A request is {"subject", "seed", "resolution", "samples", "denoise", "device", "threads", "captions", "camera_to_world",
"intrinsics", "output"}. The images are written to the file `output` (npz, `rgba` [V, H, W, 4] uint8). The answer is
{"subject", "output", "caption", "captions", "attributes", "facts", "seconds"}. What Blender prints on stdout is lost.
With "surface": true it writes, instead of images, what cameras see of the surface (npz, `points` and `strands`, see
`rodin.avatars.surface`).
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np


def main() -> None:
    """Answer requests until stdin ends."""
    answers = _own_stdout()
    for line in sys.stdin:
        if line.strip():
            answers.write(json.dumps(answer(json.loads(line))) + "\n")
            answers.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Render the images of one request.

    Args:
        request: as the module docstring describes.

    Returns:
        The answer; the file is complete by then.
    """
    from rodin.avatars import blender, scene, surface
    from rodin.avatars.caption import captions
    from rodin.avatars.facts import facts
    from rodin.avatars.person import draw

    started = time.monotonic()
    person = draw(request["seed"], request["subject"])
    built = scene.build(person)
    cameras = [np.array(request[name], dtype=np.float32) for name in ("camera_to_world", "intrinsics")]
    side, threads = request["resolution"], request.get("threads", 0)
    if request.get("surface"):
        points, strands = surface.visible_surface(*built, *cameras, resolution=side, threads=threads)
        _publish(Path(request["output"]), points=points, strands=strands)
    else:
        pictures = blender.render(
            *built,
            *cameras,
            resolution=side,
            samples=request["samples"],
            denoise=request["denoise"],
            device=request.get("device", "CPU"),
            threads=threads,
            at_once=request.get("device", "CPU") != "CUDA",
        )
        _publish(Path(request["output"]), rgba=pictures)
    texts = captions(person, request.get("captions", 1), request["seed"])
    return {
        "subject": request["subject"],
        "output": request["output"],
        "caption": texts[0],
        "captions": texts,
        "attributes": person.attributes(),
        "facts": facts(person),
        "seconds": round(time.monotonic() - started, 3),
    }


def _publish(path: Path, **arrays: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as out:
        np.savez(out, **arrays)
    temporary.replace(path)


def _own_stdout() -> TextIO:
    """A copy of stdout for the answers; stdout itself is redirected to /dev/null, since Blender writes to it."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return answers


if __name__ == "__main__":
    main()
