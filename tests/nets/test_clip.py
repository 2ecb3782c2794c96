import importlib
import json

import pytest
import torch
import torch.nn.functional as F

from rodin.nets import torchvision_shim
from rodin.nets.clip import MEAN, STD, Clip, prepared
from rodin.nets.image_tower import ImageTower

SMALL = {"width": 12, "image_size": 16, "patch": 8, "tower_width": 32, "image_layers": 1, "text_layers": 1}


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return Clip.small(**SMALL)


def test_shim_makes_torchvision_and_open_clip_importable():
    torchvision_shim.prepare()
    assert importlib.import_module("torchvision").ops.nms
    assert importlib.import_module("open_clip").CLIP


@pytest.mark.parametrize(("message", "cuda"), [("something else", None), (torchvision_shim._MISSING, "12.8")])
def test_shim_hides_no_other_error(monkeypatch, message, cuda):
    def fail(name):
        raise RuntimeError(message)

    monkeypatch.setattr(torchvision_shim.importlib, "import_module", fail)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(RuntimeError, match=message):
        torchvision_shim.prepare()


def test_widths_are_the_models(clip):
    assert (clip.width, clip.token_width, clip.token_count, clip.image_size) == (12, 32, 32, 16)


def test_text_is_open_clips_own_encoding(clip):
    texts = ["a man with red hair", "a photo of a person!"]
    text, tokens, mask = clip.text(texts)
    torch.testing.assert_close(text, clip.model.encode_text(clip.tokenize(texts), normalize=True))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(2))
    assert tokens.shape == (2, 32, 32)
    # start, five words, end; '!' has id 0, as padding has
    assert mask.sum(dim=1).tolist() == [7, 8]
    ends = tokens[torch.arange(2), mask.sum(dim=1) - 1] @ clip.model.text_projection
    torch.testing.assert_close(torch.nn.functional.normalize(ends, dim=1), text)


def test_training_encodes_texts_without_their_padding_and_no_differently(clip):
    texts = ["a man with red hair", "hair", "red " * 100]
    for some in (texts, texts[:2], texts[1:2]):
        whole, _, _ = clip.text(some)
        torch.testing.assert_close(torch.nn.functional.normalize(clip.encode_text(some), dim=1), whole)


def test_a_clip_with_convolutions_is_saved_and_sees_where_something_is(tmp_path):
    settings = {"width": 12, "image_size": 20, "patch": 8, "tower_width": 32, "image_layers": 2, "text_layers": 1}
    made = Clip.small(**settings, image_channels=4)
    assert (made.width, made.image_size) == (12, 20)
    images = torch.ones(2, 3, 20, 20)
    images[0, :, :5, :5] = 0
    images[1, :, -5:, -5:] = 0
    left, right = made.image(images)
    assert made.image(images).shape == (2, 12)
    assert not torch.allclose(left, right, atol=1e-3)
    made.save(tmp_path)
    again = Clip.load_run(tmp_path)
    torch.testing.assert_close(again.image(images), made.image(images))
    old = json.loads((tmp_path / "clip.json").read_text())
    assert old.pop("image_channels") == 4
    plain = Clip.small(**settings)
    plain.save(tmp_path)
    (tmp_path / "clip.json").write_text(json.dumps(old))  # as written before there were convolutions
    torch.testing.assert_close(Clip.load_run(tmp_path).image(images), plain.image(images))


def test_every_block_of_the_image_tower_learns():
    tower = ImageTower(4, 2, 6, 20)
    tower(torch.rand(3, 3, 20, 20)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in tower.parameters())
    assert len(tower.blocks) == 6


def test_long_texts_are_cut_not_refused(clip):
    _, _, mask = clip.text(["red " * 100])
    assert mask.all()


def test_image_is_open_clips_own_encoding(clip):
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    normal = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(clip.image(images), clip.model.encode_image(normal, normalize=True))


def test_transparent_is_white(clip):
    colour = torch.rand(1, 3, 16, 16)
    clear = torch.cat([colour, torch.zeros(1, 1, 16, 16)], dim=1)
    torch.testing.assert_close(clip.image(clear), clip.image(torch.ones(1, 3, 16, 16)))
    solid = torch.cat([colour, torch.ones(1, 1, 16, 16)], dim=1)
    torch.testing.assert_close(clip.image(solid), clip.image(colour))


