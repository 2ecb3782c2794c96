"""CLIP: images and texts as vectors of one space. Only this module imports open_clip."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from rodin.nets import torchvision_shim
from rodin.nets.image_tower import ImageTower
from rodin.nets.words import unseen_words, whole_words

# of the colour channels of OpenAI's training set; models of open_clip expect inputs normalised with them
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)  # of the same
SETTINGS, WEIGHTS, SEEN = "clip.json", "clip.pt", "seen.json"
REASON_LENGTH = 120  # characters of an error that are quoted: torch lists every key of the state dict
HEAD_WIDTH = 32  # of attention in a small CLIP, or the greatest divisor of it that divides the tower width


class Clip:
    """CLIP model of open_clip, pretrained or trained by a run.

    Attributes:
        model: the module of open_clip, for training.
        width: D, of the shared space. token_width: E, of a text token's last hidden state. token_count: L, longest
            text, tokens. image_size: side of the model's input, pixels.
        seen: tokens of the texts that a run's CLIP was trained on; None: unknown, or too many to matter.
    """

    seen: frozenset[int] | None = None

    def __init__(self, model: torch.nn.Module, settings: dict[str, Any]) -> None:
        self.model: Any = model
        self.settings = settings
        self.token_count, self.token_width = self.model.positional_embedding.shape
        self.width: int = self.model.text_projection.shape[1]
        size = self.model.visual.image_size
        self.image_size: int = size[0] if isinstance(size, tuple) else size

    @classmethod
    def small(
        cls,
        *,
        width: int,
        image_size: int,
        patch: int,
        tower_width: int,
        image_layers: int,
        text_layers: int,
        image_channels: int = 0,
        token_count: int = 32,
    ) -> Clip:
        """Small untrained CLIP with open_clip's classes, vocabulary and tokenizer.

        Args:
            width: D. image_size: pixels. patch: patch side, pixels. tower_width: hidden width of both towers.
            image_layers, text_layers: transformer layers. token_count: longest text in tokens.
            image_channels: of a convolutional image tower, `ImageTower`, which then takes the place of the transformer
            and has `image_layers` blocks at each side; 0: none.
        """
        settings = {
            "width": width,
            "image_size": image_size,
            "patch": patch,
            "tower_width": tower_width,
            "image_layers": image_layers,
            "text_layers": text_layers,
            "image_channels": image_channels,
            "token_count": token_count,
        }
        head = math.gcd(tower_width, HEAD_WIDTH)
        model = _open_clip().CLIP(
            embed_dim=width,
            vision_cfg={
                "layers": image_layers,
                "width": tower_width,
                "head_width": head,
                "patch_size": patch,
                "image_size": image_size,
            },
            text_cfg={
                "context_length": token_count,
                "width": tower_width,
                "heads": tower_width // head,
                "layers": text_layers,
            },
        )
        if image_channels:
            model.visual = ImageTower(image_channels, image_layers, width, image_size)
        return cls(model, settings)

    @classmethod
    def load_pretrained(cls, model: str, path: Path | str) -> Clip:
        """Load a model of open_clip with weights from a local file, without network access.

        Args:
            model: open_clip's name, such as "ViT-B-32-quickgelu" (what OpenAI's weights need).
            path: a .pt or .safetensors file.

        Raises:
            FileNotFoundError: no such file. ValueError: unknown model, or weights that are not this model's.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no weights of CLIP {model}; run `rodin weights fetch` on a login node")
        open_clip = _open_clip()
        if model not in open_clip.list_models():
            raise ValueError(f"clip model: got '{model}', wanted one of open_clip's, such as ViT-B-32-quickgelu")
        try:
            module = open_clip.create_model(model, pretrained=str(path))
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path}: not a state dict of {model} ({_reason(error)}); run `rodin weights fetch`"
            ) from None
        return cls(module.eval(), {"pretrained": model})

    @classmethod
    def load_run(cls, folder: Path | str) -> Clip:
        """Load a small CLIP written by `save`, in evaluation mode.

        Raises:
            FileNotFoundError: the folder has no such model.
            ValueError: its files cannot be read.
        """
        folder = Path(folder)
        for file in (folder / SETTINGS, folder / WEIGHTS):
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no such file; run stage clip first")
        try:
            clip = cls.small(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
            clip.model.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True))
            if (folder / SEEN).is_file():  # CLIPs of earlier versions have none
                clip.seen = frozenset(json.loads((folder / SEEN).read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(
                f"{error.filename or folder}: cannot be read ({error.strerror or error}); mend that and run the same "
                "command again, nothing is lost"
            ) from None
        except (RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{folder}: its CLIP cannot be read ({_reason(error)}); remove {folder / '00000.json'} and run stage "
                "clip again"
            ) from None
        clip.model.eval()
        return clip

    def save(self, folder: Path | str) -> list[str]:
        """Write a small CLIP into a folder.

        Returns:
            names of the files written, for a manifest.
        """
        if "pretrained" in self.settings:
            raise ValueError(f"CLIP {self.settings['pretrained']} is pretrained: its weights are a file already")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.model.state_dict(), folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps(self.settings, indent=2), encoding="utf-8")
        if self.seen is None:
            return [SETTINGS, WEIGHTS]
        (folder / SEEN).write_text(json.dumps(sorted(self.seen)), encoding="utf-8")
        return [SETTINGS, WEIGHTS, SEEN]

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.logit_scale.device

    def to(self, device: torch.device | str) -> Clip:
        """Move the model, and return this object."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def image(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images.

        Args:
            images: [N, 3, H, W] in [0, 1] over white, or [N, 4, H, W] with straight alpha; of any size.

        Returns:
            [N, D] float32, unit length.
        """
        return F.normalize(self.encode_image(images).float(), dim=-1)

    @torch.no_grad()
    def text(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embed texts.

        Returns:
            text [N, D] float32 of unit length; tokens [N, L, E], the text tower's last hidden states before pooling;
            mask [N, L] bool, true from the start token to the end token.
        """
        ids = self.tokenize(texts)
        hidden = self._hidden(ids)
        mask = torch.arange(self.token_count, device=ids.device) <= ids.argmax(dim=1, keepdim=True)
        return F.normalize(self._pooled(hidden, ids).float(), dim=-1), hidden.float(), mask

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Image embeddings before normalisation, with gradients: [N, D]."""
        return self.model.encode_image(prepared(images.to(self.device), self.image_size))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Text embeddings before normalisation, with gradients: [N, D]."""
        ids = self.tokenize(texts)
        ids = ids[:, : int(ids.argmax(dim=1).max()) + 1]  # no token sees those after it, so the padding is left out
        return self._pooled(self._hidden(ids), ids)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokens [N, L] int64 by open_clip's tokenizer, 0 after the end token; of a long text the words that fit."""
        read = [self.fitted(text)[0] for text in texts]
        return _tokenizer()(read, context_length=self.token_count).to(self.device)

    def fitted(self, text: str) -> tuple[str, str]:
        """What the text tower reads of a text, and what it leaves out; a text that fits is read as it is."""
        return whole_words(text, self.token_count - 2, _encode)  # 2: the start and the end token

    def tokens(self, text: str) -> list[int]:
        """All tokens of a text, without start and end; none where it holds nothing to read."""
        return _encode(text)

    def unseen(self, text: str) -> list[str]:
        """Words of a text that the CLIP was not trained on; none where its words are unknown."""
        return [] if self.seen is None else unseen_words(text, self.seen, _encode)

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        count = ids.shape[1]
        h = self.model.token_embedding(ids) + self.model.positional_embedding[:count]
        return self.model.ln_final(self.model.transformer(h, attn_mask=self.model.attn_mask[:count, :count]))

    def _pooled(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        # the end token has the highest id
        ends = hidden[torch.arange(len(ids), device=ids.device), ids.argmax(dim=1)]
        return ends @ self.model.text_projection


def prepared(images: torch.Tensor, size: int) -> torch.Tensor:
    """Preprocess images for CLIP: over white, padded to a square with white, resized (bicubic), normalised.

    Args:
        images: [N, 3 or 4, H, W] in [0, 1].

    Returns:
        [N, 3, size, size].
    """
    if images.ndim != 4 or images.shape[1] not in (3, 4):
        raise ValueError(f"images: got shape {list(images.shape)}, wanted [N 3 H W] or [N 4 H W]")
    if images.shape[1] == 4:
        alpha = images[:, 3:]
        images = images[:, :3] * alpha + (1 - alpha)
    height, width = images.shape[2:]
    if height != width:
        missing = abs(height - width)
        sides = [missing // 2, missing - missing // 2]
        images = F.pad(images, [*sides, 0, 0] if width < height else [0, 0, *sides], value=1.0)
    if images.shape[2] != size:
        images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images.clamp(0, 1) - mean) / std


def _open_clip() -> Any:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torchvision_shim.prepare()
    import open_clip
    import open_clip.loss

    return open_clip


@cache
def _tokenizer() -> Any:
    return _open_clip().SimpleTokenizer()  # of all models that we use


def _encode(text: str) -> list[int]:
    return _tokenizer().encode(text)


def _reason(error: Exception) -> str:
    """Begin of an error's text; the kind of error where it has none."""
    return " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
