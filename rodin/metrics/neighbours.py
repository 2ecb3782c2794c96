"""Nearest subjects by cosine similarity: exact, computed in blocks, independent of the block size."""

from collections.abc import Sequence

import numpy as np

BLOCK = 4096  # subjects in one matrix product: at 512 float32 features, 8 MB
PAIRS_AT_ONCE = 1 << 14  # compared in float64 together: at 512 features, 64 MB for each side


def neighbours(
    queries: np.ndarray, subjects: np.ndarray, count: int, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most similar subjects of each query, best first.

    The similarities of a block come from one float32 matrix product. All candidates within the rounding error of that
    product are then compared in float64, so the result does not depend on blocks, threads or ranks.

    Args:
        queries: [N, D], rows of any length but zero.
        subjects: [M, D], rows of any length but zero.
        count: K, at most M.
        block: subjects in one matrix product.

    Returns:
        indices [N, K] int64 into `subjects`, cosine similarities [N, K] float64; ties go to the lower index.
    """
    queries, subjects = features(queries, "queries"), features(subjects, "subjects")
    check(queries, subjects, count)
    slack = 4 * (queries.shape[1] + 4) * np.finfo(np.float32).eps / 2  # of one product and its factors, twice over
    small = directions(queries, "queries")
    best = np.full((len(queries), count), -np.inf, np.float32)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(subjects), block):
        similarity = small @ directions(subjects[start : start + block], "subjects").T
        whole = start == 0 and similarity.shape[1] >= count
        if whole:
            best = np.partition(similarity, -count, axis=1)[:, -count:]
        near = np.flatnonzero(similarity >= best.min(axis=1, keepdims=True) - slack)
        rows, columns = np.divmod(near, similarity.shape[1])
        values = similarity.ravel()[near]
        if not whole:
            best = best_with(best, rows, values)
        found.append((rows, columns + start, values))
    rows, columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    near = values >= best.min(axis=1)[rows] - slack
    return ordered(queries, subjects, rows[near], columns[near], count)


def neighbours_in_part(
    queries: np.ndarray, subjects: np.ndarray, count: int, part: int, parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Most similar subjects of each query in one of several equal parts of the subjects, for `merged`.

    Ranks share the work so: merged, the parts give the same to the last bit as `neighbours`, as each similarity is of
    one pair alone, in float64.

    Args:
        queries, subjects, count: as in `neighbours`; all subjects, of which only the part is looked at.
        part, parts: number of the part, from 0, and of all parts.

    Returns:
        as `neighbours`, of fewer than `count` subjects where the part has no more.
    """
    subjects = features(subjects, "subjects")
    check(queries, subjects, count)
    first, last = (len(subjects) * edge // parts for edge in (part, part + 1))
    if first == last:
        return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0))
    places, similarity = neighbours(queries, subjects[first:last], min(count, last - first))
    return places + first, similarity


def merged(parts: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Best `count` neighbours out of those among different subjects: parts of (indices [N, K], similarities [N, K])."""
    places, similarity = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    order = np.lexsort((places, -similarity), axis=1)[:, :count]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def check(queries: np.ndarray, subjects: np.ndarray, count: int) -> None:
    """Refuse features of two widths, and a count that there are not as many subjects for."""
    if queries.shape[1] != subjects.shape[1] or not 1 <= count <= len(subjects):
        raise ValueError(
            f"neighbours: got queries {list(queries.shape)}, subjects {list(subjects.shape)} and count {count}, "
            "wanted one width and a count from 1 to the number of subjects"
        )


def features(array: np.ndarray, name: str) -> np.ndarray:
    """Check that an array is a set of feature rows, and return it."""
    array = np.asarray(array)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, wanted floats [N, D] with N at least 1")
    return array


def directions(rows: np.ndarray, name: str) -> np.ndarray:
    """Rows scaled to length 1, float32; each value within three roundings of the exact one."""
    if rows.dtype != np.float32:
        return unit(rows, name).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    with np.errstate(divide="ignore", over="ignore"):
        inverse = (1 / lengths).astype(np.float32)
    if not (np.isfinite(inverse) & (inverse >= np.finfo(np.float32).tiny)).all():  # zero, not finite, or out of range
        return unit(rows, name).astype(np.float32)
    return rows * inverse[:, None]


def unit(rows: np.ndarray, name: str) -> np.ndarray:
    """Scale rows to length 1, in float64."""
    rows = rows.astype(np.float64)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"{name}: a feature row is zero or not finite, so it has no direction; find out which and why")
    return rows / lengths


def best_with(best: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """K greatest values of each query, of the old ones [N, K] and new (query, value) pairs together."""
    count = best.shape[1]
    order = np.lexsort((-values, rows))
    rows, values = rows[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    more = np.full_like(best, -np.inf)
    first = rank < count
    more[rows[first], rank[first]] = values[first]
    return np.partition(np.concatenate([best, more], axis=1), -count, axis=1)[:, -count:]


def ordered(
    queries: np.ndarray, subjects: np.ndarray, rows: np.ndarray, columns: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best `count` of the candidate (query, subject) pairs, compared in float64."""
    similarity = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        similarity[part] = (unit(queries[rows[part]], "queries") * unit(subjects[columns[part]], "subjects")).sum(
            axis=1
        )
    order = np.lexsort((columns, -similarity, rows))
    rows, columns, similarity = rows[order], columns[order], similarity[order]
    first = np.arange(len(rows)) - np.searchsorted(rows, rows) < count
    return columns[first].reshape(-1, count), similarity[first].reshape(-1, count)