def test_pictures_are_made_square_with_white_and_resized():
    tall = torch.zeros(1, 3, 40, 20)
    ready = prepared(tall, 40) * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)
    torch.testing.assert_close(ready[..., :10], torch.ones(1, 3, 40, 10))
    torch.testing.assert_close(ready[..., 10:30], torch.zeros(1, 3, 40, 20), rtol=0, atol=1e-6)
    assert prepared(torch.rand(1, 4, 33, 20), 16).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="images: got shape"):
        prepared(torch.rand(3, 16, 16), 16)


def test_saved_and_loaded_is_the_same(clip, tmp_path):
    names = clip.save(tmp_path / "clip")
    assert sorted(names) == sorted(path.name for path in (tmp_path / "clip").iterdir())
    again = Clip.load_run(tmp_path / "clip")
    images = torch.rand(2, 4, 20, 20)
    assert torch.equal(again.image(images), clip.image(images))
    assert torch.equal(again.text(["red hair"])[0], clip.text(["red hair"])[0])
    assert not again.model.training
    assert again.unseen("a zebra") == []
    clip.seen = frozenset(clip.tokens("a man with red hair"))
    assert set(clip.save(tmp_path / "clip")) == {path.name for path in (tmp_path / "clip").iterdir()}
    assert Clip.load_run(tmp_path / "clip").unseen("A man, RED zebra") == ["zebra"]
    clip.seen = None


def test_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="rodin weights fetch"):
        Clip.load_pretrained("ViT-B-32-quickgelu", tmp_path / "clip.pt")
    with pytest.raises(FileNotFoundError, match="run stage clip first"):
        Clip.load_run(tmp_path)


def test_pretrained_weights_are_read_from_a_file(clip, tmp_path):
    open_clip = importlib.import_module("open_clip")
    config = {
        "embed_dim": 12,
        "vision_cfg": {"layers": 1, "width": 32, "head_width": 32, "patch_size": 8, "image_size": 16},
        "text_cfg": {"context_length": 32, "width": 32, "heads": 1, "layers": 1},
    }
    (tmp_path / "Rodin-Test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "Rodin-Test.json")
    torch.save(clip.model.state_dict(), tmp_path / "weights.pt")
    pretrained = Clip.load_pretrained("Rodin-Test", tmp_path / "weights.pt")
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(pretrained.image(images), clip.image(images))
    with pytest.raises(ValueError, match="is pretrained"):
        pretrained.save(tmp_path)
    torch.save({"visual.proj": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a state dict of Rodin-Test"):
        Clip.load_pretrained("Rodin-Test", tmp_path / "other.pt")
    for damaged in (b"not weights", b"", (tmp_path / "weights.pt").read_bytes()[:5000]):
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(ValueError, match="not a state dict of Rodin-Test") as told:
            Clip.load_pretrained("Rodin-Test", tmp_path / "damaged.pt")
        assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match="wanted one of open_clip's"):
        Clip.load_pretrained("no-such-model", tmp_path / "weights.pt")


def contrastive_loss(clip, images, captions):
    """Cross-entropy both ways, of pictures among captions and of captions among pictures."""
    image, text = (F.normalize(one, dim=-1) for one in (clip.encode_image(images), clip.encode_text(captions)))
    logits = clip.model.logit_scale.exp() * image @ text.T
    return -(logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean() / 2


def test_contrastive_training_pairs_pictures_with_captions():
    torch.manual_seed(0)
    clip = Clip.small(**SMALL)
    colours = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "black": (0, 0, 0)}
    images = torch.tensor(list(colours.values())).float().view(4, 3, 1, 1).expand(4, 3, 16, 16)
    captions = [f"a {name} shirt" for name in colours]
    optimiser = torch.optim.AdamW(clip.model.parameters(), lr=2e-3)
    first = contrastive_loss(clip, images, captions)
    for _ in range(50):
        optimiser.zero_grad()
        contrastive_loss(clip, images, captions).backward()
        optimiser.step()
    assert contrastive_loss(clip, images, captions) < 0.1 * first
    assert (clip.image(images) @ clip.text(captions)[0].T).argmax(dim=1).tolist() == [0, 1, 2, 3]
