"""Films that ffmpeg could not write whole are not published."""

import gc
import resource
from pathlib import Path

import numpy as np
import pytest

from rodin.generate.look import Look
from rodin.generate.pictures import save_mp4
from rodin.store.errors import StoreError

pytest.importorskip("imageio_ffmpeg")


def frames(count: int) -> np.ndarray:
    """Noise, of which a film has megabytes."""
    return np.random.default_rng(0).integers(0, 256, (count, 128, 128, 4), dtype=np.uint8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio leaves a pipe open
@pytest.mark.parametrize("count", [1, 200])
def test_a_film_that_is_cut_short_is_refused(count: int, tmp_path: Path) -> None:
    save_mp4(tmp_path / "whole.mp4", frames(count), {})
    most = (tmp_path / "whole.mp4").stat().st_size // 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        with pytest.raises(OSError, match=rf"^ffmpeg wrote \d+ of {count} frames, as on a full disk$"):
            save_mp4(tmp_path / "cut.mp4", frames(count), {})
    finally:
        gc.collect()  # which is told here, and in no later test
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_avatar_is_not_published_with_half_a_film(avatars, tmp_path, monkeypatch) -> None:
    from rodin.generate.export import export_avatar

    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(ffmpeg, "count_frames_and_secs", lambda path: (3, 1.0))
    planes = avatars.planes(avatars.latents_unconditional([1]), [1], 1.0)[0]
    with pytest.raises(StoreError, match=r"^.*/a: cannot write \(ffmpeg wrote 3 of 24 frames, as on a full disk\)"):
        export_avatar(avatars, tmp_path / "a", {"avatar": planes}, {"seed": 1}, look=Look(16, 2, "mp4"))
    assert not list(tmp_path.iterdir())
