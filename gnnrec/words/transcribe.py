"""What is said in the sounds of a catalogue, as one more text of its items: of a talk or a song its words."""

from pathlib import Path

from gnnrec.datasets import Catalog
from gnnrec.encoders import EncodersConfig, speech
from gnnrec.encoders.media import Unreadable
from gnnrec.encoders.speech import SpeechModel
from gnnrec.errors import UserError
from gnnrec.language.answers import AnswerCache, key_of
from gnnrec.language.sanitize import clean_text
from gnnrec.progress import progress
from gnnrec.words.describe import Description, Descriptions, hash_of_file

TRANSCRIBED = "transcribed.sqlite"  # in the folder `words` of the cache


def transcribe(catalog: Catalog | None, encoders: EncodersConfig, cache: Path) -> Descriptions:
    """Every sound that can be read and in which speech is heard, once for its content.

    cache: the folder of what was heard; that there was no speech is kept too.
    Raises UserError where encoders.speech is "none" or not here.
    """
    if encoders.speech == "none":
        raise UserError("graph.transcripts: needs a speech model, but encoders.speech is 'none'")
    paths = ((catalog.media or {}) if catalog else {}).get("audio", ())
    rows: list[Description] = []
    if not any(paths):
        return Descriptions()
    model = SpeechModel(encoders.speech)
    how = f"transcribe {speech.VERSION} {model.name} {encoders.audio_seconds:g}"
    with AnswerCache(cache / TRANSCRIBED) as kept:
        for row, path in enumerate(progress(paths, text=f"listening by {model.name}", unit="sound")):
            content = hash_of_file(path)
            if path is None or content is None:
                continue
            text = kept.get(key := key_of([how, content]))
            if text is None:
                try:
                    text = clean_text(model.transcribe(path, encoders.audio_seconds))
                except Unreadable:
                    continue
                kept.put(key, text)
            if text:
                rows.append(Description(row, "audio", text, model.name))
    return Descriptions(tuple(rows))
