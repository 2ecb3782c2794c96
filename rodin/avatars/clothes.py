"""What a person wears on the chest."""

import numpy as np

from rodin.avatars.body import Body
from rodin.avatars.geometry import Finish, Mesh, Part, compact
from rodin.avatars.person import Person


def parts(person: Person, body: Body) -> list[Part]:
    """The shirt."""
    vertices, triangles, _ = compact(body.vertices, body.suit)
    second = tuple(value / 255 for value in person.second_rgb)
    finish = Finish(roughness=0.85, specular=0.1, pattern=person.pattern, second=(second[0], second[1], second[2]))
    colours = np.tile(np.array(person.shirt_rgb) / 255, (len(vertices), 1))
    return [Mesh("shirt", vertices, triangles, colours, finish)]
