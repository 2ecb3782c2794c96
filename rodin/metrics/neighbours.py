"""The nearest people by cosine similarity: exact, blocked, and the same whatever the blocks."""

import numpy as np

BLOCK = 4096
PAIRS_AT_ONCE = 1 << 14


def neighbours(
    queries: np.ndarray, people: np.ndarray, count: int, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most similar people of each query, best first.

    Similarities of a block come from one float32 matrix product; whoever could be among the best within that product's
    rounding is then compared in float64, so neither blocks nor threads nor ranks change the answer.

    Args:
        queries: [N, D], of any length but not zero.
        people: [M, D], of any length but not zero.
        count: K, how many; at most M.
        block: people in one product.

    Returns:
        indices [N, K] int64 into `people`, cosine similarities [N, K] float64; ties go to the lower index.
    """
    queries, people = features(queries, "queries"), features(people, "subjects")
    if queries.shape[1] != people.shape[1] or not 1 <= count <= len(people):
        raise ValueError(
            f"neighbours: got queries {list(queries.shape)}, people {list(people.shape)} and count {count}, "
            "wanted one width and a count from 1 to the number of people"
        )
    slack = 4 * queries.shape[1] * np.finfo(np.float32).eps / 2
    small = unit(queries, "queries").astype(np.float32)
    best = np.full((len(queries), count), -np.inf, np.float32)
    found: list[np.ndarray] = []
    for start in range(0, len(people), block):
        similarity = small @ unit(people[start : start + block], "subjects").astype(np.float32).T
        if start == 0 and similarity.shape[1] >= count:
            best = np.partition(similarity, -count, axis=1)[:, -count:]
        rows, columns = np.nonzero(similarity >= best.min(axis=1, keepdims=True) - slack)
        values = similarity[rows, columns]
        if start > 0 or similarity.shape[1] < count:
            best = best_with(best, rows, values)
        found.append(np.stack([rows, columns + start]))
    rows, columns = np.concatenate(found, axis=1)
    return ordered(queries, people, rows, columns, count)


def features(array: np.ndarray, name: str) -> np.ndarray:
    """The array, if it is a set of feature rows."""
    array = np.asarray(array)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, wanted floats [N, D] with N at least 1")
    return array


def unit(rows: np.ndarray, name: str) -> np.ndarray:
    """Rows scaled to length 1, float64."""
    rows = rows.astype(np.float64)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"{name}: a feature row is zero or not finite, so it has no direction; find out which and why")
    return rows / lengths


def best_with(best: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The K greatest values of each query, old ones [N, K] and new (query, value) pairs together."""
    count = best.shape[1]
    order = np.lexsort((-values, rows))
    rows, values = rows[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    more = np.full_like(best, -np.inf)
    kept = rank < count
    more[rows[kept], rank[kept]] = values[kept]
    return np.partition(np.concatenate([best, more], axis=1), -count, axis=1)[:, -count:]


def ordered(
    queries: np.ndarray, people: np.ndarray, rows: np.ndarray, columns: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best `count` of candidate (query, person) pairs, compared in float64."""
    similarity = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        similarity[part] = (unit(queries[rows[part]], "queries") * unit(people[columns[part]], "subjects")).sum(axis=1)
    order = np.lexsort((columns, -similarity, rows))
    rows, columns, similarity = rows[order], columns[order], similarity[order]
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < count
    return columns[kept].reshape(-1, count), similarity[kept].reshape(-1, count)
