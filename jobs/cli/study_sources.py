"""Where the pictures of `rodin study build` come from: folders of PNG files, and runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from analysis.results.comparison import People
from analysis.study.build import Settings
from analysis.study.sources import FolderSource, Source
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder


def sources_of(
    given: list[str], run: Path | None, of_run: str | None, of: str, settings: Settings
) -> dict[str, Source]:
    """Method -> where its pictures come from, in the order given.

    Raises:
        ValueError: a method is named twice, or is not NAME=PATH, or --run and --methods do not stand together.
    """
    if of not in ("people", "samples"):
        raise ValueError(f"--of got '{of}', wanted people or samples")
    if (run is None) != (of_run is None):
        raise ValueError("--run and --methods belong together, such as --run runs/demo --methods rodin,mean,nearest")
    found: list[tuple[str, Source]] = []
    if run is not None and of_run is not None:
        chosen = [checked_method(name.strip(), of) for name in of_run.split(",")]
        found += [(name, run_source(run, name, of, settings)) for name in chosen]
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise ValueError(f"got '{text}', wanted NAME=PATH, such as ours=pictures/")
        found.append((name, path_source(Path(path), of, settings)))
    names = [name for name, _ in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"method '{twice[0]}' is named twice; give each a name of its own")
    return dict(found)


def path_source(path: Path, of: str, settings: Settings) -> Source:
    """Pictures of a folder of PNG files, or of a run's own avatars."""
    return run_source(path, "rodin", of, settings) if RunFolder(path).config_file.is_file() else FolderSource(path)


def run_source(run: Path, method: str, of: str, settings: Settings) -> Source:
    """Pictures of a run by one method.

    Raises:
        ValueError, FileNotFoundError: the run lacks what the method needs.
    """
    folder = RunFolder(run)
    config = read_config(folder)
    from rodin.evaluation.study_pictures import HeldOutPeople, RebuiltPeople, SampledAvatars

    if of == "samples":
        return SampledAvatars(folder, config, settings.size)
    source = RebuiltPeople(HeldOutPeople(folder, config, settings.size), method)
    source.check()
    return source


def checked_method(method: str, of: str) -> str:
    """One of --methods.

    Raises:
        ValueError: there is no such, or not of samples.
    """
    from rodin.evaluation.study_pictures import METHODS, RODIN

    if method not in METHODS:
        raise ValueError(f"--methods got '{method}', wanted some of {', '.join(METHODS)}")
    if of == "samples" and method != RODIN:
        raise ValueError(f"method '{method}' rebuilds a person from a picture; with --of samples only {RODIN} can be")
    return method


def reference_of(path: Path, settings: Settings) -> Source:
    """Pictures that pairs are compared with: of a folder, or the true ones of a run's held-out people."""
    if not RunFolder(path).config_file.is_file():
        return FolderSource(path)
    from rodin.evaluation.study_pictures import HeldOutPeople

    return HeldOutPeople(RunFolder(path), read_config(RunFolder(path)), settings.size)


def check_same_people(sources: Iterable[Source]) -> None:
    """Refuse runs whose people differ under equal ids, as those of runs of other seeds do.

    Raises:
        ValueError: names a person and two runs.
    """
    from rodin.evaluation.study_pictures import HeldOutPeople, RebuiltPeople

    rebuilt = [source.people if isinstance(source, RebuiltPeople) else source for source in sources]
    found = {people.folder.path.resolve(): people for people in rebuilt if isinstance(people, HeldOutPeople)}
    runs = list(found)
    for other in runs[1:]:
        one, two = People(runs[0]), People(other)
        for item in sorted(set(found[runs[0]].items) & set(found[other].items)):
            if one.key(item) != two.key(item):
                raise ValueError(
                    f"{item} is one person in {found[runs[0]].folder.path} and another in {found[other].folder.path}; "
                    "wanted runs of the same people, such as one made from the other by `rodin run --from`"
                )
