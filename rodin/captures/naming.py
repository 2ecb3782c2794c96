"""Picture files found by the names that a file of cameras gives them, which another program or machine wrote.

A name is taken as it stands where such a file exists. Else these differences are allowed, one file at most: the
separators of Windows, upper and lower case, composed and decomposed letters of Unicode, spaces at the ends, a suffix
that is left out, .jpeg for .jpg. Of an absolute path of another machine the last parts are looked for.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import category, normalize

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""of pictures, the likeliest with transparency first: of several, the first is what a name without suffix means"""
ALIKE = {".jpg": ".jpeg", ".jpeg": ".jpg", ".tif": ".tiff", ".tiff": ".tif"}


class Pictures:
    """The picture files of one person, each of which may be found once.

    Args:
        folder: of the person; names are relative to it, and files outside it are refused.
        source: the user's folder; a symbolic link that leads out of it is followed only where the user allows it.
        skip_missing: whether pictures that are listed but missing are left out.
        follow_links: whether such links are followed.
    """

    def __init__(
        self, folder: Path, source: Path | None = None, skip_missing: bool = False, follow_links: bool = False
    ) -> None:
        self.folder, self.skip, self.follow = folder, skip_missing, follow_links
        self.roots = [os.path.realpath(folder), os.path.realpath(source or folder)]
        self.missing: list[str] = []
        self._found: dict[str, str] = {}
        self._entries: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: object, where: str) -> Path | None:
        """The file that a name means; None, and noted as missing, where there is none.

        Raises:
            ValueError: not a name, several files that it may mean, a file outside the folder or found before, in one
                line that begins with `where`.
        """
        if not isinstance(name, str) or not name.strip() or any(category(letter) in ("Cc", "Cs") for letter in name):
            raise ValueError(f"{where}: the picture's file is {name!r}, wanted a path")
        path = self._resolve(name, where)
        if path is None:
            self.missing.append(name)
            return None
        self._check_inside(path, name, where)
        real = os.path.realpath(path)
        if real in self._found:
            raise ValueError(f"{where}: '{name}' is the file of {self._found[real]} too, wanted every file once")
        self._found[real] = where
        return path

    def check(self, listing: Path, found: int, missing: list[str] | None = None) -> None:
        """Raise where pictures are missing that must not be: these, by default all.

        listing: the file that names them; found: how many of the same person were found.
        """
        names = self.missing if missing is None else missing
        if names and not (self.skip and found):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            way = "" if self.skip else "; bring them, or leave them out with --skip-missing"
            raise FileNotFoundError(
                f"{listing}: no picture '{names[0]}'{more} in {self.folder}, {found} of the listed are there{way}"
                f"{self.hint(names[0])}"
            )

    def hint(self, name: str) -> str:
        """What a message adds about a missing name: where it comes from, and the free file there most like it."""
        link = self.folder / name
        if is_a(Path.is_symlink, link):
            return f"; it is a link to {link.readlink()}, which is not there"
        said = f"; '{name}' is a path of another machine" if anchored(name) else ""
        files, closed = self._walked
        free = [path for path in files if os.path.realpath(self.folder / path) not in self._found]
        for short in (False, True):
            keys = {fold(path.rpartition("/")[2] if short else path): path for path in reversed(free)}
            near = get_close_matches(fold("/".join(parts_of(name)[-1:] if short else parts_of(name))), keys, n=1)
            if near:
                said += f"; the nearest there is '{keys[near[0]]}'"
                break
        if closed:
            said += f"; the link {closed[0]} leads out of {self.roots[1]}, add --follow-links to look there"
        return said

    def _resolve(self, name: str, where: str) -> Path | None:
        plain, parts = self._plain(name), parts_of(name)
        if plain is not None:
            return self.folder / plain
        if anchored(name):
            files = [path for key in spellings(parts[-1]) for path in self._named.get(key, [])] if parts else []
            matches = next(filter(None, (ending(parts[at:], files) for at in range(len(parts)))), [])
        else:
            matches = list(self._step(self.folder, parts)) if parts and ".." not in parts else []
        if len(matches) > 1:
            said = ", a path of another machine," if anchored(name) else ""
            listed = " or ".join(f"'{match}'" for match in matches[:4])
            raise ValueError(f"{where}: '{name}'{said} may be {listed}; wanted its path in {self.folder}")
        if not matches and is_a(Path.is_file, self.folder / name):
            raise ValueError(f"{where}: '{name}' lies outside {self.folder}; copy the pictures into that folder")
        return self.folder / matches[0] if matches else None

    def _plain(self, name: str) -> str | None:
        """The path in the folder that a name says as it stands, if there is such a file."""
        path, folder = (Path(os.path.normpath(it.absolute())) for it in (self.folder / name, self.folder))
        for at, root in ((path, folder), (Path(os.path.realpath(path)), self.roots[0])):
            if at.is_relative_to(root) and is_a(Path.is_file, at):
                return at.relative_to(root).as_posix()
        return None

    def _step(self, folder: Path, parts: list[str]) -> Iterator[str]:
        """Paths, relative to the person's folder, that parts below a folder mean."""
        if folder not in self._entries:
            self._entries[folder] = {}
            for path in folder.iterdir() if folder.is_dir() else []:
                self._entries[folder].setdefault(fold(path.name), []).append(path.name)
        entries = self._entries[folder]
        if len(parts) > 1:
            below = {entry: list(self._step(folder / entry, parts[1:])) for entry in entries.get(fold(parts[0]), [])}
            yield from below.get(parts[0]) or chain.from_iterable(below.values())
            return
        for key in spellings(parts[0]):
            files = [entry for entry in entries.get(key, []) if is_a(Path.is_file, folder / entry)]
            if files:
                yield from ((folder / entry).relative_to(self.folder).as_posix() for entry in files)
                return

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """Every picture below the folder by the folded last part of its path."""
        named: dict[str, list[str]] = {}
        for path in self._walked[0]:
            named.setdefault(fold(path.rpartition("/")[2]), []).append(path)
        return named

    @cached_property
    def _walked(self) -> tuple[list[str], list[Path]]:
        """Every picture below the folder, relative to it, and the links that lead out and are not followed."""
        files, closed, seen, left = [], [], set(), [self.folder]
        while left:
            folder = left.pop()
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            for path in sorted(folder.iterdir()):
                if path.is_symlink() and not self.follow and not self._holds(path):
                    closed.append(path)
                elif path.is_dir() and not path.name.startswith("."):
                    left.append(path)
                elif path.suffix.lower() in SUFFIXES and is_a(Path.is_file, path):
                    files.append(path.relative_to(self.folder).as_posix())
        return sorted(files), closed

    def _holds(self, path: Path) -> bool:
        """Whether a file, its links followed, lies in the person's folder or the user's."""
        return any(Path(os.path.realpath(path)).is_relative_to(root) for root in self.roots)

    def _check_inside(self, path: Path, name: str, where: str) -> None:
        """Raise where a file is reached through a link that leads out of the user's folder."""
        if self.follow or self._holds(path):
            return
        below = [self.folder / part for part in reversed(path.relative_to(self.folder).parents)]
        link = next(it for it in (*below, path) if it.is_symlink() and not self._holds(it))
        raise ValueError(
            f"{where}: '{name}' is reached through the link {link} to {link.readlink()}, out of {self.roots[1]}; "
            "add --follow-links to read it"
        )


