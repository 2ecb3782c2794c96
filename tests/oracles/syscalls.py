"""What a program does to the files under a folder, recorded by strace: every system call, also those of C libraries.

strace sees what the kernel sees, so nothing that Python, HDF5 or torch writes can pass by unseen. `lossy_disk` replays
the record, and the replay of all of it must equal the folder itself, which shows that nothing is missing.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OPENS = ("openat", "open", "creat")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range", "ftruncate", "lseek")
SYNCS = ("fsync", "fdatasync")
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat")
OTHERS = ("truncate", "symlink", "symlinkat")  # not replayed, but noticed
LONGEST = 1 << 26  # bytes of one write that strace prints, more than any write of a test
HEX = r"(?:\\x[0-9a-f]{2})*"
TEXT = re.compile(rf'"({HEX})"')
PLACE = re.compile(rf"(AT_FDCWD|\d+)<({HEX})>(\(deleted\))?")
LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))")
END = re.compile(r"\) += (-?\d+)")


@dataclass(frozen=True)
class Event:
    """One change under the folder.

    Args:
        kind: make, write, cut, sync (begins), synced, rename, link, unlink, mkdir, rmdir, or said.
        path: relative to the folder; of `said`, the text.
        other: new path of rename and link.
        data: bytes written.
        offset: of a write; -1: at the file's end. Length of a cut.
        token: number that a sync and its synced have in common.
    """

    kind: str
    path: str
    other: str = ""
    data: bytes = b""
    offset: int = 0
    token: int = 0


def available() -> bool:
    """Whether strace is installed and may trace a process here."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


def record(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[Event]:
    """Run a program and return what it did to the files under a folder, in order.

    The program may write lines to the file FOLDER.said: each becomes an event at its place between the others.
    """
    log = folder.with_name(folder.name + ".strace")
    words = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(LONGEST), "-e", "signal=none"]
    done = subprocess.run(
        [*words, "-e", f"trace={','.join((*OPENS, *WRITES, *SYNCS, *NAMES, *OTHERS))}", "-o", str(log), *command],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return list(Parser(folder.resolve()).events(log))


class Parser:
    """Reader of one record; it follows the position of each open file.

    Args:
        folder: absolute path of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = f"{folder}/", f"{folder}.said"
        self.position: dict[tuple[str, str], int] = {}  # (descriptor, path) -> byte; -1: appends
        self.begun: dict[str, str] = {}
        self.tokens: dict[str, int] = {}
        self.count = 0

    def events(self, log: Path) -> Iterator[Event]:
        """The events of a record."""
        with log.open(encoding="ascii") as lines:
            for line in lines:
                match = LINE.match(line)
                if match is None:
                    continue
                process, name, rest, resumed, ending = match.groups()
                if name and rest.endswith("<unfinished ...>"):
                    self.begun[process] = rest.removesuffix("<unfinished ...>").rstrip()
                    if name in SYNCS:
                        yield from self._sync_begins(process, rest)
                    continue
                if resumed:
                    name, rest = resumed, self.begun.pop(process) + ending
                elif name in SYNCS:
                    yield from self._sync_begins(process, rest)
                end = list(END.finditer(rest))
                if end and int(end[-1][1]) >= 0:
                    yield from self._call(process, name, rest, int(end[-1][1]))

    def _within(self, path: str) -> str | None:
        if path.rstrip("/") + "/" == self.folder:
            return "."
        return path.removeprefix(self.folder) if path.startswith(self.folder) else None

    def _sync_begins(self, process: str, rest: str) -> Iterator[Event]:
        place = PLACE.search(rest)
        path = self._within(decoded(place[2])) if place and not place[3] else None
        if path is not None:
            self.count += 1
            self.tokens[process] = self.count
            yield Event("sync", path, token=self.count)

    def _call(self, process: str, name: str, rest: str, result: int) -> Iterator[Event]:
        texts, places = [bytes_of(text) for text in TEXT.findall(rest)], PLACE.findall(rest)
        if name in SYNCS:
            if process in self.tokens:
                yield Event("synced", "", token=self.tokens.pop(process))
        elif name in OPENS:
            yield from self._opened(name, rest, texts[0], places)
        elif name in WRITES:
            yield from self._at_place(name, rest, texts, places, result)
        else:
            yield from self._name_changed(name, rest, texts, [decoded(path) for _, path, _ in places])

    def _opened(self, name: str, rest: str, raw: bytes, places: list[tuple[str, str, str]]) -> Iterator[Event]:
        number, path, _ = places[-1]
        where = self._within(decoded(path))
        appends = "O_APPEND" in rest
        self.position[number, decoded(path)] = -1 if appends else 0
        if where is None or "O_DIRECTORY" in rest:
            return
        if name == "creat" or "O_CREAT" in rest:
            yield Event("make", where)
        if name == "creat" or "O_TRUNC" in rest:
            yield Event("cut", where)

    def _at_place(
        self, name: str, rest: str, texts: list[bytes], places: list[tuple[str, str, str]], result: int
    ) -> Iterator[Event]:
        number, path, deleted = places[1 if name == "copy_file_range" else 0] if places else ("", "", "(deleted)")
        place, where = (number, decoded(path)), self._within(decoded(path))
        if decoded(path) == self.said:
            yield from (Event("said", line) for line in texts[0].decode().splitlines())
        if where is None or deleted:
            return
        if name == "lseek":
            self.position[place] = result if self.position.get(place) != -1 else -1
            return
        if name == "ftruncate":
            yield Event("cut", where, offset=int(re.findall(r", (\d+)\) += ", rest)[-1]))
            return
        at = self.position.get(place, 0)
        if name.startswith("pwrite"):
            at = int(re.findall(r", (\d+)\) += ", rest)[-1])
        elif at >= 0:
            self.position[place] = at + result
        data = b"".join(texts)[:result]
        if name in ("sendfile", "copy_file_range"):  # bytes from a file that stays as it is
            source = Path(decoded(places[0 if name == "copy_file_range" else 1][1]))
            data = source.read_bytes()[max(at, 0) : max(at, 0) + result]
        assert len(data) == result, f"strace shows {len(data)} of {result} bytes written to {where}"
        yield Event("write", where, data=data, offset=at)

    def _name_changed(self, name: str, rest: str, texts: list[bytes], folders: list[str]) -> Iterator[Event]:
        paths = []
        for number, text in enumerate(texts):
            base = folders[min(number, len(folders) - 1)] if folders else "/"
            paths.append(str(Path(base) / text.decode()))
        inside = [self._within(path) for path in paths]
        if all(path is None for path in inside):
            return
        assert None not in inside, f"{name} across the folder's border: {paths}"
        if name.startswith(("rename", "link")):
            yield Event(name.rstrip("at2"), str(inside[0]), str(inside[1]))
        elif name.startswith("unlink") and "AT_REMOVEDIR" not in rest:
            yield Event("unlink", str(inside[0]))
        elif name.startswith(("unlink", "rmdir")):
            yield Event("rmdir", str(inside[0]))
        elif name.startswith("mkdir"):
            yield Event("mkdir", str(inside[0]))
        else:
            raise AssertionError(f"{name} is not replayed")


def bytes_of(text: str) -> bytes:
    """Bytes of a string that strace printed in hexadecimal."""
    return bytes.fromhex(text.replace("\\x", ""))


def decoded(text: str) -> str:
    """Path that strace printed in hexadecimal."""
    return bytes_of(text).decode()
