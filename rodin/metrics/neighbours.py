"""Nearest subjects by cosine similarity: exact, computed in blocks, independent of the block size."""

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
    if queries.shape[1] != subjects.shape[1] or not 1 <= count <= len(subjects):
        raise ValueError(
            f"neighbours: got queries {list(queries.shape)}, subjects {list(subjects.shape)} and count {count}, "
            "wanted one width and a count from 1 to the number of subjects"
        )
    slack = 4 * queries.shape[1] * np.finfo(np.float32).eps / 2
    small = unit(queries, "queries").astype(np.float32)
    best = np.full((len(queries), count), -np.inf, np.float32)
    found: list[np.ndarray] = []
    for start in range(0, len(subjects), block):
        similarity = small @ unit(subjects[start : start + block], "subjects").astype(np.float32).T
        if start == 0 and similarity.shape[1] >= count:
            best = np.partition(similarity, -count, axis=1)[:, -count:]
        rows, columns = np.nonzero(similarity >= best.min(axis=1, keepdims=True) - slack)
        values = similarity[rows, columns]
        if start > 0 or similarity.shape[1] < count:
            best = best_with(best, rows, values)
        found.append(np.stack([rows, columns + start]))
    rows, columns = np.concatenate(found, axis=1)
    return ordered(queries, subjects, rows, columns, count)


def features(array: np.ndarray, name: str) -> np.ndarray:
    """Check that an array is a set of feature rows, and return it."""
    array = np.asarray(array)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, wanted floats [N, D] with N at least 1")
    return array


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
