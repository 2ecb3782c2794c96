"""A person as everything a camera sees of them: parts in numpy arrays, before Blender."""

import numpy as np

from rodin.avatars import body as bodies
from rodin.avatars import clothes, face, hair
from rodin.avatars.geometry import Obstacle, Part
from rodin.avatars.lighting import Light, light
from rodin.avatars.person import Person


def build(person: Person) -> tuple[list[Part], Light]:
    """All parts of a person, in world units, and their light."""
    body = bodies.build(person)
    obstacle = Obstacle(body.vertices, np.concatenate([body.skin, body.suit]))
    parts = [*face.parts(person, body), *clothes.parts(person, body), *hair.parts(person, body, obstacle)]
    return parts, light(person)
