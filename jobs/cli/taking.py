"""What `--from` does on the command line: stages of another run are taken over, and the user is told which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jobs.cli.screen import Screen
from jobs.graph.graph import graph
from jobs.graph.stage import Stage
from jobs.graph.taking import take_over, taking
from jobs.graph.work import Run
from jobs.run.snapshot import other_code
from jobs.run.taken import TakenStage
from rodin.store.run_folder import RunFolder
from rodin.units import byte_size


def with_taken(work: Run, sources: Sequence[RunFolder], screen: Screen) -> Run:
    """Take over what other runs have finished, and say so; returns the run as it is then.

    Args:
        work: the run, whose lock this process holds.
        sources: the other runs.
        screen: shows progress.

    Raises:
        ValueError: a source is being run, is damaged or of another format.
    """
    if not sources:
        return work
    found = take_over(work.folder, work.config, whole_graph(work), sources, screen.meter("taking over"))
    screen.clear()
    for line in taken_lines(list(found.values())):
        screen.note(line)
    used = {one.source for one in found.values()}
    for source in sources:
        if str(source.path.resolve()) in used and other_code(source):
            screen.note(f"note: {source.path} was made with other code; what is taken over stays as that code made it")
    return dataclasses.replace(work, taken=frozenset())


def taken_lines(found: Sequence[TakenStage]) -> list[str]:
    """What was taken over, one line a source."""
    lines = []
    for source in dict.fromkeys(one.source for one in found):
        of = [one for one in found if one.source == source]
        files, size, links = (sum(getattr(one, name) for one in of) for name in ("files", "bytes", "links"))
        how = "linked" if links == files else "copied" if not links else f"{links} linked, {files - links} copied"
        names = ", ".join(one.stage for one in of)
        lines.append(f"taken over from {source}: {names} ({files} files, {byte_size(size)}, {how})")
    return lines


def planned_lines(work: Run, sources: Sequence[RunFolder]) -> list[str]:
    """What would be taken over and what made again, where nothing is done about it."""
    return taking(work.folder, work.config, whole_graph(work), sources).sentences() if sources else []


def whole_graph(work: Run) -> list[Stage]:
    """All stages of a run: those that it has by its config, and the sweeps asked for."""
    return graph(work.config, tuple(stage.name for stage in work.stages if stage.name.startswith("sweep-")))
