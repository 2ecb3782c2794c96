"""Image files of every type come out as the same upright 8-bit picture, or as one line that says why not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rodin.data.decoding import decoded, has_alpha, opened

GREY = np.array([[0, 40, 80], [128, 200, 255]], np.uint8)
"""[2, 3], all corners different, so that a turned picture shows"""
TURNS = {
    1: GREY,
    2: GREY[:, ::-1],
    3: GREY[::-1, ::-1],
    4: GREY[::-1],
    5: GREY.T,
    6: np.rot90(GREY),
    7: GREY[::-1, ::-1].T,
    8: np.rot90(GREY, -1),
}
"""how a picture that is GREY upright is stored, by EXIF's definition of each orientation"""


def write(path: Path, values: np.ndarray, mode: str | None = None, **how) -> Path:
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path, **how)
    return path


def grey(path: Path) -> np.ndarray:
    rgba = np.asarray(opened(path).convert("RGBA")).astype(int)
    assert (rgba[..., 3] == 255).all()
    assert (np.ptp(rgba[..., :3], axis=-1) == 0).all()
    return rgba[..., 0]


@pytest.mark.parametrize("mode", [None, "RGB", "RGBA", "LA", "P", "CMYK"])
def test_eight_bits_of_any_mode(tmp_path: Path, mode: str | None) -> None:
    path = write(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), GREY, mode)
    assert grey(path).tolist() == GREY.tolist()
    assert opened(path).mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_divided_by_257(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, GREY.astype(np.uint16) * 257)
    assert grey(tmp_path / name).tolist() == GREY.tolist()
    write(tmp_path / name, GREY.astype(np.uint16) * 257 // 16)  # 12 bits: the type says 16, so the picture is dark
    assert grey(tmp_path / name).max() == 16


def test_sixteen_bits_of_colour_and_of_alpha(tmp_path: Path) -> None:
    colour = np.dstack([GREY, GREY // 2, GREY // 4, np.full_like(GREY, 128)])
    for name, channels in (("a.png", 3), ("b.png", 4), ("c.tif", 3), ("d.tif", 4)):
        bgra = cv2.cvtColor(colour[..., :channels], cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(tmp_path / name), bgra.astype(np.uint16) * 257)
        assert np.asarray(opened(tmp_path / name)).tolist() == colour[..., :channels].tolist()
        assert has_alpha(tmp_path / name) == (channels == 4)


def test_floats_run_from_0_to_1(tmp_path: Path) -> None:
    values = (GREY / 255).astype(np.float32)
    assert grey(write(tmp_path / "a.tif", values)).tolist() == GREY.tolist()
    assert grey(write(tmp_path / "a.tif", values * 1.003 - 0.001)).max() == 255  # a little beyond: clipped
    for wrong, told in ((values * 255, "floats from 0 to 255, wanted 0 to 1"), (values - 0.1, "floats from -0.1 to")):
        with pytest.raises(ValueError, match=f"a.tif: not a picture that can be read .{told}"):
            opened(write(tmp_path / "a.tif", wrong))
    values[0, 0] = np.nan
    with pytest.raises(ValueError, match="floats from nan"):
        opened(write(tmp_path / "a.tif", values))


def test_one_bit_and_32_bits(tmp_path: Path) -> None:
    assert grey(write(tmp_path / "a.png", GREY > 100)).tolist() == (255 * (GREY > 100)).tolist()
    for top in (255, 2**31 - 1):  # the type decides, not the values
        with pytest.raises(ValueError, match="integers of 32 bits, wanted 8 or 16"):
            opened(write(tmp_path / "a.tif", (GREY / 255 * top).astype(np.int32)))


@pytest.mark.parametrize(
    ("values", "mode", "transparency"),
    [(GREY, "L", 40), (GREY, "RGB", (40, 40, 40)), (GREY, "P", bytes([255] * 40 + [0] + [255] * 215)),
     (GREY.astype(np.uint16) * 257, None, 40 * 257)],
)  # fmt: skip
def test_a_transparent_colour_is_alpha(tmp_path: Path, values: np.ndarray, mode: str, transparency: object) -> None:
    picture = Image.fromarray(values)
    if mode == "P":
        picture = picture.convert("L")
        picture.putpalette(bytes(number for number in range(256) for _ in range(3)))
    picture = picture if mode is None else picture.convert(mode)
    picture.save(tmp_path / "a.png", transparency=transparency)
    if mode is None:
        put_trns(tmp_path / "a.png", 40 * 257)
    assert has_alpha(tmp_path / "a.png")
    rgba = np.asarray(opened(tmp_path / "a.png"))
    assert rgba[..., 3].tolist() == np.where(GREY == 40, 0, 255).tolist()
    assert rgba[1, :, 0].tolist() == GREY[1].tolist()


def put_trns(path: Path, value: int) -> None:
    """Insert the chunk that makes a grey value transparent, which Pillow does not write for 16 bits."""
    import struct
    import zlib

    body = b"tRNS" + struct.pack(">H", value)
    chunk, whole = struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body)), path.read_bytes()
    path.write_bytes(whole[:33] + chunk + whole[33:])  # after the signature and the header, 8 and 25 bytes


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("name", "bits"), [("a.png", 8), ("a.png", 16), ("a.webp", 8)])
def test_every_orientation_is_turned_upright(tmp_path: Path, orientation: int, name: str, bits: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation])
    stored = stored if bits == 8 else stored.astype(np.uint16) * 257
    how = {"lossless": True, "mode": "RGB"} if name == "a.webp" else {}
    path = write(tmp_path / name, stored, exif=exif, **how)
    assert grey(path).tolist() == GREY.tolist()
    kept = np.asarray(opened(path, upright=False).convert("L"))
    assert kept.tolist() == TURNS[orientation].tolist()


