"""Stage `clip`: a small CLIP trained on the training people's pictures and captions, where none is given (R8)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rodin.config import Config, SmallClip
from rodin.data.pictures import over_white
from rodin.data.rows import Rows, chosen, training_subjects
from rodin.hooks import Hooks
from rodin.nets.clip import Clip
from rodin.stages.embed import captions_of
from rodin.stages.training import TrainingFolder, TrainingSetup, run_training
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws, seed_for
from rodin.train.loop import Trained
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan

LARGEST_SCALE = math.log(100.0)  # of the logits, as CLIP was trained
MEASURED_PEOPLE = 200
MEASURED_VIEWS = 4


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Train a small CLIP, and measure how well it tells people apart.

    Args:
        config: the run's config; `clip.pretrained` must be none.
        folder: the run.
        shard: always 0; ranks share the batch, each with its own negatives.
        hooks: progress and the wish to stop.
    """
    if config.clip.pretrained is not None:
        raise ValueError(f"clip.pretrained is {config.clip.pretrained}: nothing to train; stage clip is for 'none'")
    views, place = Shards(folder.stage("render"), "views"), TrainingFolder.of(folder, "clip")
    torch.manual_seed(seed_for(config.seed, "clip"))
    clip = Clip.small(**small_settings(config.clip))

    def save(subject: TrainingSetup, trained: Trained) -> list[str]:
        clip.model.load_state_dict(trained.average)
        clip.model.eval()
        write_rows(folder, "clip-retrieval", 0, retrieval_rows(config, clip, views))
        return clip.save(place.into)

    run_training(place, _plan(config), hooks, lambda ranks: _subject(config, clip, views, ranks), save)


def small_settings(settings: SmallClip) -> dict[str, int]:
    """Keyword arguments of `Clip.small`."""
    names = ("width", "image_size", "patch", "tower_width", "image_layers", "text_layers")
    return {name: getattr(settings, name) for name in names}


def shared_caption_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """CLIP's contrastive loss where a caption may be true of several pictures, and several captions of a picture.

    Cross entropy of each picture against the captions, the true ones sharing its probability, and of each caption
    against the pictures likewise. With one true caption a picture and one picture a caption it is open_clip's loss.

    Args:
        image: [N, D] and text: [M, D], unit length.
        scale: of the logits, scalar.
        true: [N, M] bool, whether a caption is true of a picture; none of its rows or columns is empty.

    Returns:
        [N] loss of each picture, the captions' mean added in equal parts.

    Ours: our captions name few attributes, so many are true of several people; as negatives they would teach that a
    person with red hair is not a person with red hair.
    """
    logits, share = scale * image @ text.T, true.float()
    of_picture = -(F.log_softmax(logits, dim=1) * share).sum(dim=1) / share.sum(dim=1)
    of_caption = -(F.log_softmax(logits, dim=0) * share).sum(dim=0) / share.sum(dim=0)
    return (of_picture + of_caption.mean()) / 2


def shifted(pictures: torch.Tensor, draws: Draws, most: float = 1 / 16) -> torch.Tensor:
    """Pictures over white, mirrored by chance and moved by a few pixels; colours, which captions name, stay exact.

    Args:
        pictures: [N, 3, H, W] in [0, 1] over white.
        draws: the samples' own random numbers.
        most: largest shift as a share of the side.
    """
    side = pictures.shape[-1]
    reach = round(side * most)
    padded = F.pad(pictures, [reach] * 4, value=1.0)
    right, down = (draws.integers(name, 2 * reach + 1).tolist() for name in ("right", "down"))
    mirror = draws.chosen("mirror", 0.5)[:, None, None, None]
    moved = [one[:, y : y + pictures.shape[-2], x : x + side] for one, x, y in zip(padded, right, down, strict=True)]
    moved = torch.stack(moved)
    return torch.where(mirror, moved.flip(-1), moved)


