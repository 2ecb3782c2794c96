"""Headline numbers: which row each card shows, and in which unit."""

import pytest

from analysis.report.headlines import headlines

TABLES: dict[str, list[dict]] = {
    "timings": [
        {"name": "fit", "seconds": 300.0},
        {"name": "base", "seconds": 7200.0},
        {"name": "index", "seconds": 5.0},
        {"name": "all stages", "seconds": 7505.0},
    ],
    "frechet": [{"value": 0.123456, "samples": 8, "subjects": 12, "features": None}, {"value": 9.0}],
    "prompts": [
        {"attribute": "colours", "hits": 5, "prompts": 8, "chance": 0.25, "ceiling": 0.85},
        {"attribute": "hair", "hits": 4, "prompts": 4, "chance": 0.5, "ceiling": 0.9},
    ],
    "1": [
        {"guidance_scale": 1.0, "name": "w/o CFG", "psnr": 25.0, "paper_psnr": 24.06, "subjects": 3},
        {"guidance_scale": 1.5, "name": "1.5", "psnr": 22.0, "paper_psnr": 24.07, "subjects": 4},
        {"guidance_scale": 2.0, "name": "2.0", "psnr": 21.0, "paper_psnr": None, "subjects": 4},
        {"guidance_scale": 6.0, "name": "6.0", "psnr": None, "paper_psnr": 24.15, "subjects": 0},
    ],
    "reconstruction": [
        {"method": "rodin", "gain_psnr": None},
        {"method": "posterior mean", "gain_psnr": -1.0},
        {
            "method": "mean person",
            "gain_psnr": 2.0,
            "gain_psnr_low": 1.0,
            "gain_psnr_high": 3.0,
            "gain_psnr_subjects": 4,
        },
        {"method": "nearest person", "gain_psnr": -0.5, "gain_psnr_low": -2.0, "gain_psnr_high": 1.0},
    ],
    "fit": [
        {"key": "ssim", "mean": 0.9, "mean_low": 0.8, "mean_high": 1.0, "subjects": 12},
        {"key": "psnr", "mean": 25.5, "mean_low": 23.21, "mean_high": 27.79, "subjects": 12},
    ],
}


def cards(tables: dict[str, list[dict]], scale: float = 1.5) -> list[tuple[str, str, str]]:
    return [card[:3] for card in headlines(tables, {"sample": {"guidance_scale": scale}})]


def test_the_cards_of_a_full_run():
    assert cards(TABLES) == [
        ("Fit quality", "25.5 dB", "PSNR on views no fit saw, mean of 12 people [23.2, 27.8]"),
        (
            "Gain over simple guesses",
            "−0.50 dB",
            "one picture to avatar: +2.00 dB over the mean person, −0.50 dB over the nearest person; "
            "cannot be told apart from the nearest person with 4 people",
        ),
        ("Table 1, PSNR", "22.00 dB", "guidance 1.5, 4 unseen people; paper 24.07 dB on its own data"),
        ("Colour prompts that came out", "5 of 8", "chance 25%, the measure itself reaches 85%"),
        ("Fréchet distance", "0.123", "8 samples to 12 people, CLIP features"),
        ("Time, all stages", "2 h 05 min", "longest: base, 2 h 00 min"),
    ]


@pytest.mark.parametrize(
    ("scale", "number", "remark"),
    [
        (1.0, "25.00 dB", "guidance w/o CFG, 3 unseen people; paper 24.06 dB on its own data"),
        (2.0, "21.00 dB", "guidance 2.0, 4 unseen people"),
        (6.0, "25.00 dB", "guidance w/o CFG, 3 unseen people; paper 24.06 dB on its own data"),
    ],
)
def test_table_1_is_shown_at_the_guidance_that_samples_are_drawn_with(scale: float, number: str, remark: str):
    assert cards({"1": TABLES["1"]}, scale) == [("Table 1, PSNR", number, remark)]


def test_what_was_not_measured_has_no_card():
    assert cards({}) == []
    unmeasured = {"1": TABLES["1"][3:], "reconstruction": TABLES["reconstruction"][:1], "fit": TABLES["fit"][:1]}
    assert cards(unmeasured) == []
    single = {"key": "psnr", "mean": 25.5, "mean_low": None, "mean_high": None, "subjects": 1}
    assert cards({"fit": [single]})[0][2].endswith("mean of 1 people")
    (card,) = cards({"prompts": [TABLES["prompts"][0] | {"ceiling": None}]})
    assert card[2] == "chance 25%"