@pytest.mark.parametrize("orientation", TURNS)
def test_a_turned_tiff_is_refused(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    write(tmp_path / "a.tif", GREY, exif=exif)
    if orientation == 1:
        assert grey(tmp_path / "a.tif").tolist() == GREY.tolist()
    else:
        with pytest.raises(ValueError, match=f"a.tif: .* TIFF of EXIF orientation {orientation}; save it upright"):
            opened(tmp_path / "a.tif")


def test_what_is_refused_is_one_line(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(ValueError, match=r"not a picture that can be read \(") as problem:
            opened(path)
        assert str(problem.value).startswith(f"{path}: ")
        assert str(problem.value).endswith("wanted a PNG, JPEG, WebP or plain TIFF file")
        assert "\n" not in str(problem.value)
        return str(problem.value)

    with pytest.raises(FileNotFoundError, match="none.png: no such file; wanted a PNG"):
        opened(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    assert "(of an unknown kind)" in told(tmp_path / "text.png")
    with pytest.raises(ValueError, match="text.png: not a picture"):
        has_alpha(tmp_path / "text.png")
    frames = [Image.fromarray(np.roll(GREY, number)) for number in range(3)]
    for name in ("a.gif", "a.webp", "a.tif", "apng.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert "(3 pictures in one file, wanted one)" in told(tmp_path / name)
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    for name in ("cut.png", "cut.jpg", "cut.tif", "cut.webp"):
        whole = write(tmp_path / name, noise).read_bytes()
        for share in (0.1, 0.5, 0.9):
            (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
            told(tmp_path / name)


def test_a_wrong_byte_of_a_png_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    whole, refused = write(tmp_path / "a.png", noise).read_bytes(), 0
    for place in range(8, len(whole), 3):
        (tmp_path / "a.png").write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            assert np.array_equal(np.asarray(opened(tmp_path / "a.png")), noise)
        except ValueError:
            refused += 1
    assert refused > len(whole) // 3 - 10


def test_the_first_of_a_camera_s_two_pictures_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(np.full((8, 8), 200, np.uint8)), Image.fromarray(np.zeros((8, 8), np.uint8))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert decoded(tmp_path / "a.jpg").format == "MPO"
    assert abs(grey(tmp_path / "a.jpg") - 200).max() <= 2
