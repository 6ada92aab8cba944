"""musicnn: two convolutional music taggers, of MagnaTagATune (MTT) and of the Million Song Dataset (MSD), in torch.

Pons and Serra 2019, arXiv:1909.06654. Letters: n clips, p patches of 3 s, t frames, f mel bands, c channels.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.encoders.features import recomputed
from gnnrec.encoders.mel import MelSpectrogram
from gnnrec.files import sha256_of_file

WEIGHTS = "model.safetensors"
CPU_BATCH, GPU_BATCH = 2, 64  # patches at a time; the caches of a core hold no more
BANDS, PATCH = 96, 187  # mel bands, and frames of one patch (3 s)
TIMBRAL = ((7, 38), (7, 67))  # kernels over time and frequency
TEMPORAL = ((128, 1), (64, 1), (32, 1))
FRONT = 2 * 204 + 3 * 51  # channels
MTT_TAGS = (
    "guitar,classical,slow,techno,strings,drums,electronic,rock,fast,piano,ambient,beat,violin,vocal,synth,female,"
    "indian,opera,male,singing,vocals,no vocals,harpsichord,loud,quiet,flute,woman,male vocal,no vocal,pop,soft,sitar,"
    "solo,man,classic,choir,voice,new age,dance,male voice,female vocal,beats,harp,cello,no voice,weird,country,metal,"
    "female voice,choral"
)
MSD_TAGS = (
    "rock,pop,alternative,indie,electronic,female vocalists,dance,00s,alternative rock,jazz,beautiful,metal,chillout,"
    "male vocalists,classic rock,soul,indie rock,Mellow,electronica,80s,folk,90s,chill,instrumental,punk,oldies,blues,"
    "hard rock,ambient,acoustic,experimental,female vocalist,guitar,Hip-Hop,70s,party,country,easy listening,sexy,"
    "catchy,funk,electro,heavy metal,Progressive rock,60s,rnb,indie pop,sad,House,happy"
)


class MusicnnEncoder:
    """Sound -> the last hidden layers of both taggers, averaged over patches of 3 s, and side by side."""

    dim = 400
    sampling_rate = 16_000
    tags = (*MTT_TAGS.split(","), *MSD_TAGS.split(","))

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.torch import load_file

        weights = folder / WEIGHTS
        self.name = f"{name}@{sha256_of_file(weights)[:12]}"
        self.model = nn.ModuleDict({"MTT": Tagger(), "MSD": Tagger()})
        self.model.load_state_dict(load_file(weights))
        self.model.eval().to(device)
        self._mel = MelSpectrogram(self.sampling_rate, window=512, hop=256, bands=BANDS).to(device)
        self._device = device

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    @torch.inference_mode()
    def prepare(self, batch: Iterable[Any]) -> list[Tensor]:
        """Of each sound its patches, [p, PATCH, BANDS]."""
        return [self._patches(sound) for sound in batch]

    @torch.inference_mode()
    def forward(self, ready: Sequence[Tensor]) -> NDArray[np.float32]:
        return self._run(ready)[0].cpu().numpy()

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, 400]"""
        return self._run(self.prepare(batch))[0]

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file({name: weight.contiguous() for name, weight in self.model.state_dict().items()}, folder / WEIGHTS)

    @torch.inference_mode()
    def tag(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """The probability of each tag in `tags`. -> [n, 100]"""
        return self._run(self.prepare(batch))[1].cpu().numpy()

    @torch.inference_mode()
    def tags_of(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `tag`, but from what `encode` gave: of the mean over patches instead of the mean of each. -> [n, 100]"""
        hidden = torch.from_numpy(embeddings).to(self._device).chunk(2, dim=1)
        heads = [self.model[name].get_submodule("tags") for name in ("MTT", "MSD")]
        parts = [head(part).sigmoid() for head, part in zip(heads, hidden)]
        return torch.cat(parts, dim=1).cpu().numpy()

    def _run(self, patches: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden layers [n, 400] and tags [n, 100], averaged over patches."""
        counts = [len(part) for part in patches]
        stacked = torch.cat(list(patches))  # [p, PATCH, BANDS]
        part = CPU_BATCH if self._device.type == "cpu" else GPU_BATCH
        outputs = [[self.model[name](some) for some in stacked.split(part)] for name in ("MTT", "MSD")]
        embedding = torch.cat([torch.cat([part[0] for part in output]) for output in outputs], dim=1)  # [p, 400]
        tags = torch.cat([torch.cat([part[1] for part in output]) for output in outputs], dim=1)  # [p, 100]
        means = [torch.stack([part.mean(dim=0) for part in rows.split(counts)]) for rows in (embedding, tags)]
        return means[0], means[1]

    def _patches(self, sound: NDArray[np.float32]) -> Tensor:
        """The log mel spectrogram in whole patches; what is shorter than one is repeated. -> [p, PATCH, BANDS]"""
        mel = self._mel(torch.from_numpy(sound).to(self._device))  # [t, BANDS]
        mel = torch.log10(10_000 * mel + 1)
        if len(mel) < PATCH:
            mel = mel.repeat(-(-PATCH // len(mel)), 1)
        count = len(mel) // PATCH
        return mel[: count * PATCH].reshape(count, PATCH, BANDS)


class Tagger(nn.Module):
    """Wide filters over frequency (timbre) and long ones over time (rhythm), three layers over time, pooling."""

    def __init__(self) -> None:
        super().__init__()
        kernels = [*TIMBRAL, *TEMPORAL, (7, FRONT), (7, 64), (7, 64)]
        channels = [204, 204, 51, 51, 51, 64, 64, 64]
        self.input_norm = nn.BatchNorm2d(1, eps=1e-3)
        self.blocks = nn.ModuleList(Block(kernel, number) for kernel, number in zip(kernels, channels))
        self.pool_norm = nn.BatchNorm1d(2 * (FRONT + 3 * 64), eps=1e-3)
        self.embedding = nn.Linear(2 * (FRONT + 3 * 64), 200)
        self.embedding_norm = nn.BatchNorm1d(200, eps=1e-3)
        self.tags = nn.Linear(200, 50)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """[p, t, f] -> hidden layer [p, 200], probabilities [p, 50]"""
        x = self.input_norm(mel[:, None])  # [p, 1, t, f]
        front = torch.cat([recomputed(block, x) for block in self.blocks[:5]], dim=1)  # [p, c, t]
        layers, before = [front], front
        for number, block in enumerate(self.blocks[5:]):
            after = block(before.transpose(1, 2)[:, None])  # [p, 64, t]
            before = after if number == 0 else after + before
            layers.append(before)
        over_time = torch.cat(layers, dim=1)  # [p, c, t]
        # Flattened as in TensorFlow, where maximum and mean of a channel stand side by side.
        pooled = torch.stack([over_time.amax(dim=2), over_time.mean(dim=2)], dim=2).flatten(1)  # [p, 2 c]
        hidden = self.embedding_norm(F.relu(self.embedding(self.pool_norm(pooled))))
        return hidden, self.tags(hidden).sigmoid()


class Block(nn.Module):
    """Convolution padded over time to the same length, ReLU, normalisation, and the maximum over frequency."""

    def __init__(self, kernel: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm1d(channels, eps=1e-3)
        self.pad = (0, 0, (kernel[0] - 1) // 2, kernel[0] // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[p, 1, t, f] -> [p, c, t]"""
        lowest, highest = self.convolution(F.pad(x, self.pad)).aminmax(dim=3)
        # ReLU and normalisation are monotonous, so the maximum may be taken before them, on far fewer numbers later;
        # where the normalisation turns the sign, the maximum comes from the minimum.
        best = torch.where(self.norm.weight[:, None] > 0, highest, lowest)
        return self.norm(F.relu(best))
