"""`PYTHONPATH=.:tests python -m slurm_model SEED [END]`: one seed with all that happens, or a range of seeds."""

from __future__ import annotations

import collections
import sys
import time

from slurm_model.scenario import play


def main(arguments: list[str]) -> int:
    if len(arguments) == 1:
        try:
            play(int(arguments[0]), loud=True)
        except AssertionError as problem:
            print(problem)
            return 1
        return 0
    begin, broken, ends = time.monotonic(), 0, collections.Counter[str]()
    for seed in range(int(arguments[0]), int(arguments[1])):
        try:
            ends[play(seed).last] += 1
        except AssertionError as problem:
            broken += 1
            print(problem, flush=True)
    print(f"{broken} violations, {dict(ends)}, {time.monotonic() - begin:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