def is_a(kind: Callable[[Path], bool], path: Path) -> bool:
    """Whether a path is of a kind, such as `Path.is_file`; a name that is too long for the file system is none."""
    try:
        return kind(path)
    except OSError:
        return False


def fold(name: str) -> str:
    """A name without its differences of case, of Unicode's forms and of spaces at the ends."""
    return normalize("NFC", normalize("NFD", name).casefold()).strip()


def anchored(name: str) -> bool:
    """Whether a name is an absolute path, here or on Windows."""
    return bool(PureWindowsPath(name.strip()).anchor)


def parts_of(name: str) -> list[str]:
    """The parts of a path with either kind of separator, without a drive and '.'."""
    path = PureWindowsPath(name.strip())
    return [part.strip() for part in path.parts if part != path.anchor]


def spellings(name: str) -> list[str]:
    """The folded names that a file's name may mean, the likeliest first."""
    key, suffix = fold(name), PurePosixPath(fold(name)).suffix
    if suffix not in SUFFIXES:
        return [key, *(key + ending for ending in SUFFIXES)]
    return [key, key.removesuffix(suffix) + ALIKE[suffix]] if suffix in ALIKE else [key]


def ending(parts: list[str], paths: Iterable[str]) -> list[str]:
    """Those of some relative paths whose last parts a name's parts mean."""
    before, names = [fold(part) for part in parts[:-1]], spellings(parts[-1])
    found: list[list[str]] = [[] for _ in names]
    for path in paths:
        folded = [fold(part) for part in path.split("/")]
        if folded[-1] in names and folded[-1 - len(before) : -1] == before:
            found[names.index(folded[-1])].append(path)
    return next(filter(None, found), [])
