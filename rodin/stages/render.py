"""Stage `render`: views of synthetic subjects (R21-R24), one shard of subjects at a time.

Blender runs in a separate process (`python -m rodin.avatars`), which keeps its memory, its licence and its crashes out
of this one. A subject is stored with all its views or not at all; a stopped shard continues with the missing subjects.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from rodin.children import unstoppable_children
from rodin.config import Config
from rodin.field import cameras
from rodin.hooks import HelperKilled, Hooks, Stopped
from rodin.store.errors import check_space
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

Cameras = Callable[[str], tuple[np.ndarray, np.ndarray]]  # subject -> camera_to_world, intrinsics
QUIT_SECONDS = 10.0  # for the process to quit by itself; then it is killed
QUIT_SECONDS_AFTER_FAULT = 0.5  # after an error nothing of its work is needed
LAST_LINES = 4  # of the process's error output, quoted when it dies


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Render the subjects of one shard into a store of kind `views`.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the shard, see `Config.subjects_of`.
        hooks: progress callback and stop request, checked between subjects.
    """
    with shard_writer(config, folder, shard) as writer:
        render_missing(config, writer, lambda subject: views_of(config, subject), config.data.captions, hooks)
        writer.publish()


def shard_writer(config: Config, folder: RunFolder, shard: int) -> ShardWriter:
    """Writer of the views of one shard's subjects."""
    fields = view_fields(config, config.data.views, config.data.resolution)
    return ShardWriter(folder.stage("render"), shard, "views", config.subjects_of("render", shard), *fields)


