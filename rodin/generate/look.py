"""How an avatar is shown: the side, number and format of its pictures, and the cameras of its turntable."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rodin.config import Config
from rodin.field import cameras
from rodin.generate.pictures import FORMATS, check_format
from rodin.shapes import check_whole

SMALLEST, LARGEST = 16, 1024  # px; a render of 1024² takes ten seconds on a CPU core
MOST_VIEWS = 720  # half a degree a frame: more are a film
SHOWN = 256  # px; smaller pictures are hard to judge by eye
FINER = 4  # times the side of the pictures that a run learned from: more shows only blur
PIXELS_A_SAMPLE = 4  # a ray has a sample for so many pixels of a side; fewer samples show as rings on shoulders
TURNTABLE = 24  # frames of a turntable, 15 degrees each


@dataclass(frozen=True)
class Look:
    """How an avatar is shown.

    Args:
        size: side of a picture, 16 to 1024 pixels; None: 256, but at most four times that of the run's pictures, and
            at least `sample.resolution`.
        views: pictures from all around, 1 to 720; None: `sample.views`.
        format: of the turntable: gif, mp4 (needs imageio-ffmpeg), or png, a picture a frame.

    Raises:
        ValueError: out of range, or another format.
    """

    size: int | None = None
    views: int | None = None
    format: str = "gif"

    def __post_init__(self) -> None:
        for name, value, low, high in (("size", self.size, SMALLEST, LARGEST), ("views", self.views, 1, MOST_VIEWS)):
            if value is not None:
                check_whole(name, value, low, high)
        if self.format not in FORMATS:
            raise ValueError(f"format: got {self.format!r}, wanted {', '.join(FORMATS)}")
        check_format(self.format)

    def of(self, config: Config) -> Look:
        """The same look with the values that a run's config gives where none are said."""
        return replace(self, size=self.size or shown_side(config), views=self.views or config.sample.views)

    @property
    def side(self) -> int:
        """The side of a picture, pixels; of a look whose size is known."""
        if self.size is None:
            raise ValueError("size: not known yet; call `of` with a run's config first")
        return self.size


def shown_side(config: Config) -> int:
    """Side of a picture where none is asked for, pixels."""
    return max(config.sample.resolution, min(SHOWN, FINER * config.data.resolution))


def render_samples(config: Config, side: int) -> int:
    """Samples of a ray for pictures of so many pixels a side; as many as the config says for small ones."""
    return max(config.sample.render_samples, side // PIXELS_A_SAMPLE)


def cameras_along(config: Config, name: str, views: int) -> cameras.Cameras:
    """Cameras of a run along a path: ring, swing or spiral."""
    return cameras.path(name, views, radius=config.data.camera_radius, fov_degrees=config.data.fov_degrees)
