"""What a healthy loss is, against the losses of networks that have learned nothing."""

import math

import pytest

from analysis.report.report import scales_of
from analysis.tables.expected import expected_losses
from rodin.presets import preset


def of(stage, **diffusion):
    return expected_losses(stage, {stage: {"diffusion": diffusion}})


def test_losses_start_where_target_and_data_put_them():
    """Planes have a standard deviation of 0.5, latents of 1."""
    assert expected_losses("base", {}) == of("base", predicts="eps")
    assert of("base", predicts="eps")[0] == "about 1: it predicts no noise at all"
    assert of("base", predicts="x0")[0] == "about 0.25: it predicts the mean"
    assert of("base", predicts="v")[0].startswith("about 0.46: ")
    for predicts in ("eps", "x0", "v"):
        assert of("latent", predicts=predicts)[0].startswith("about 1: ")
    assert of("base", predicts="v", schedule="sigmoid")[0] != of("base", predicts="v", schedule="linear")[0]


def test_the_prior_predicts_latents_and_the_upsampler_enlarges_low_planes():
    assert expected_losses("prior", {}) == of("prior", predicts="x0") == of("latent", predicts="x0")
    assert expected_losses("upsample", {})[0].startswith("under 0.25: the low planes enlarged")
    assert "pictures" in expected_losses("upsample", {"upsample": {"patch": {"pixel": 1.0}}})[0]
    assert "pictures" not in expected_losses("upsample", {"upsample": {"patch": {"side": 8}}})[0]
    assert of("upsample", predicts="eps")[0].startswith("about 1.2")  # its planes are no noise


def test_a_loss_that_stays_where_it_began_is_a_fault():
    assert of("base", predicts="eps")[1] == "0.02 to 0.7; stuck near 1 means a fault"
    assert of("base", predicts="x0")[1] == "0.005 to 0.17; stuck near 0.25 means a fault"
    weighed = of("base", predicts="v", min_snr=5.0)
    assert weighed[0].startswith("about 0.13: ")
    assert weighed[1].endswith("stuck near 0.13 means a fault")
    later = of("base", predicts="v", min_snr=5.0, min_snr_after=100)  # the first steps are not weighed
    assert (later[0], later[1]) == (of("base", predicts="v")[0], weighed[1])


def test_configs_of_other_versions_and_of_toml_are_read():
    assert of("base", predicts="x0", min_snr="none", a_key_of_tomorrow=3) == of("base", predicts="x0")
    for name in ("tiny", "demo", "evening", "small"):
        assert expected_losses("base", preset(name).model_dump())[0].startswith("about ")


def test_other_networks_have_losses_of_their_own():
    assert f"about ln 48 = {math.log(48):.2f}" in expected_losses("clip", {"clip": {"batch": 48}})[0]
    assert "17 dB" in expected_losses("decoder", {})[1]
    first, last = expected_losses("refine", {})  # a mean absolute difference
    assert "renders" in first
    assert "dB" not in last


@pytest.mark.parametrize(("subjects", "held_out", "shown"), [(2, 3, "2"), (3, 2, "2"), (1500, 1200, "1,200")])
def test_table_1_is_measured_on_those_held_out_people_that_are_asked_for(subjects, held_out, shown):
    lines = scales_of({"evaluate": {"subjects": subjects}, "data": {"held_out": held_out, "subjects": 9}}).lines
    assert lines[-1] == ["people Table 1 is measured on", shown, "1,000"]
    assert scales_of({}).lines[-1][1] == "—"
