"""Any text, image or audio model of Hugging Face from a folder: safetensors only, no remote code, no network.

Letters: n rows, t tokens, d dimensions.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec.encoders.features import recomputed
from gnnrec.encoders.media import grey_picture
from gnnrec.encoders.sentence_transformer import POOLINGS, max_seq_length, read_readout, weight_files
from gnnrec.errors import UserError, missing_extra
from gnnrec.files import sha256_of_file
from gnnrec.untrusted import refusing

MAX_TOKENS = 512  # of a text, where the model does not say less
AUTO = "auto"  # pooling as the folder says
WINDOW = 10  # seconds of sound at a time; models that take a fixed length take 10 s or more
NOT_NEEDED = (
    "pooler",
    "masked_spec_embed",
    "mask_token",
    "position_ids",
    "logit_scale",
    "logit_bias",
)  # parts of tensors' names
TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
NOT_COPIED = ("encoder.json", "source.json")  # what the source is, which the copy is not


class HuggingFaceTextEncoder:
    """Texts -> the last layer's states pooled: their mean, or as `pooling` or a sentence-transformers folder says.

    prefix: what every text begins with; by default the prompt for documents of a sentence-transformers folder.

    A causal language model is taken without its head, an encoder-decoder without its decoder, of CLIP and its like
    the text side.
    """

    def __init__(
        self, folder: Path, name: str, device: torch.device, prefix: str | None = None, pooling: str = AUTO
    ) -> None:
        self.model: Any = None
        self._pooled: Any = None
        self._folder, self._device = folder, device
        config = self._open_model(folder)
        self.tokenizer = load_part(_transformers().AutoTokenizer, folder)
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"  # places count from the first word, whatever stands in the batch
        readout = read_readout(folder, config.get_text_config().hidden_size)
        if pooling != AUTO and self._pooled is not None:
            raise UserError(f"encoders.pooling: found {pooling!r}, but {name} pools by itself; allowed: {AUTO}")
        self._pooling, self._after = readout.pooling if pooling == AUTO else pooling, readout.after.to(device)
        prompt, self.prefix = readout.prompt if prefix is None else ("", prefix)
        self.name = ":".join(
            [f"{name}@{revision(folder)}", *filter(None, (pooling if pooling != AUTO else "", prompt))]
        )
        self._max_tokens = _max_tokens(folder, self.tokenizer, config)
        # SigLIP was trained on texts of one length.
        self._padding = "max_length" if config.model_type.startswith("siglip") else True
        self.dim = self.encode(["a"]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> Any:
        texts = [self.prefix + text for text in batch]
        return self.tokenizer(
            texts, padding=self._padding, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )

    @torch.inference_mode()
    def forward(self, ready: Any) -> NDArray[np.float32]:
        return self._embedded(ready).cpu().numpy()

    def embed(self, batch: Sequence[str]) -> Tensor:
        """What `encode` gives, with its gradient. [n, d]"""
        return self._embedded(self.prepare(batch))

    def _embedded(self, ready: Any) -> Tensor:
        inputs = ready.to(self._device)
        if self._pooled is not None:
            pooled: Tensor = self._pooled(**inputs).pooler_output
            return pooled
        num_texts, num_tokens = inputs["input_ids"].shape
        if not num_tokens:  # empty texts alone, to a tokenizer that adds nothing
            return torch.zeros(num_texts, self.dim, device=self._device)
        return self.pool(self._tokens(inputs), inputs["attention_mask"])

    def save(self, folder: Path) -> None:
        """Settings and weights; vocabulary and pooling are `copy_text_files`'s."""
        _save_trained(self.model, self._folder, folder)

    def inputs(self, batch: Sequence[str]) -> Any:
        """What the model takes, by name: [n, t] each."""
        return self.prepare(batch).to(self._device)

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[n, t, d], [n, t] -> [n, d]"""
        pooled = POOLINGS[self._pooling](tokens, mask[:, :, None].float())
        return self._after(pooled)

    @property
    def pools_itself(self) -> bool:
        """Whether the model has an output for a whole text, as CLIP has."""
        return self._pooled is not None

    def _open_model(self, folder: Path) -> Any:
        """Load the weights; returns the settings of the model."""
        self.model, self._pooled = _load_model(folder, self._device, "get_text_features")
        return self.model.config

    def _tokens(self, inputs: Any) -> Tensor:
        return self.model(**inputs).last_hidden_state  # [n, t, d]


class HuggingFaceImageEncoder:
    """Pictures -> the model's own pooled output, else the mean over its tokens."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self.name = f"{name}@{revision(folder)}"
        self.model, self._pooled = _load_model(folder, device, "get_image_features")
        self._processor = load_part(_transformers().AutoImageProcessor, folder)
        self._folder, self._device = folder, device
        self.dim = self.encode([grey_picture()]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> Tensor:
        return torch.cat([self._processor(images=[picture], return_tensors="pt")["pixel_values"] for picture in batch])

    @torch.inference_mode()
    def forward(self, ready: Tensor) -> NDArray[np.float32]:
        return self._embedded(ready).cpu().numpy()

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, d]"""
        return self._embedded(self.prepare(batch))

    def _embedded(self, ready: Tensor) -> Tensor:
        return _pool((self._pooled or self.model)(pixel_values=ready.to(self._device)))

    def save(self, folder: Path) -> None:
        """Settings and weights; how pictures are prepared is `copy_text_files`'s."""
        _save_trained(self.model, self._folder, folder)