def views_of(config: Config, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Cameras of one subject: camera_to_world [V, 4, 4] and intrinsics [V, 4], float32."""
    return cameras_of(config, subject, config.data.views, config.data.reference_views, config.data.resolution)


def cameras_of(config: Config, subject: str, views: int, frontal: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cameras of a subject by its id.

    Args:
        config: the run's config.
        subject: id.
        views: V, how many.
        frontal: the first so many are near frontal.
        side: of an image, pixels.

    Returns:
        camera_to_world [V, 4, 4] and intrinsics [V, 4], float32.
    """
    data = config.data
    digest = hashlib.sha256(f"cameras {config.seed} {subject}".encode()).digest()
    poses = cameras.sphere(
        views,
        reference_views=frontal,
        radius=data.camera_radius,
        elevation=data.elevation,
        seed=int.from_bytes(digest[:8], "little"),
    )
    return poses, np.tile(cameras.pinhole(side, data.fov_degrees), (views, 1))


def render_missing(config: Config, writer: ShardWriter, cameras: Cameras, captions: int, hooks: Hooks) -> None:
    """Render the subjects of a shard that have no row yet.

    Args:
        config: the run's config.
        writer: of a shard of kind `views`; the side of its images is the one to render.
        cameras: subject -> camera_to_world [V, 4, 4] and intrinsics [V, 4].
        captions: of each subject.
        hooks: progress callback and stop request, checked between subjects.

    Raises:
        Stopped: a stop was requested; the subjects rendered so far are kept.
    """
    if not (missing := writer.missing()):
        return
    total, side = len(writer.subjects), writer.shapes["rgba"][1]
    hooks.progress(total - len(missing), total, "starting Blender")
    with tempfile.TemporaryDirectory(prefix="rodin-render-") as scratch, _blender(Path(scratch)) as blender:
        for number, subject in enumerate(missing):
            if hooks.should_stop():
                raise Stopped(f"{len(missing) - number} subjects still to do; run the same command again")
            poses, intrinsics = cameras(subject)
            output = Path(scratch) / f"{number}.npz"
            answer = blender.render(_request(config, subject, poses, intrinsics, side, captions, output))
            with np.load(output, allow_pickle=False) as arrays:
                rgba = arrays["rgba"]
            output.unlink()
            meta = {name: answer[name] for name in ("caption", "captions", "attributes", "facts")}
            writer.add(subject, meta=meta, rgba=rgba, camera_to_world=poses, intrinsics=intrinsics)
            hooks.progress(total - len(missing) + number + 1, total, f"{subject} in {answer['seconds']:.1f} s")


def visible_surfaces(
    config: Config, subjects: Sequence[str], camera_to_world: np.ndarray, intrinsics: np.ndarray, side: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What cameras see of the true surface of subjects, by Blender's position pass.

    Args:
        config: the run's config.
        subjects: ids.
        camera_to_world: [V, 4, 4], of the same cameras for all.
        intrinsics: [V, 4] in pixels.
        side: of a view, pixels.

    Yields:
        of each subject in turn, as `rodin.avatars.surface.visible_surface`.
    """
    with tempfile.TemporaryDirectory(prefix="rodin-surfaces-") as scratch, _blender(Path(scratch)) as blender:
        for subject in subjects:
            output = Path(scratch) / "surface.npz"
            request = _request(config, subject, camera_to_world, intrinsics, side, 1, output)
            blender.render(request | {"surface": True})
            with np.load(output, allow_pickle=False) as arrays:
                yield arrays["points"], arrays["strands"]


def view_fields(config: Config, views: int, side: int) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """Shapes and attributes of a shard of so many rendered views a subject, of so many pixels a side."""
    shapes = {"rgba": (views, side, side, 4), "camera_to_world": (views, 4, 4), "intrinsics": (views, 4)}
    return shapes, {"source": "avatars", "seed": config.seed, "resolution": side}


def _request(
    config: Config,
    subject: str,
    poses: np.ndarray,
    intrinsics: np.ndarray,
    side: int,
    captions: int,
    output: Path,
) -> dict[str, Any]:
    return {
        "subject": subject,
        "seed": config.seed,
        "resolution": side,
        "samples": config.data.samples,
        "denoise": config.data.denoise,
        "device": config.data.device,
        "threads": len(os.sched_getaffinity(0)),
        "captions": captions,
        "camera_to_world": poses.tolist(),
        "intrinsics": intrinsics.tolist(),
        "output": str(output),
    }


class _BlenderProcess:
    """Rendering process; it renders one subject for each request."""

    def __init__(self, process: subprocess.Popen[str], error_log: Path) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the rendering process was started without pipes")
        self._process, self._error_log = process, error_log
        self._requests, self._answers = process.stdin, process.stdout

    def render(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            HelperKilled: the process was killed.
            StoreError: there is no room for its pictures.
            RuntimeError: it has ended otherwise.
        """
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            lines = self._error_log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
            message = " | ".join(line.strip() for line in lines) or "nothing"
            who = f"subject {request['subject']}: the rendering process"
            if code == -signal.SIGKILL:
                raise HelperKilled(f"{who} was killed, perhaps out of memory; its last output: {message}")
            check_space(Path(request["output"]), len(request["camera_to_world"]) * 4 * request["resolution"] ** 2)
            raise RuntimeError(f"{who} ended with status {code}; its last output: {message}")
        return json.loads(line)

    def end(self) -> None:
        """End the process; without waiting for it after an error."""
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=QUIT_SECONDS if sys.exc_info()[0] is None else QUIT_SECONDS_AFTER_FAULT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


@contextmanager
def _blender(scratch: Path) -> Iterator[_BlenderProcess]:
    """Start the rendering process, and end it on exit."""
    lacking = [name for name in ("bpy", "anny") if importlib.util.find_spec(name) is None]
    if lacking:
        raise ValueError(
            f"stage render needs {' and '.join(lacking)}, not installed here: pip install -e '.[demo]', "
            "or bring in views of your own with `rodin import`"
        )
    error_log = scratch / "errors.log"
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with error_log.open("w") as errors, unstoppable_children():
        process = subprocess.Popen(
            [sys.executable, "-m", "rodin.avatars"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
    blender = _BlenderProcess(process, error_log)
    try:
        yield blender
    finally:
        blender.end()
