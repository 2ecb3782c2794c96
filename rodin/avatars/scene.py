"""All visible parts of a person as numpy arrays, before Blender."""

from dataclasses import replace

import numpy as np

from rodin.avatars import body as bodies
from rodin.avatars import clothes, face, hair, wear
from rodin.avatars.geometry import Obstacle, Part, Strands
from rodin.avatars.lighting import Light, light
from rodin.avatars.person import Person
from rodin.avatars.scalp import NO_EAR, Skull, ears


def build(person: Person) -> tuple[list[Part], Light]:
    """All parts of a person, in world units, and their light."""
    body = bodies.build(person)
    skull = Skull(body)
    worn = [*clothes.parts(person, body), *wear.glasses(person, body), *wear.hat(person, body, skull)]
    grown = hair.parts(person, body, skull, _obstacle(body))
    if person.hat:
        grown = [_pressed(part, body, skull) for part in grown]
    return [*face.parts(person, body), *worn, *grown], light(person)


def _obstacle(body: bodies.Body) -> Obstacle:
    """The surface under the hair: head, neck and clothes, without the ears."""
    smooth = body.skin[(ears(body)[body.skin] < NO_EAR).all(axis=1)]
    return Obstacle(body.vertices, np.concatenate([smooth, body.suit]))


def _pressed(part: Part, body: bodies.Body, skull: Skull) -> Part:
    return replace(part, points=wear.under_hat(part.points, body, skull)) if isinstance(part, Strands) else part
