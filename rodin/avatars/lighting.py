"""Light on a person: a key lamp, a fill lamp, a back lamp and uniform white background light."""

from dataclasses import dataclass

import numpy as np

from rodin.avatars.person import Person


@dataclass(frozen=True)
class Lamp:
    """A square lamp that shines at the origin: position [3], side length, watts and linear colour."""

    position: tuple[float, float, float]
    size: float
    power: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The lamps and the linear colour of the uniform background light."""

    lamps: tuple[Lamp, ...]
    world: tuple[float, float, float]


def light(person: Person) -> Light:
    """The lamps of a person."""
    azimuth, elevation, strength, warmth = person.light
    tint = (1 + 0.05 * warmth, 1.0, 1 - 0.05 * warmth)
    other = -1.0 if azimuth > 0 else 1.0
    key = Lamp(_place(azimuth, elevation, 4.0), 1.2, 112 * strength, tint)
    fill = Lamp(_place(other * 50, 10, 4.5), 1.6, 42, (1.0, 1.0, 1.0))
    back = Lamp(_place(180 + other * 40, 35, 4.5), 1.6, 90, (1.0, 1.0, 1.0))
    return Light((key, fill, back), (0.45, 0.45, 0.45))


def _place(azimuth: float, elevation: float, distance: float) -> tuple[float, float, float]:
    a, e = np.radians(azimuth), np.radians(elevation)
    return (
        float(distance * np.sin(a) * np.cos(e)),
        float(distance * np.sin(e)),
        float(distance * np.cos(a) * np.cos(e)),
    )
