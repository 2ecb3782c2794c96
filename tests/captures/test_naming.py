"""Names that other programs and machines write find one file or none, links lead out only where the user allows it."""

import unicodedata
from pathlib import Path

import pytest

from rodin.captures.naming import Pictures, ending


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in (
        "images/00.jpg",
        "images/01.JPEG",
        "images/a/02.png",
        "images/b/02.png",
        "Zoë/03.PNG",
        "images/9.5.png",
    ):
        path = tmp_path / "ann" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "ann"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("images/00.jpg", "images/00.jpg"),
        ("./images/00.jpg", "images/00.jpg"),
        ("images/a/../00.jpg", "images/00.jpg"),
        ("images\\00.jpg", "images/00.jpg"),
        (".\\images\\a\\02.png", "images/a/02.png"),
        ("images/00", "images/00.jpg"),
        ("images/00.jpeg", "images/00.jpg"),
        ("images/01", "images/01.JPEG"),
        ("images/01.jpg", "images/01.JPEG"),
        ("IMAGES/00.JPG", "images/00.jpg"),
        ("images/9.5", "images/9.5.png"),
        ("images/00.jpg  ", "images/00.jpg"),
        (unicodedata.normalize("NFD", "Zoë/03.png"), "Zoë/03.PNG"),
        ("C:\\sets\\ann\\images\\00.jpg", "images/00.jpg"),
        ("\\\\server\\share\\images\\A\\02.png", "images/a/02.png"),
        ("/home/other/ann/Zoë/03.png", "Zoë/03.PNG"),
        ("/home/other/elsewhere/00", "images/00.jpg"),
        ("images/02.png", None),
        ("images/00.png", None),
        ("../ann/x.png", None),
        ("x" * 300, None),
        ("/", None),
    ],
)
def test_a_name_finds_its_file(source: Path, name: str, file: str | None) -> None:
    pictures = Pictures(source)
    assert pictures.find(name, "here") == (file and source / file)
    assert pictures.missing == ([] if file else [name])


def test_absolute_paths_of_this_machine(source: Path, tmp_path: Path) -> None:
    assert Pictures(source).find(str(source / "images/00.jpg"), "here") == source / "images/00.jpg"
    (tmp_path / "link").symlink_to(source)
    assert Pictures(tmp_path / "link").find(str(source / "images/00.jpg"), "here") == tmp_path / "link/images/00.jpg"


def told(pictures: Pictures, name: object) -> str:
    with pytest.raises(ValueError) as problem:
        pictures.find(name, "list, line 3")
    line = str(problem.value)
    assert line.startswith("list, line 3: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", [None, 7, "", "  ", "a\0b", "a\nb", "\ud800.png"])
def test_what_is_no_name_is_told(source: Path, name: object) -> None:
    assert told(Pictures(source), name).endswith("wanted a path")


def test_several_files_that_a_name_may_mean_are_told(source: Path) -> None:
    line = told(Pictures(source), "/home/other/02.png")
    assert "a path of another machine, may be 'images/a/02.png' or 'images/b/02.png'; wanted its path in" in line
    (source / "images/00.JPG").write_bytes(b"")
    assert Pictures(source).find("images/00.JPG", "here") == source / "images/00.JPG"
    assert "'Images/00.Jpg' may be 'images/00." in told(Pictures(source), "Images/00.Jpg")


def test_a_folder_spelled_exactly_goes_before_one_of_another_case(source: Path) -> None:
    (source / "Images").mkdir()
    (source / "Images/00.jpg").write_bytes(b"")
    assert Pictures(source).find("Images/00", "here") == source / "Images/00.jpg"


def test_a_file_found_twice_is_told(source: Path) -> None:
    pictures = Pictures(source)
    pictures.find("images/00.jpg", "list, line 2")
    assert told(pictures, "images\\00.JPG").endswith("is the file of list, line 2 too, wanted every file once")
    (source / "copy.jpg").symlink_to(source / "images/00.jpg")
    assert "is the file of list, line 2 too" in told(pictures, "copy.jpg")


