"""Expected work of the stages, against numbers worked out by hand."""

import pytest

from jobs.graph import costs
from jobs.graph.graph import stage_of
from jobs.graph.sizes import Size, base_size, latent_size, prior_size, upsample_size
from jobs.site import Site
from rodin.config import Training
from rodin.presets import preset


def test_an_avatar_takes_two_passes_of_the_base_model_a_step_and_one_of_the_upsampler():
    config = preset("tiny", ["base.diffusion.sampling_steps=5", "upsample.diffusion.sampling_steps=3"])
    wanted = 2 * 5 * costs.base_flops(config) + 3 * costs.upsample_flops(config)
    assert costs.drawing_flops(config) == wanted


def test_a_training_takes_three_forward_passes_a_sample():
    assert costs.training_flops(Training(batch=4, steps=10), 7.0) == 3 * 7 * 4 * 10


def test_a_training_leaves_a_model_and_two_checkpoints_of_four_values_a_parameter():
    assert costs.model_bytes(Size(parameters=100)) == 4 * (100 + 2 * 4 * 100)


def test_points_are_shared_by_cores_or_gpus():
    for kind in ("cpus", "gpus"):
        one, four = (costs.points_seconds(1e9, **{"cpus": 1, "gpus": 0} | {kind: count}) for count in (1, 4))
        assert one / four == pytest.approx(4)
    assert costs.points_seconds(1e9, 8, 1) < costs.points_seconds(1e9, 8, 0) / 10


def test_points_and_samples_are_counted():
    config = preset("tiny")
    fit, decoder, data = config.fit, config.decoder, config.data
    assert costs.fit_points(config) == fit.steps * fit.rays * fit.samples
    assert costs.decoder_points(config) == decoder.steps * decoder.subjects_per_step * decoder.rays * fit.samples
    assert costs.render_samples(config) == data.views * data.resolution**2 * data.samples


def test_larger_images_take_clip_longer_on_cores():
    site = Site(name="x", train_cpus=4)
    times = [
        stage_of("embed").resources(preset("paper", ["clip.pretrained=none", f"clip.image_size={side}"]), site).minutes
        for side in (112, 224)
    ]
    assert times[1] == pytest.approx(4 * times[0])


def test_no_rank_of_the_decoder_is_without_a_subject():
    site = Site(name="x", train_nodes=4, ranks_per_node=4, gpus_per_node=4)
    for subjects in (1, 3, 6, 100):
        found = stage_of("decoder").resources(preset("tiny", [f"decoder.subjects={subjects}"]), site)
        assert 1 <= found.world <= min(subjects, 16)


def test_a_fit_of_several_subjects_on_cores_needs_memory_for_each():
    def memory(together: int, **site: int) -> float:
        config = preset("paper", [f"fit.together={together}"])
        return stage_of("fit").resources(config, Site(name="x", **site)).memory_gb

    pixels = 16e-9 * 300 * 256**2  # RGBA in float32
    assert memory(1) == memory(1, gpus_per_node=1) == pytest.approx(3 + pixels)
    assert memory(4, gpus_per_node=1) == pytest.approx(3 + 4 * pixels)  # planes and steps are in the GPU's memory
    assert memory(4) > memory(4, gpus_per_node=1) + 1


GPUS = Site(name="x", gpus_per_node=4, cpus_per_node=32, memory_gb_per_node=500.0, mpi="pmix")
CORES = Site(name="x")


def test_the_report_has_time_and_a_gpu_for_the_avatars_that_it_draws():
    config, report = preset("paper"), stage_of("report")
    drawn = 4 * 5 + 6  # points between the ends of four lines, and portraits
    for site, shape, speed in ((GPUS, (4, 1), 6e13), (CORES, (1, 0), 2e10)):
        found = report.resources(config, site)
        assert (found.world, found.cpus, found.gpus) == (1, *shape)
        fewer = report.resources(preset("paper", ["evaluate.subjects=5"]), site)  # 5 of the portraits
        pictures = 2 * 4 * 0.3 * 4 / 60  # four cameras, each with a mesh; four times the samples
        assert found.minutes - fewer.minutes == pytest.approx(costs.drawing_flops(config) / speed / 60 + pictures)
        assert found.minutes > drawn * costs.drawing_flops(config) / speed / 60
    assert report.resources(config, CORES).minutes > 60 * 50
    assert report.amount.of(config) > drawn * costs.drawing_flops(config)


def test_the_report_of_small_runs_takes_minutes():
    for name in ("tiny", "demo", "evening"):
        found = stage_of("report").resources(preset(name), CORES)
        assert (found.cpus, found.gpus) == (1, 0)
        assert 0.5 < found.minutes < 5
    shorter = [f"sample.render_samples={count}" for count in (32, 64)]
    assert len({stage_of("report").resources(preset("demo", [one]), CORES).minutes for one in shorter}) == 2


@pytest.mark.parametrize("name", ["sample", "sweep-cfg", "evaluate", "report"])
def test_what_draws_avatars_has_memory_for_the_networks(name: str):
    """718 million parameters of the base model alone are 2.9 GB."""

    def memory(*changes: str) -> float:
        found = stage_of(name).resources(preset("paper", list(changes)), GPUS)
        return found.memory_gb / found.ranks

    config, smaller = preset("paper"), preset("paper", ["base.channels=64", "upsample.channels=64"])
    sizes = [sum(size(one).parameters for size in (base_size, upsample_size)) for one in (config, smaller)]
    assert memory() - memory("base.channels=64", "upsample.channels=64") == pytest.approx(4e-9 * (sizes[0] - sizes[1]))
    rest = sum(size(config).parameters for size in (base_size, upsample_size, latent_size, prior_size))
    assert memory() == pytest.approx(4 + 4e-9 * rest)
    assert memory() > 7
    assert memory("refine.enabled=true", "refine.channels=512") > memory()


def test_kept_averages_are_in_the_memory_of_one_rank_more():
    config, kept = preset("paper"), preset("paper", ["base.keep_averages=true"])
    plain, more = (stage_of("evaluate").resources(one, GPUS) for one in (config, kept))
    assert more.ranks == 4
    assert more.memory_gb - plain.memory_gb == pytest.approx(4e-9 * base_size(config).parameters)


DRAWN = costs.drawing_flops(preset("tiny")) / 2e10  # seconds of both denoisers for one avatar, on one core
PICTURE = 24**2 * 16 * 2.5e-6  # of one view of it
SECONDS = {
    "render": 6 * (0.5 + 10 * 0.06 + 10 * 24**2 * 2 * 2e-6) / 2,  # of six people on two cores: scene, views, samples
    "sample": (2 + 4 + 3 + 1) * (DRAWN + 2 * PICTURE),  # of nothing, of texts, an interpolation, the trajectory
    "evaluate": (2 + 4) * (DRAWN + (2 + 10) * PICTURE),  # two measured, four of the cascade
    "embed": 6 * (10 + 3) / (16 * 4 * (224 / 24) ** 2),  # views, and mirrored ones, on four cores
    "decoder": 20 * 1 * 128 * 16 * 3.2e-7 / 4,  # steps, subjects, rays, samples
}


@pytest.mark.parametrize("stage", SECONDS)
def test_the_expected_time_of_a_stage_is_in_minutes(stage: str):
    found = stage_of(stage).resources(preset("tiny"), CORES).minutes
    assert found == pytest.approx(SECONDS[stage] / 60, rel=1e-6)
