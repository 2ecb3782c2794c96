"""`PYTHONPATH=.:tests python -m slurm_model SEED [END]`: one seed with all that happens, or a range of seeds."""

from __future__ import annotations

import collections
import sys
import time

from slurm_model.scenario import play

from rodin.units import duration

SHOWN_SECONDS = 60.0  # between two lines of progress


def main(arguments: list[str]) -> int:
    if len(arguments) == 1:
        try:
            play(int(arguments[0]), loud=True)
        except AssertionError as problem:
            print(problem)
            return 1
        return 0
    begin, broken, ends = time.monotonic(), 0, collections.Counter[str]()
    first, end, shown = int(arguments[0]), int(arguments[1]), time.monotonic()
    for seed in range(first, end):
        if time.monotonic() > shown + SHOWN_SECONDS:
            shown = time.monotonic()
            left = (shown - begin) / (seed - first) * (end - seed)
            print(f"seed {seed}, {broken} violations, {duration(left)} left", file=sys.stderr, flush=True)
        try:
            ends[play(seed).last] += 1
        except AssertionError as problem:
            broken += 1
            print(problem, flush=True)
    print(f"{broken} violations, {dict(ends)}, {time.monotonic() - begin:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
