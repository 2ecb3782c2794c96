"""`import`: views brought in by `rodin import`. Nothing runs; the stage only checks that they are there."""

from jobs.graph.costs import views_bytes
from jobs.graph.stage import ONCE, Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.hooks import Hooks
from rodin.store.run_folder import RunFolder


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fail where views are missing: the user imports them with a command.

    Raises:
        FileNotFoundError: always; names the missing manifest and the command.
    """
    del config, hooks
    raise FileNotFoundError(
        f"{folder.manifest('import', shard)}: no imported views; "
        f"bring them in with `rodin import`, from a folder of transforms, eg3d or colmap, and --run {folder.path}"
    )


def _resources(config: Config, site: Site) -> Resources:
    return Resources(minutes=1)


STAGE = Stage(
    "import",
    "jobs.graph.stages.imported",
    (),
    "one",
    _resources,
    lambda config: "views brought in by `rodin import`",
    views_bytes,
    ONCE,
)
