"""The classes of encoders: by name, else by what Hugging Face keeps of a modality."""

from typing import Any

from gnnrec.encoders.efficientnet import EfficientNetEncoder
from gnnrec.encoders.huggingface import HuggingFaceAudioEncoder, HuggingFaceImageEncoder, HuggingFaceTextEncoder
from gnnrec.encoders.log_mel import LogMelEncoder
from gnnrec.encoders.musicnn import MusicnnEncoder
from gnnrec.encoders.opencv import OpenCVEncoder
from gnnrec.encoders.resemblyzer import ResemblyzerEncoder
from gnnrec.encoders.use import UseEncoder

ENCODERS: dict[str, dict[str, Any]] = {  # modality -> name -> class, made from (folder, name, device)
    "text": {"use": UseEncoder, "minilm": HuggingFaceTextEncoder},
    "image": {"efficientnet_lite0": EfficientNetEncoder},
    "audio": {"musicnn": MusicnnEncoder, "resemblyzer": ResemblyzerEncoder},
}
HUGGING_FACE: dict[str, Any] = {  # modality -> class of all other folders, made likewise
    "text": HuggingFaceTextEncoder,
    "image": HuggingFaceImageEncoder,
    "audio": HuggingFaceAudioEncoder,
}
HANDMADE: dict[str, dict[str, Any]] = {  # modality -> name -> class, made from (device,): nothing learnt, no weights
    "text": {},
    "image": {"opencv": OpenCVEncoder},
    "audio": {"log_mel": LogMelEncoder},
}
