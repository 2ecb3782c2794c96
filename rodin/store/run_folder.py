"""Where everything of a run lies: one folder on a shared file system."""

from dataclasses import dataclass
from pathlib import Path

FOLDERS = {"render": "views", "import": "views", "embed": "latents", "fit": "planes", "sample": "samples"}


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the names inside it; nothing is made on disk by asking for a name."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def stage(self, name: str) -> Path:
        """Folder of a stage's output; a stage without a folder name of its own uses its own name."""
        return self.path / FOLDERS.get(name, name)

    def manifest(self, stage: str, shard: int = 0) -> Path:
        """The file whose presence says that a shard of a stage is done."""
        return self.stage(stage) / f"{shard:05d}.json"

    def shard(self, stage: str, shard: int) -> Path:
        """The HDF5 file of a shard of a stage."""
        return self.stage(stage) / f"{shard:05d}.h5"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def config_file(self) -> Path:
        return self.path / "run.toml"
