"""A stage by hand, without a launcher: `python -m jobs.worker RUN STAGE [SHARD ...]`."""

import sys

from jobs.launch.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
