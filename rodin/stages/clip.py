"""Stage `clip`: train a small CLIP if no pretrained one is set (R8), on portraits of people of its own.

Without such people (`clip.subjects` 0, or captured people) it learns from the run's training subjects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rodin.config import Config, SmallClip
from rodin.data.captioned import Captioned, captioned, captions_of
from rodin.data.pictures import evenly, images_over_white
from rodin.data.rows import draw_indices
from rodin.hooks import Hooks
from rodin.nets.clip import Clip
from rodin.nets.frontal import Frontal
from rodin.stages.training import TrainingFolder, TrainingSetup, run_training
from rodin.store.atomic import put_in_place
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws, seed_for
from rodin.train.loop import Trained
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan

LARGEST_SCALE = math.log(100.0)  # upper bound of the log of the logits' scale, as in CLIP's own training
MEASURED_SUBJECTS = 200  # subjects of a retrieval measurement: a rate of 0.5 to about 0.035, one standard error
MEASURED_VIEWS = 4  # views of each of them
LARGEST_SHIFT = 1 / 16  # share of the side; the shift moves a subject, but never out of the image
WARMUP_SHARE = 10  # the warm-up takes a tenth of the steps
AVERAGED_SHARE = 20  # the moving average spans about the last twentieth of the steps
CLIP = "clip."  # prefix of its weights where it is trained with an auxiliary task
MOST_PICTURES = 2_000  # frontal pictures that the mean one is computed from: 100 MB at 64²
CHECKPOINTS = 5  # of a training: a stopped one loses at most a fifth of its steps


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train a small CLIP and measure its retrieval accuracy.

    Args:
        config: the run's config; `clip.pretrained` must be none.
        folder: the run.
        shard: always 0; ranks share the batch, each contrasts its own part only.
        hooks: progress callback and stop request.
    """
    if config.clip.pretrained is not None:
        raise ValueError(f"clip.pretrained is {config.clip.pretrained}: nothing to train; stage clip is for 'none'")
    output = TrainingFolder.of(folder, "clip")
    torch.manual_seed(seed_for(config.seed, "clip"))
    clip, people = Clip.small(**small_settings(config.clip)), captioned(config, folder)

    def save(setup: TrainingSetup, trained: Trained) -> list[str]:
        own = {name.removeprefix(CLIP): value for name, value in trained.average.items() if name.startswith(CLIP)}
        clip.model.load_state_dict(own or trained.average)
        clip.model.eval()
        clip.seen = frozenset(token for text in people.texts for token in clip.tokens(clip.fitted(text)[0]))
        write_rows(folder, "clip-retrieval", 0, retrieval_rows(config, clip, folder))
        with TemporaryDirectory(dir=output.path, prefix=".") as fresh:  # another run may have a link to the older files
            names = clip.save(fresh)
            for name in names:
                put_in_place(Path(fresh) / name, output.path / name)
        return names

    run_training(output, _plan(config), hooks, lambda ranks: _setup(config.clip, clip, people, ranks), save)


def small_settings(settings: SmallClip) -> dict[str, int]:
    """Keyword arguments of `Clip.small`."""
    names = ("width", "image_size", "patch", "tower_width", "image_layers", "text_layers", "image_channels")
    return {name: getattr(settings, name) for name in names}


def shared_caption_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """Contrastive loss of CLIP where a caption may be true of several images, and several captions of one image.

    Cross entropy of each image over the captions, with equal probability for the true ones, and likewise of each
    caption over the images. With one true caption for each image and vice versa it equals open_clip's loss.

    Args:
        image: [N, D] of unit length.
        text: [M, D] of unit length.
        scale: of the logits, scalar.
        true: [N, M] bool, whether a caption is true of an image; no row and no column is all false.

    Returns:
        [N] for each image the mean of its own loss and of the captions' mean loss.

    Ours: our captions name few attributes, so many are true of several subjects; as negatives they would teach that a
    person with red hair is not a person with red hair.
    """
    logits, share = scale * image @ text.T, true.float()
    of_picture = -(F.log_softmax(logits, dim=1) * share).sum(dim=1) / share.sum(dim=1)
    of_caption = -(F.log_softmax(logits, dim=0) * share).sum(dim=0) / share.sum(dim=0)
    return (of_picture + of_caption.mean()) / 2


