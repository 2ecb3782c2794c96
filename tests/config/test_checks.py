"""What a config cannot be is known before anything begins; what has less effect than it says is told."""

import pytest

from rodin.config import Config
from rodin.config.checks import LPIPS_SIDE, faults, faults_of_stages, notes
from rodin.metrics import lpips
from rodin.presets import PRESETS, load, overridden, preset
from rodin.store.run_folder import RunFolder

# preset, its changes, words of the one line
FAULTS: dict[str, tuple[str, list[str], str]] = {
    "no view left": ("demo", ["fit.held_out_views=24"], "leaves none of data.views 24 to fit"),
    "reference views": ("demo", ["data.reference_views=21"], "data.reference_views 21 must be under the 21 fitted vie"),
    "elevation reversed": ("demo", ["data.elevation=[40, -20]"], "data.elevation is [40, -20], wanted the lowest"),
    "elevation overhead": ("demo", ["data.elevation=[0, 90]"], "both over -90 and under 90 degrees"),
    "elevation below": ("demo", ["data.elevation=[-90, 0]"], "both over -90 and under 90 degrees"),
    "elevation not a number": ("demo", ["data.elevation=[NaN, 0]"], "data.elevation.0: got nan"),
    "camera in the box": ("demo", ["data.camera_radius=1.7"], "inside the fitted box, whose corners are at 1.73"),
    "box around the camera": ("demo", ["triplane.box=2.4"], "data.camera_radius 4 puts cameras inside the fitted box"),
    "people": ("demo", ["data.subjects=999999", "data.held_out=2"], "are 1000001, wanted 1000000 at most"),
    "planes": ("demo", ["triplane.resolution=65"], "triplane.resolution 65 is not a multiple of base_resolution 32"),
    "upsampler": ("demo", ["triplane.resolution=96"], "upsample.channels 32 is not a multiple of 3"),
    "rescale": ("demo", ["fit.min_rescale=65"], "fit.min_rescale 65 is over triplane.resolution 64"),
    "target": ("demo", ["fit.target_psnr=13"], "fit.target_psnr 13 is under fit.floor_psnr 14: every fit would fail"),
    "floor": ("demo", ["fit.floor_psnr=NaN"], "fit.floor_psnr: got nan"),
    "patches of CLIP": (
        "demo",
        ["clip.patch=7", "clip.image_channels=0"],
        "64 is not a multiple of clip.patch 7",
    ),
    "large patch": ("demo", ["clip.patch=128", "clip.image_channels=0"], "64 is not a multiple of clip.patch 128"),
    "one of CLIP's own": (
        "demo",
        ["clip.subjects=1"],
        "clip.subjects is 1: CLIP learns to tell people apart",
    ),
    "CLIP's own": ("demo", ["clip.subjects=1000001", "clip.shard_subjects=48"], "is 1000001, wanted 1000000 at most"),
    "shards of CLIP's own": ("demo", ["clip.subjects=100001", "clip.shard_subjects=1"], "clip.shard_subjects makes 1"),
    "unknown CLIP": ("paper", ["clip.pretrained=RN50"], "clip.pretrained is 'RN50', wanted ViT-B-32-quickgelu or ViT-"),
    "width of CLIP": ("paper", ["clip.width=256"], "clip.width 256 and clip.image_size 224 are not those of clip.pret"),
    "side of CLIP": ("demo", ["clip.pretrained=ViT-B-32", "clip.width=512"], "ViT-B-32: wanted 512 and 224"),
    "halvings": (
        "demo",
        ["triplane.base_resolution=8", "base.multipliers=[1,1,1,1]"],
        "over base.patch 2 cannot be halved",
    ),
    "no level": ("demo", ["base.multipliers=[]"], "base.multipliers: got []"),
    "attention": ("demo", ["base.attention=[8, 5]"], "base.attention 5 is the side of no level of the base model; it"),
    "heads": ("tiny", ["base.head_channels=48"], "base.head_channels 48 does not divide the 32 channels"),
    "heads of a level": ("demo", ["base.attention=[16]", "base.head_channels=64"], "divide the 32 channels of the lev"),
    "heads of the prior": ("demo", ["prior.heads=5"], "prior.width 96 is not a multiple of prior.heads 5"),
    "patches rendered": ("demo", ["upsample.patch.pixel=1", "upsample.diffusion.predicts=eps"], "set it to x0"),
    "small patches": ("demo", ["upsample.patch.perceptual=1", "upsample.patch.side=31"], "got 31 of pictures of 64"),
    "small pictures": ("tiny", ["upsample.patch.perceptual=1"], "got 64 of pictures of 24, wanted 32 or more for LPIP"),
    "downscale": ("demo", ["upsample.degrade.downscale=[0.5, 2]"], "upsample.degrade.downscale is [0.5, 2], wanted th"),
    "blur": ("demo", ["upsample.degrade.blur=[2, 1]"], "upsample.degrade.blur is [2, 1], wanted the least value, 0 or"),
    "noise": ("demo", ["upsample.degrade.noise=[-1, 1]"], "upsample.degrade.noise is [-1, 1]"),
    "steps": ("demo", ["prior.diffusion.timesteps=49"], "prior.diffusion.sampling_steps 50 is over prior.diffusion.ti"),
    "start of a curve": (
        *("demo", ["base.diffusion.schedule=cosine", "base.diffusion.schedule_start=1"]),
        "base.diffusion.schedule cosine: schedule_start is 1 and end 1, wanted start under end",
    ),
    "no curve": (
        *(
            "paper",
            [
                "prior.diffusion.schedule=sigmoid",
                "prior.diffusion.schedule_start=2.9",
                "prior.diffusion.schedule_tau=0.1",
            ],
        ),
        "prior.diffusion.schedule sigmoid: schedule_start 2.9, end 3 and tau 0.1 make a curve that does not fall",
    ),
    "pairs somewhere": ("demo", ["prior.pairs=runs/other"], "prior.pairs 'runs/other' is no absolute path"),
    "tau": ("demo", ["upsample.diffusion.schedule_tau=0"], "upsample.diffusion.schedule_tau: got 0"),
    "interval": ("demo", ["base.diffusion.guidance_interval=[3, 1]"], "guidance_interval is [3, 1], wanted the lowest"),
    "interval under 0": ("demo", ["base.diffusion.guidance_interval=[-1, 1]"], "guidance_interval.0: got -1"),
    "a clip of another name": ("demo", ["base.diffusion.clip=loose"], "base.diffusion.clip: got 'loose'"),
    "a share over 1": ("demo", ["base.diffusion.clip_share=1.5"], "base.diffusion.clip_share: got 1.5"),
    "dropout": ("demo", ["base.dropout=1"], "base.dropout: got 1"),
    "one layer": ("demo", ["latent.layers=1"], "latent.layers: got 1"),
    "one avatar": ("demo", ["sample.unconditional=1"], "sample.interpolations 1 need two avatars"),
    "pairs": ("demo", ["sample.interpolations=9"], "sample.interpolations 9 is over sample.unconditional 8: pairs wou"),
    "no scale": ("demo", ["sweeps.guidance_scales=[]"], "sweeps.guidance_scales: got []"),
    "no resolution": ("demo", ["sweeps.plane_resolutions=[]"], "sweeps.plane_resolutions: got []"),
    "no count": ("demo", ["sweeps.view_counts=[]"], "sweeps.view_counts: got []"),
    "scale twice": ("demo", ["sweeps.guidance_scales=[1, 3, 1.0]"], "sweeps.guidance_scales is [1, 3, 1]: a value is"),
    "count twice": ("demo", ["sweeps.view_counts=[6, 6]"], "sweeps.view_counts is [6, 6]"),
    "shards": ("demo", ["data.subjects=900000", "data.shard_subjects=1"], "data.shard_subjects makes 900004 shards"),
    "shards of samples": ("demo", ["sample.prompts=1999985"], "sample.shard_samples makes 100001"),
    "shards of a table": ("demo", ["data.held_out=90000", "evaluate.subjects=90000"], "sweeps.shard_subjects makes 11"),
    "shards of fits": ("demo", ["sweeps.fit_subjects=50000"], "sweeps.fit_subjects makes 150000 shards"),
    "a count beyond all": ("demo", ["base.training.steps=1e18"], "base.training.steps"),
    "a seed beyond all": ("demo", ["seed=9223372036854775808"], "seed: got 9223372036854775808"),
    "pictures beyond all": ("demo", ["data.resolution=100000"], "data.resolution: got 100000"),
    "planes beyond all": ("demo", ["triplane.resolution=65536"], "triplane.resolution: got 65536"),
    "meshes beyond all": ("demo", ["sample.mesh_resolution=5000"], "sample.mesh_resolution: got 5000"),
    "views beyond all": ("demo", ["data.views=100000"], "data.views: got 100000"),
    "mirrored colours": ("demo", ["base.mirror=0.5", "triplane.view_directions=true"], "base.mirror 0.5 needs"),
    "timesteps beyond all": ("demo", ["base.diffusion.timesteps=1000000"], "base.diffusion.timesteps: got 1000000"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_would_fail_later_is_one_line_now(name: str):
    base, changes, words = FAULTS[name]
    with pytest.raises(ValueError) as caught:
        preset(base, changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


BORDERS = [
    ["data.reference_views=20"],
    ["data.elevation=[-89.9, 89.9]"],
    ["data.elevation=[5, 5]"],
    ["data.camera_radius=1.74"],
    ["triplane.resolution=32", "fit.min_rescale=16"],
    ["fit.target_psnr=14"],
    ["prior.diffusion.timesteps=50"],
    ["sample.interpolations=0", "sample.unconditional=1"],
    ["sample.interpolations=8"],
    ["sample.prompts=1999984"],  # 100,000 shards of 20 items: 8 + 1 + 1,999,984 + 2 * 3 + 1
    ["upsample.patch.perceptual=1", "upsample.patch.side=32"],
    ["upsample.degrade.downscale=[1, 1]"],
    ["base.attention=[]"],
    ["base.mirror=1"],
    ["data.subjects=999996", "data.shard_subjects=10"],
    ["seed=4611686018427387904"],
]


@pytest.mark.parametrize("changes", BORDERS, ids=str)
def test_the_last_value_that_runs_is_taken(changes: list[str]):
    assert faults(preset("demo", changes)) == []


def test_every_fault_is_told_at_once():
    with pytest.raises(ValueError, match=r"clip\.patch 7; base\.head_channels 5 does .*; prior\.width 96"):
        preset(
            "demo",
            ["clip.patch=7", "clip.image_channels=0", "base.head_channels=5", "base.attention=[]", "prior.heads=5"],
        )


def test_a_run_that_has_run_is_read_whatever_was_checked_since():
    data = overridden(preset("demo").model_dump(mode="json"), ["base.attention=[5]", "data.elevation=[40, -20]"])
    assert load(data, checked=False).base.attention == (5,)
    with pytest.raises(ValueError, match="unknown key"):
        load({**data, "sed": 1}, checked=False)


def test_lpips_needs_as_many_pixels_as_its_check_says():
    assert lpips.SMALLEST == LPIPS_SIDE


def config(*changes: str) -> Config:
    return preset("tiny", list(changes))


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        (["sweeps.fit_subjects=5"], "sweep-resolution", "sweeps.fit_subjects 5 is over data.subjects 4"),
        (["sweeps.fit_subjects=5"], "sweep-views", "sweep-views: sweeps.fit_subjects 5"),
        (["sweeps.view_counts=[4, 8, 9]"], "sweep-views", "8 and 9 of sweeps.view_counts all mean the 8 fitted views"),
    ],
)
def test_a_sweep_that_would_fail_or_repeat_itself(changes: list[str], stage: str, words: str):
    (fault,) = faults_of_stages(config(*changes), [stage, "report"])
    assert words in fault
    assert faults_of_stages(config(*changes), ["fit", "sweep-cfg"]) == []
    assert faults_of_stages(config(), [stage]) == []


def test_all_views_may_be_the_last_of_the_counts():
    assert faults_of_stages(config("sweeps.view_counts=[4, 300]"), ["sweep-views"]) == []


@pytest.mark.parametrize(
    ("changes", "stages", "words"),
    [
        (["decoder.subjects=64"], ["decoder"], "decoder.subjects is 64, but data.subjects is 4: 4 it is"),
        (["evaluate.subjects=1000"], ["sweep-cfg"], "evaluate.subjects is 1,000, but data.held_out is 2"),
        (["evaluate.views=11"], ["evaluate"], "evaluate.views is 11, but data.views is 10"),
        (["evaluate.neighbours=5"], ["evaluate"], "evaluate.neighbours is 5, but data.subjects is 4"),
        (["sample.trajectory_steps=5"], ["sample"], "but base.diffusion.sampling_steps is 4"),
        (["data.source=import"], ["clip"], "clip.subjects 4 has no effect: people are imported"),
        (["base.training.warmup=10"], ["base"], "base.training.warmup 10 is no less than its 10 steps"),
        (["latent.diffusion.clip=texel"], ["latent"], "clip texel has no effect: latents have no range; std or dynam"),
        (["prior.diffusion.clip=range"], ["prior"], "prior.diffusion.clip range has no effect: latents have no range"),
        (
            ["upsample.diffusion.guidance_interval=[0, 3]"],
            ["upsample"],
            "guidance_interval [0, 3] has no effect: upsam",
        ),
        (["base.diffusion.schedule_tau=2"], ["base"], "have no effect: they are of cosine and sigmoid, not of linear"),
        (
            ["base.keep_averages=true", "base.training.picture_every=0"],
            ["base"],
            "base.keep_averages has no effect: base.training.picture_every is 0",
        ),
        (["base.diffusion.min_snr_after=5"], ["base"], "min_snr_after 5 has no effect: base.diffusion.min_snr is no"),
        (["prior.portraits=true", "clip.subjects=0"], ["prior"], "prior.portraits has no effect: CLIP has no people"),
        (["base.diffusion.noise_scale=2"], ["base"], "base.diffusion.noise_scale 2 has no effect: ddim adds no noise"),
    ],
)
def test_what_has_less_effect_than_it_says_is_told(changes: list[str], stages: list[str], words: str):
    (note,) = notes(config(*changes), stages)
    assert words in note
    assert notes(config(*changes), ["report"]) == []
    assert notes(config(), stages) == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_no_fault_and_nothing_to_tell(name: str):
    stages = ["decoder", "base", "upsample", "latent", "prior", "sample", "evaluate", "sweep-cfg"]
    assert faults(PRESETS[name]) == []
    assert faults_of_stages(PRESETS[name], [*stages, "sweep-views"]) == []
    assert notes(PRESETS[name], stages) == []


def test_the_papers_300_views_are_told_to_be_those_that_are_fitted():
    (note,) = notes(PRESETS["paper"], ["sweep-views"])
    assert note == "sweeps.view_counts is 300, but data.views less fit.held_out_views is 292: 292 it is"


def test_ids_and_shards_have_as_many_digits_as_the_checks_allow():
    last = preset("demo", ["data.subjects=999996", "data.shard_subjects=10"])
    assert last.subjects_of("render", last.shards("render") - 1)[-1] == "999999"
    assert RunFolder("x").manifest("render", 99_999).name == "99999.json"
