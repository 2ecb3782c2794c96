"""Layout of a run folder: one folder on a shared file system."""

from dataclasses import dataclass
from pathlib import Path

# stage -> its folder where that has another name
FOLDERS = {"render": "views", "import": "views", "embed": "latents", "fit": "planes", "sample": "samples"}


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the paths inside it; no method touches the disk.

    Args:
        path: the folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def stage(self, name: str) -> Path:
        """Folder of a stage's output: as in `FOLDERS`, else the stage's name."""
        return self.path / FOLDERS.get(name, name)

    def manifest(self, stage: str, shard: int = 0) -> Path:
        """Manifest of a shard of a stage; its presence means that the shard is done."""
        return self.stage(stage) / f"{shard:05d}.json"

    def shard(self, stage: str, shard: int) -> Path:
        """HDF5 file of a shard of a stage."""
        return self.stage(stage) / f"{shard:05d}.h5"

    @property
    def results(self) -> Path:
        """Folder of result rows, ``*.jsonl``."""
        return self.path / "results"

    @property
    def tables(self) -> Path:
        """Folder of the paper's tables."""
        return self.path / "tables"

    @property
    def figures(self) -> Path:
        """Folder of the paper's figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """Report page."""
        return self.path / "report.html"

    @property
    def jobs(self) -> Path:
        """Folder of the job layer: ledger, logs, progress."""
        return self.path / "jobs"

    @property
    def code(self) -> Path:
        """Folder of code snapshots that the jobs import."""
        return self.path / "code"

    @property
    def config_file(self) -> Path:
        """Resolved config of the run."""
        return self.path / "run.toml"