def facts_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, sizes: Sequence[int], truth: torch.Tensor
) -> torch.Tensor:
    """Contrastive loss over the captions of one attribute at a time: those of other attributes are no negatives.

    Args:
        image: [N, D] of unit length.
        text: [M, D] of unit length, captions of the first attribute, then of the second, and so on.
        scale: of the logits, scalar.
        sizes: [A] how many captions each attribute has; together M.
        truth: [N, A] which of an attribute's captions is true of an image.

    Returns:
        [N] cross entropy of each image, the mean over the attributes.

    Ours: in whole captions, colours of hair and shirt tell nearly everybody apart, so that nothing else is learned from
    some hundred people: neither glasses nor a beard nor the form of the hair.
    """
    logits = (scale * image @ text.T).split(list(sizes), dim=1)
    each = [F.cross_entropy(one, truth[:, number], reduction="none") for number, one in enumerate(logits)]
    return torch.stack(each).mean(dim=0)


def augmented(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Images mirrored with probability 1/2 and shifted by a few pixels; colours, which captions name, stay exact.

    Args:
        images: [N, 3, H, W] in [0, 1] over white.
        draws: random numbers of the N samples.

    Returns:
        [N, 3, H, W]; pixels from outside are white.
    """
    side = images.shape[-1]
    reach = round(side * LARGEST_SHIFT)
    padded = F.pad(images, [reach] * 4, value=1.0)
    right, down = (draws.integers(name, 2 * reach + 1).tolist() for name in ("right", "down"))
    height = images.shape[-2]
    cut = [image[:, y : y + height, x : x + side] for image, x, y in zip(padded, right, down, strict=True)]
    return mirrored(torch.stack(cut), draws)


def mirrored(images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Images [N, 3, H, W], each mirrored with probability 1/2, the same ones at each call with the same draws."""
    return torch.where(draws.chosen("mirror", 0.5)[:, None, None, None], images.flip(-1), images)


def retrieval_rows(config: Config, clip: Clip, folder: RunFolder) -> list[dict[str, Any]]:
    """Retrieval accuracy: how often an image's nearest caption, and a caption's nearest image, is of the same subject.

    Args:
        config: the run's config.
        clip: a trained CLIP.
        folder: the run.

    Returns:
        rows {"stage": "clip-retrieval", "subjects": "portraits" | "training" | "held-out", "views": "fitted" | "not
        fitted", "image_to_text", "text_to_image", "chance", "count"}; over the full captions of the measured subjects.
        Only "fitted" views of "portraits", or of "training" where there are no portraits, are those that CLIP learned.
    """
    views = Shards(folder.stage("render"), "views")
    if own := config.portrait_subjects():
        portraits = Shards(folder.stage("portraits"), "views")
        frontal = list(range(min(config.data.reference_views, MEASURED_VIEWS)))
        cases = [
            ("portraits", own, portraits, "fitted", list(range(min(config.clip.views, MEASURED_VIEWS)))),
            ("training", config.train_subjects(), views, "not fitted", frontal),
            ("held-out", config.held_out_subjects(), views, "not fitted", frontal),
        ]
    else:
        fitted = config.data.views - config.fit.held_out_views
        spread = np.linspace(0, fitted - 1, min(fitted, MEASURED_VIEWS)).astype(int).tolist()
        unseen = list(range(fitted, config.data.views))[:MEASURED_VIEWS]
        cases = [
            ("training", config.train_subjects(), views, "fitted", spread),
            ("training", config.train_subjects(), views, "not fitted", unseen),
            ("held-out", config.held_out_subjects(), views, "not fitted", spread),
        ]
    rows = []
    for group, subjects, store, which, numbers in cases:
        present = [subject for subject in subjects if subject in store][:MEASURED_SUBJECTS]
        if len(present) < 2 or not numbers:
            continue
        row = {"stage": "clip-retrieval", "subjects": group, "views": which, "count": len(present)}
        rows.append(row | _retrieval(clip, store, present, numbers))
    return rows


def _retrieval(clip: Clip, store: Shards, subjects: list[str], numbers: list[int]) -> dict[str, float]:
    captions = [captions_of(store, subject, 1)[0] for subject in subjects]
    texts = list(dict.fromkeys(captions))
    text = clip.text(texts)[0]
    image = torch.cat([clip.image(images_over_white(store.read(subject, "rgba", numbers))) for subject in subjects])
    owner = torch.tensor([texts.index(caption) for caption in captions for _ in numbers], device=image.device)
    similarity = image @ text.T
    nearest_text, nearest_image = similarity.argmax(dim=1), similarity.argmax(dim=0)
    correct = nearest_text == owner, owner[nearest_image] == torch.arange(len(texts)).to(owner)
    image_to_text, text_to_image = (hits.float().mean().item() for hits in correct)
    return {"chance": 1 / len(texts), "image_to_text": image_to_text, "text_to_image": text_to_image}


def _plan(config: Config) -> Plan:
    """Plan of the training. Ours: warm-up, averaging and checkpoints as shares of the steps."""
    clip = config.clip
    return Plan(
        batch=clip.batch,
        steps=clip.steps,
        lr=clip.lr,
        warmup=clip.steps // WARMUP_SHARE,
        ema=1 - 1 / max(2, clip.steps // AVERAGED_SHARE),
        checkpoint_every=max(1, clip.steps // CHECKPOINTS),
        seed=seed_for(config.seed, "clip"),
    )


def _setup(settings: SmallClip, clip: Clip, people: Captioned, ranks: Ranks) -> TrainingSetup:
    clip.to(ranks.device).model.train()
    frontal = _frontal(settings, people).to(ranks.device) if settings.frontal else None
    sizes = [len(texts) for texts in people.facts]
    facts = [text for texts in people.facts for text in texts]

    def load(items: np.ndarray, draws: Draws) -> dict[str, Any]:
        places = draws.uniform("caption").tolist()
        owned = [people.captions[item] for item in items]
        batch = {
            "images": images_over_white(people.images.entry(items, draw_indices(draws, "view", people.shown))),
            "captions": [own[int(place * len(own))] for own, place in zip(owned, places, strict=True)],
            "owned": owned,
            "truth": torch.from_numpy(people.truth[items]),
        }
        if frontal is not None:
            batch["frontal"] = images_over_white(people.images.entry(items, np.zeros_like(items)))
        return batch

    def loss_of(batch: dict[str, Any], draws: Draws) -> torch.Tensor:
        texts = list(dict.fromkeys(batch["captions"]))
        true = torch.tensor([[text in own for text in texts] for own in batch["owned"]], device=ranks.device)
        shown = augmented(batch["images"], draws)
        image = F.normalize(clip.encode_image(shown).float(), dim=-1)
        text = F.normalize(clip.encode_text(texts).float(), dim=-1)
        scale = clip.model.logit_scale.clamp(max=LARGEST_SCALE).exp()
        loss = shared_caption_loss(image, text, scale, true)
        if frontal is not None:
            loss = loss + settings.frontal * frontal.loss(image, mirrored(batch["frontal"], draws))
        if not facts:
            return loss
        told = F.normalize(clip.encode_text(facts).float(), dim=-1)
        return loss + facts_loss(image, told, scale, sizes, batch["truth"])

    network = clip.model if frontal is None else nn.ModuleDict({"clip": clip.model, "frontal": frontal})
    return TrainingSetup(network, clip.settings, loss_of, load, len(people.captions))


def _frontal(settings: SmallClip, people: Captioned) -> Frontal:
    """The auxiliary task, with the mean of at most MOST_PICTURES people, evenly chosen."""
    chosen = np.array(evenly(len(people.captions), MOST_PICTURES))
    return Frontal(settings.width, images_over_white(people.images.entry(chosen, np.zeros_like(chosen))))
