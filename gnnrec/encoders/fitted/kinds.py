"""The kinds of encoders that can be fitted. A new one is one file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnrec.encoders.fitted.compact import fit_compact, open_compact
from gnnrec.encoders.fitted.compact_texts import SavedTextEncoder
from gnnrec.encoders.fitted.compact_ways import CompactConfig
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.distilled import DistilledConfig, fit_distilled
from gnnrec.encoders.fitted.finetuned import FinetunedConfig, fit_finetuned, open_finetuned
from gnnrec.encoders.fitted.lsa import LsaConfig, LsaEncoder, fit_lsa
from gnnrec.encoders.fitted.recurrent import RecurrentConfig, RecurrentEncoder, fit_recurrent
from gnnrec.encoders.fitted.word_vectors import WordVectorsConfig, WordVectorsEncoder, fit_word_vectors

CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Kind:
    """`fit(corpus, config, folder)` fills the folder and returns what is to be remembered in encoder.json.

    `opened(folder, name, device)` is the encoder.
    """

    modality: str  # or CONFIG: the one that its `modality` says
    config: Any
    fit: Callable[[Corpus, Any, Path], dict[str, Any]]
    opened: Callable[..., Any]
    learns_log: bool = False  # whether train rows, not only contents, are learnt from

    def modality_of(self, config: Any) -> str:
        return config.modality if self.modality == CONFIG else self.modality


KINDS: dict[str, Kind] = {
    "lsa": Kind("text", LsaConfig, fit_lsa, LsaEncoder),
    "recurrent": Kind("audio", RecurrentConfig, fit_recurrent, RecurrentEncoder, learns_log=True),
    "compact": Kind(CONFIG, CompactConfig, fit_compact, open_compact),
    "distilled": Kind("text", DistilledConfig, fit_distilled, SavedTextEncoder),
    "word_vectors": Kind("text", WordVectorsConfig, fit_word_vectors, WordVectorsEncoder),
    "finetuned": Kind(CONFIG, FinetunedConfig, fit_finetuned, open_finetuned, learns_log=True),
}
