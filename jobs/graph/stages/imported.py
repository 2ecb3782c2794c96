"""`import`: views brought in by `rodin import`; nothing to launch, the launcher only checks that they are there."""

from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Say what is missing: views come from the user's own pictures, by a command."""
    del config, hooks
    raise FileNotFoundError(
        f"{folder.manifest('import', shard)}: no imported views; "
        f"bring them in with `rodin import`, from a folder of transforms, eg3d or colmap, and --run {folder.path}"
    )


def _resources(config: Config, site: Site) -> Resources:
    return Resources(minutes=1)


def _disk(config: Config) -> float:
    data = config.data
    return 4.0 * (data.subjects + data.held_out) * data.views * data.resolution**2


STAGE = Stage(
    "import",
    "jobs.graph.stages.imported",
    (),
    "one",
    _resources,
    lambda config: "views brought in by `rodin import`",
    _disk,
    ONCE,
)
