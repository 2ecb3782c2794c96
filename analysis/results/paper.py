"""The paper's numbers, and how numbers are printed beside them."""

from __future__ import annotations

from types import MappingProxyType

DASH = "—"
"""printed where there is no value"""

METRICS: dict[str, tuple[str, int]] = {"psnr": ("PSNR ↑", 2), "ssim": ("SSIM ↑", 3), "lpips": ("LPIPS ↓", 3)}
"""metric -> (heading; the arrow points to better values, decimals as the paper prints)"""

TABLE_1: MappingProxyType[float, dict[str, float]] = MappingProxyType(
    {
        1.0: {"psnr": 24.06, "ssim": 0.795, "lpips": 0.128},
        1.2: {"psnr": 24.21, "ssim": 0.794, "lpips": 0.121},
        1.5: {"psnr": 24.07, "ssim": 0.792, "lpips": 0.133},
        3.0: {"psnr": 24.05, "ssim": 0.782, "lpips": 0.141},
        6.0: {"psnr": 24.15, "ssim": 0.775, "lpips": 0.146},
    }
)
"""guidance scale -> metric -> value; PSNR in dB; 1 is "w/o CFG" (R49). Source: supplement, Table 1."""

TABLE_1_VIEWS = 300  # pictures of each of them. Source: supplement, C.5
TABLE_1_SUBJECTS = 1000  # people Table 1 of the paper is measured on. Source: supplement, C.5

TABLE_2: MappingProxyType[str, float] = MappingProxyType({"GIRAFFE": 100.0, "EG3D": 90.8, "Autoencoder": 95.4})
"""method -> percent of answers that preferred Rodin's avatar to its. Source: supplement, Table 2 (R51)."""

SCALE: dict[str, tuple[tuple[str, ...], str]] = {
    "people trained on": (("data.subjects",), "100,000"),
    "pictures of each": (("data.views",), "300"),
    "picture size": (("data.resolution",), "256²"),
    "tri-plane": (("triplane.resolution",), "256²"),
    "features of a plane": (("triplane.channels",), "32"),
    "base model's planes": (("triplane.base_resolution",), "64²"),
    "channels of the base model": (("base.channels",), "192"),
    "batch of the base model": (("base.training.batch",), "48"),
    "people Table 1 is measured on": (("evaluate.subjects", "data.held_out"), f"{TABLE_1_SUBJECTS:,}"),
}
"""quantity that sets a run's scale -> (config keys, of which the least counts; the paper's value).
Source: supplement, B.1, B.2, C.5."""


def scale_name(scale: float) -> str:
    """Heading of a guidance scale: "w/o CFG" for 1."""
    return "w/o CFG" if scale == 1 else f"{scale:g}" if scale != int(scale) else f"{scale:.1f}"


def format_number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with fixed decimals and a true minus sign; what is rounded to 0 has no sign."""
    text = f"{value:z.{decimals}f}"
    return ("+" if signed and float(text) > 0 else "") + text.replace("-", "−")