def test_files_outside_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"")
    for follow in (False, True):
        for name in ("../out.png", str(tmp_path / "out.png"), "images/../../out.png"):
            assert "lies outside" in told(Pictures(source, tmp_path, follow_links=follow), name)


def test_links_lead_out_only_where_allowed(source: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "pictures"
    disk.mkdir(parents=True)
    (disk / "00.png").write_bytes(b"")
    (source / "linked").symlink_to(disk)
    (source / "one.png").symlink_to(disk / "00.png")
    line = told(Pictures(source, source), "linked/00.png")
    assert f"is reached through the link {source / 'linked'} to {disk}, out of {source}; add --follow-links" in line
    assert f"the link {source / 'one.png'} to {disk / '00.png'}, out of" in told(Pictures(source, source), "one.png")
    assert "--follow-links" in told(Pictures(source, source), "Linked\\00.PNG")
    for name in ("linked/00.png", "Linked\\00.PNG", "D:\\x\\linked\\00.png"):
        assert Pictures(source, source, follow_links=True).find(name, "here") == source / "linked/00.png"
    assert Pictures(source, tmp_path).find("linked/00.png", "here") == source / "linked/00.png"  # stays in the source
    (source / "images" / "round").symlink_to(source)
    assert Pictures(source, source, follow_links=True).find("E:\\a\\Zoë\\03.png", "here") == source / "Zoë/03.PNG"


def missing_line(pictures: Pictures, *names: str) -> str:
    for name in names:
        pictures.find(name, "here")
    with pytest.raises(FileNotFoundError) as problem:
        pictures.check(Path("list"), 1)
    return str(problem.value)


def test_a_missing_name_is_told_with_what_is_near(source: Path, tmp_path: Path) -> None:
    line = missing_line(Pictures(source), "images/00.png", "images/x.png")
    assert line.startswith(f"list: no picture 'images/00.png' and 1 more in {source}, 1 of the listed are there; bring")
    assert line.endswith("--skip-missing; the nearest there is 'images/00.jpg'")
    assert missing_line(Pictures(source), "photos/deep/9.6.png").endswith("the nearest there is 'images/9.5.png'")
    taken = Pictures(source)
    taken.find("images/00.jpg", "here")
    assert "images/00.jpg" not in missing_line(taken, "images/00.png")  # it belongs to another name
    assert "'C:\\q.png' is a path of another machine" in missing_line(Pictures(source), "C:\\q.png")
    assert "no picture 'xxx" in missing_line(Pictures(source), "x" * 300)
    (source / "gone.png").symlink_to("nowhere.png")
    assert missing_line(Pictures(source), "gone.png").endswith("it is a link to nowhere.png, which is not there")
    (tmp_path / "disk").mkdir()
    (source / "zz").symlink_to(tmp_path / "disk")
    assert f"the link {source / 'zz'} leads out of" in missing_line(Pictures(source, source), "F:\\zz\\q.png")


def test_skipping_wants_one_picture(source: Path) -> None:
    pictures = Pictures(source, skip_missing=True)
    pictures.find("no.png", "here")
    pictures.check(Path("list"), 1)
    with pytest.raises(FileNotFoundError, match=r"no picture 'no.png' in .*, 0 of the listed are there"):
        pictures.check(Path("list"), 0)


def test_paths_by_their_ends() -> None:
    paths = ["left/1.png", "right/1.png", "right/11.png", "1/2.jpg", "1/2.jpeg"]
    assert ending(["1"], paths) == ["left/1.png", "right/1.png"]
    assert ending(["RIGHT", "1.png"], paths) == ["right/1.png"]
    assert ending(["ight", "1.png"], paths) == []
    assert ending(["1", "2.jpeg"], paths) == ["1/2.jpeg"]
