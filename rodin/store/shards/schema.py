"""Kinds of shards: their fields, types and shapes.

Letters: V views, F reference views, H and W image size, C plane channels, R fit resolution, r base resolution, D latent
width, K captions of a subject, L tokens, E token width, S image size of samples, Q methods, P pictures compared, M
measures of each. The leading axis over subjects is implied.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rodin.store.errors import StoreError

VERSION = 2  # version of the shard format; readers refuse others. Raise it with each incompatible change
FORMAT = "rodin shard"  # value of the file attribute "format"


@dataclass(frozen=True)
class FieldKind:
    """One field of a kind of shard.

    Args:
        dtype: numpy type of an element.
        shape: one subject's shape in letters; a number is a fixed size.
        split: each entry along the first axis has its own checksum, so that it can be read alone.
        optional: a shard may lack the field.
    """

    dtype: str
    shape: str
    split: bool = False
    optional: bool = False


KINDS: dict[str, dict[str, FieldKind]] = {
    "views": {
        "rgba": FieldKind("uint8", "V H W 4", split=True),
        "camera_to_world": FieldKind("float32", "V 4 4"),
        "intrinsics": FieldKind("float32", "V 4"),
    },
    "planes": {
        "planes": FieldKind("float16", "3 C R R"),
        "base": FieldKind("float16", "3 C r r"),
    },
    "latents": {
        "image": FieldKind("float32", "V D"),
        "mirrored": FieldKind("float32", "F D", optional=True),
        "text": FieldKind("float32", "K D"),
        "tokens": FieldKind("float16", "K L E"),
        "token_mask": FieldKind("bool", "K L"),
    },
    "samples": {
        "planes": FieldKind("float16", "3 C R R", optional=True),
        "latent": FieldKind("float32", "D", optional=True),
        "rgba": FieldKind("uint8", "V S S 4", split=True),
        "mesh": FieldKind("uint8", "S S 3", optional=True),
        "measures": FieldKind("float32", "Q P M", optional=True),
    },
}


def fields_of(kind: str) -> dict[str, FieldKind]:
    """The fields of a kind of shard.

    Raises:
        StoreError: there is no such kind.
    """
    if kind not in KINDS:
        raise StoreError(f"kind of shard: got {kind!r}, wanted one of {', '.join(sorted(KINDS))}")
    return KINDS[kind]


def row_bytes(kind: str, shapes: Mapping[str, Sequence[int]]) -> int:
    """Bytes of one subject's row.

    Args:
        kind: kind of shard.
        shapes: field -> one subject's shape.
    """
    sizes = {"uint8": 1, "bool": 1, "float16": 2, "float32": 4}  # bytes of an element
    return sum(math.prod(shape) * sizes[KINDS[kind][name].dtype] for name, shape in shapes.items())


def other_version(version: object) -> str:
    """Error text for a shard or manifest of another schema version."""
    age = "a newer" if isinstance(version, int) and version > VERSION else "an older or foreign"
    return (
        f"written by {age} rodin (schema {version}, this one reads {VERSION}); "
        "use the code snapshot in the run's code/ folder"
    )


def check_shapes(kind: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Check one subject's shapes: all required fields are there, and each letter has one size.

    Args:
        kind: kind of shard.
        shapes: field -> one subject's shape.

    Raises:
        StoreError: names the field, the shape it has and the shape wanted.
    """
    fields = fields_of(kind)
    required = {name for name, field in fields.items() if not field.optional}
    if not required <= set(shapes) <= set(fields):
        raise StoreError(
            f"{kind} shard: got fields {sorted(shapes)}, wanted {sorted(required)} and at most {sorted(fields)}"
        )
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        words = fields[name].shape.split()
        fits = len(words) == len(shape) and all(isinstance(size, int) and size > 0 for size in shape)
        for word, size in zip(words, shape, strict=False):
            fits = fits and (int(word) if word.isdigit() else sizes.setdefault(word, size)) == size
        if not fits:
            known = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
            raise StoreError(
                f"{kind} shard, field {name!r}: got shape {list(shape)}, wanted [{' '.join(words)}] with {known}"
            )


def check_subjects(subjects: Sequence[str]) -> None:
    """Check that ids are non-empty texts without a NUL, each once.

    Raises:
        StoreError: names the id.
    """
    for subject in subjects:
        if not isinstance(subject, str) or not subject or "\0" in subject:
            raise StoreError(f"subject id: got {subject!r}, wanted a text that is not empty")
    if len(set(subjects)) != len(subjects):
        twice = next(subject for subject in subjects if list(subjects).count(subject) > 1)
        raise StoreError(f"subject id {twice!r} appears twice in one shard; every subject has one row")