def retrieval_rows(config: Config, clip: Clip, views: Shards) -> list[dict[str, Any]]:
    """How often a picture's nearest caption, and a caption's nearest picture, is of the right person.

    Args:
        config: the run's config.
        clip: a trained CLIP.
        views: the store of pictures.

    Returns:
        rows {"stage": "clip-retrieval", "subjects": "training" | "held-out", "views": "fitted" | "not fitted",
        "image_to_text", "text_to_image", "chance", "count"}; each person's full caption among all of theirs.
    """
    fitted = config.data.views - config.fit.held_out_views
    spread = np.linspace(0, fitted - 1, min(fitted, MEASURED_VIEWS)).astype(int).tolist()
    unseen = list(range(fitted, config.data.views))[:MEASURED_VIEWS]
    cases = [("training", config.train_subjects(), "fitted", spread)]
    cases.append(("training", config.train_subjects(), "not fitted", unseen))
    cases.append(("held-out", config.held_out_subjects(), "not fitted", spread))
    rows = []
    for people, subjects, which, numbers in cases:
        present = [subject for subject in subjects if subject in views][:MEASURED_PEOPLE]
        if len(present) < 2 or not numbers:
            continue
        captions = [captions_of(views, subject, config.data.captions)[0] for subject in present]
        texts = list(dict.fromkeys(captions))
        text = clip.text(texts)[0]
        image = torch.cat([clip.image(over_white(views.read(subject, "rgba", numbers))) for subject in present])
        owner = torch.tensor([texts.index(caption) for caption in captions for _ in numbers], device=image.device)
        likeness = image @ text.T
        right = likeness.argmax(dim=1) == owner, owner[likeness.argmax(dim=0)] == torch.arange(len(texts)).to(owner)
        image_to_text, text_to_image = (one.float().mean().item() for one in right)
        row = {"stage": "clip-retrieval", "subjects": people, "views": which, "count": len(present)}
        row |= {"chance": 1 / len(texts), "image_to_text": image_to_text, "text_to_image": text_to_image}
        rows.append(row)
    return rows


def _plan(config: Config) -> Plan:
    """Warm-up over a tenth of the steps, averaging over about the last twentieth (ours)."""
    clip = config.clip
    return Plan(
        batch=clip.batch,
        steps=clip.steps,
        lr=clip.lr,
        warmup=clip.steps // 10,
        ema=1 - 1 / max(2, clip.steps // 20),
        checkpoint_every=max(1, clip.steps // 5),
        seed=seed_for(config.seed, "clip"),
    )


def _subject(config: Config, clip: Clip, views: Shards, ranks: Ranks) -> TrainingSetup:
    people = training_subjects(config, views)
    fitted = config.data.views - config.fit.held_out_views
    pictures = Rows(views, people, "rgba", fitted)
    captions = [captions_of(views, subject, config.data.captions) for subject in people]
    clip.to(ranks.device).model.train()

    def load(items: np.ndarray, draws: Draws) -> dict[str, Any]:
        which = draws.uniform("caption").tolist()
        owned = [captions[item] for item in items]
        return {
            "pictures": over_white(pictures.entry(items, chosen(draws, "view", fitted))),
            "captions": [own[int(place * len(own))] for own, place in zip(owned, which, strict=True)],
            "owned": owned,
        }

    def loss_of(batch: dict[str, Any], draws: Draws) -> torch.Tensor:
        texts = list(dict.fromkeys(batch["captions"]))
        true = torch.tensor([[text in own for text in texts] for own in batch["owned"]], device=ranks.device)
        seen = shifted(batch["pictures"], draws)
        image = F.normalize(clip.encode_image(seen).float(), dim=-1)
        text = F.normalize(clip.encode_text(texts).float(), dim=-1)
        return shared_caption_loss(image, text, clip.model.logit_scale.clamp(max=LARGEST_SCALE).exp(), true)

    return TrainingSetup(clip.model, clip.settings, loss_of, load, len(people))
