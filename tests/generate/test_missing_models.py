"""Models that are not there or not whole are found before any work, with the stage to run."""

import errno

import pytest
from fixtures.small_run import CONFIG

from rodin.generate.models import check_models, load_clip
from rodin.nets.clip import Clip
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.train.state import checkpoint

NEEDED = {"text": {"clip", "prior"}, "image": {"clip"}, "nothing": {"latent"}}
FILES = {"clip": "clip.pt", "decoder": "decoder.pt"}


@pytest.fixture
def made_up(tmp_path):
    """A run of finished stages whose models are a few bytes."""
    folder = RunFolder(tmp_path)
    for stage in ("clip", "decoder", "base", "upsample", "latent", "prior", "refine"):
        folder.stage(stage).mkdir()
        (folder.stage(stage) / FILES.get(stage, "model.pt")).write_bytes(b"weights")
        files = manifest.describe_files(folder.stage(stage), [FILES.get(stage, "model.pt")])
        manifest.publish(folder.manifest(stage), {"files": files})
    return folder


@pytest.mark.parametrize("condition", NEEDED)
@pytest.mark.parametrize("edits", [True, False])
@pytest.mark.parametrize("refine", [True, False])
def test_each_avatar_needs_its_own_models(made_up, condition, edits, refine):
    config = CONFIG.model_copy(update={"refine": CONFIG.refine.model_copy(update={"enabled": refine})})
    check_models(config, made_up, condition, edits)
    needed = {"decoder", "base", "upsample"} | NEEDED[condition] | ({"clip"} if edits else set())
    needed |= {"refine"} if refine else set()
    for stage in ("clip", "decoder", "base", "upsample", "latent", "prior", "refine"):
        made_up.manifest(stage).rename(made_up.path / "away.json")
        if stage in needed:
            with pytest.raises(
                FileNotFoundError, match=f"stage {stage} is not done; run `rodin run .*--stages {stage}`"
            ):
                check_models(config, made_up, condition, edits)
        else:
            check_models(config, made_up, condition, edits)
        (made_up.path / "away.json").rename(made_up.manifest(stage))


def test_a_pretrained_clip_is_no_stage_s(made_up):
    made_up.manifest("clip").unlink()
    config = CONFIG.model_copy(update={"clip": CONFIG.clip.model_copy(update={"pretrained": "ViT-B-32-quickgelu"})})
    check_models(config, made_up, "text")


def test_a_file_that_is_gone_or_cut_is_named_with_what_to_remove(made_up):
    path = made_up.stage("base") / "model.pt"
    path.write_bytes(b"weig")
    again = f"bring it back, or remove {made_up.manifest('base')} and run `rodin run"
    with pytest.raises(ValueError, match=f"model.pt: has 4 bytes, stage base wrote 7; {again}"):
        check_models(CONFIG, made_up, "nothing")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"model.pt: the file is gone; {again}"):
        check_models(CONFIG, made_up, "nothing")


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"PK\3\4" + b"\0" * 400, b"weights"])
def test_a_file_that_is_no_model_is_one_short_line(content, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.pt: ") as told:
        checkpoint.read(path)
    assert "then run its stage again" in str(told.value)
    assert len(str(told.value)) < len(str(path)) + 240


@pytest.mark.parametrize("name", ["clip.pt", "clip.json", "seen.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 400, b"\xff"])
def test_a_damaged_clip_is_one_short_line(name, content, trained, tmp_path):
    folder = RunFolder(tmp_path)
    folder.stage("clip").mkdir()
    for path in trained.stage("clip").iterdir():
        if path.is_file():
            (folder.stage("clip") / path.name).write_bytes(content if path.name == name else path.read_bytes())
    with pytest.raises(ValueError, match="its CLIP cannot be read .* and run stage clip again") as told:
        load_clip(CONFIG, folder)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 2 * len(str(tmp_path)) + 300


def test_a_clip_that_the_disk_does_not_give_is_not_lost(made_up, monkeypatch):
    folder = made_up.stage("clip")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("clip.json", "clip.pt"):
        (folder / name).write_bytes(b"{}")

    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error", "clip.pt")

    monkeypatch.setattr(Clip, "small", refuse)
    with pytest.raises(ValueError, match="clip.pt: cannot be read .*Input/output error.*nothing is lost") as told:
        Clip.load_run(folder)
    assert "remove" not in str(told.value)