class HuggingFaceAudioEncoder:
    """Sound -> the model's own pooled output, else the mean over time; the mean over windows of 10 s."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self.name = f"{name}@{revision(folder)}"
        self.model, self._pooled = _load_model(folder, device, "get_audio_features")
        self._extractor = load_part(_transformers().AutoFeatureExtractor, folder)
        self._folder, self._device = folder, device
        self.sampling_rate: int = self._extractor.sampling_rate
        self.dim = self.encode([np.random.default_rng(0).normal(0, 0.1, self.sampling_rate).astype("f4")]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> list[list[Any]]:
        """Of each sound what the model takes of its windows."""
        return [self._windows(sound) for sound in batch]

    @torch.inference_mode()
    def forward(self, ready: Sequence[Sequence[Any]]) -> NDArray[np.float32]:
        return self._embedded(ready).cpu().numpy()

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, d]"""
        return self._embedded(self.prepare(batch))

    def save(self, folder: Path) -> None:
        """Settings and weights; how sounds are prepared is `copy_text_files`'s."""
        _save_trained(self.model, self._folder, folder)

    def _windows(self, sound: NDArray[np.float32]) -> list[Any]:
        size = WINDOW * self.sampling_rate
        windows = [sound[start : start + size] for start in range(0, len(sound), size)]
        if len(windows) > 1 and len(windows[-1]) < self.sampling_rate:  # less than a second
            windows.pop()
        # One by one: models differ in how they take padding, and some mistake it for sound. In float32: a training's
        # bfloat16 is for the model, not for spectra.
        with torch.autocast(self._device.type, enabled=False):
            return [self._extractor(one, sampling_rate=self.sampling_rate, return_tensors="pt") for one in windows]

    def _embedded(self, ready: Sequence[Sequence[Any]]) -> Tensor:
        means = [torch.stack([recomputed(self._vector, window) for window in windows]).mean(dim=0) for windows in ready]
        return torch.stack(means)

    def _vector(self, window: Any) -> Tensor:
        return _pool((self._pooled or self.model)(**window.to(self._device)))[0]


def revision(folder: Path) -> str:
    """The commit of a snapshot of the hub, else a hash of all files in the folder: weights, settings, vocabulary."""
    if folder.parent.name == "snapshots":
        return folder.name[:12]
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {sha256_of_file(path)}\n".encode())
    return digest.hexdigest()[:12]


def _load_model(folder: Path, device: torch.device, side: str) -> tuple[Any, Any]:
    """The model, and its method for one side of a model of two (text and picture), or None."""
    options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    model, info = load_part(_transformers().AutoModel, folder, **options)
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in NOT_NEEDED))
    if missing:
        raise UserError(f"{folder}: the weights lack {len(missing)} tensors of the model, {missing[0]} for one")
    if any("pooler" in key for key in info["missing_keys"]):
        model.pooler = None  # it came without weights: what it would give is noise
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    model.eval().to(device)
    return model, getattr(model, side, None)


def load_config(folder: Path) -> Any:
    return load_part(_transformers().AutoConfig, folder)


def save_model(model: Any, folder: Path) -> None:
    """Settings and weights as safetensors."""
    with quietly(_transformers().utils.logging):
        model.save_pretrained(folder)


def _save_trained(model: Any, source: Path, folder: Path) -> None:
    """As `save_model`, of what was loaded from `source`; an encoder goes back to the decoder that it was taken from,
    since the settings in the folder tell of both."""
    if load_config(source).is_encoder_decoder:
        whole = load_part(_transformers().AutoModel, source, use_safetensors=True, dtype=torch.float32)
        whole.get_encoder().load_state_dict(model.state_dict())
        model = whole
    save_model(model, folder)


def copy_text_files(source: Path, target: Path) -> None:
    """All that an encoder needs beside the weights of its model: settings, vocabulary, how to prepare and pool, what
    comes after that; no code."""
    texts = sorted(path for ending in TEXT_FILES for path in source.rglob(ending))
    for path in [*texts, *weight_files(source)]:
        if path.name not in NOT_COPIED and not path.name.endswith(".index.json"):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("text", "transformers") from error
    return transformers


def load_part(part: Any, folder: Path, **options: Any) -> Any:
    """A model, tokenizer or processor, by the class of transformers that reads it. Raises UserError."""
    with refusing(folder, f"{part.__name__} cannot be loaded"), quietly(_transformers().utils.logging):
        return part.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)


@contextmanager
def quietly(logging: Any) -> Iterator[None]:
    """Without a bar for the loading of weights, and without the list of heads that are not needed."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _pool(output: Any) -> Tensor:
    """[n, d]; convolutional models keep two more axes of size 1."""
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    hidden = output.last_hidden_state  # [n, t, d], or [n, d, height, width]
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.mean(dim=(2, 3))


def _max_tokens(folder: Path, tokenizer: Any, config: Any) -> int:
    positions = getattr(getattr(config, "text_config", config), "max_position_embeddings", MAX_TOKENS)
    return int(min(max_seq_length(folder) or MAX_TOKENS, tokenizer.model_max_length, positions))
