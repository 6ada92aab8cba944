"""Speech in a sound as text, by Whisper (Radford et al. 2022, arXiv:2212.04356) in faster-whisper.

What is no speech gives no words: a detector of voices (Silero) cuts it out before, and what the model itself holds for
no speech, for unlikely or for a repetition is dropped after.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.media import read_audio
from gnnrec.encoders.pretrained import locate, require
from gnnrec.errors import UserError, first_line, missing_extra
from gnnrec.files import sha256_of_file

VERSION = 1  # of everything here that a transcript depends on; part of a cache's key
RATE = 16_000  # samples a second that Whisper takes
NO_SPEECH = 0.6  # probability above which a segment is dropped; this bound and the next two are Whisper's own
UNLIKELY = -1.0  # mean log probability of a token below which it is
REPEATED = 2.4  # times that zlib makes its text smaller above which it is


def speech_is_here(name: str) -> bool:
    """Whether there is such a model, and what runs it; nothing is opened."""
    there = Path(name).expanduser().is_dir() or locate(name) is not None
    return there and find_spec("faster_whisper") is not None


class SpeechModel:
    """A Whisper model of CTranslate2, by a name of `gnnrec models` or as a folder; on one thread of the CPU.

    Raises UserError where it is not here, and without faster-whisper.
    """

    def __init__(self, name: str) -> None:
        path = Path(name).expanduser()
        folder = path if path.is_dir() else require(name)
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise missing_extra("speech", "faster-whisper") from error
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"encoders.speech: {folder}: cannot be opened: {first_line(error)}") from error
        self.name = f"{name}@{sha256_of_file(folder / 'model.bin')[:12]}"

    def transcribe(self, path: Path, seconds: float) -> str:
        """What is said in the first `seconds` of a sound, in its own language; "" for nothing. Raises Unreadable."""
        return self.words(read_audio(path, RATE, seconds))

    def words(self, sound: NDArray[np.float32]) -> str:
        """As `transcribe`, of mono sound at RATE."""
        segments, _ = self._model.transcribe(
            sound,
            temperature=0.0,  # the others are drawn at random: the same sound has the same words
            vad_filter=True,
            condition_on_previous_text=False,  # else a mistake is repeated to the end
            no_speech_threshold=None,  # applied below, without exception
        )
        return " ".join(segment.text.strip() for segment in segments if _is_speech(segment)).strip()


def _is_speech(segment: Any) -> bool:
    sure = segment.no_speech_prob <= NO_SPEECH and segment.avg_logprob >= UNLIKELY
    return bool(sure and segment.compression_ratio <= REPEATED)
