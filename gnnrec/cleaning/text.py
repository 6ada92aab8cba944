"""Texts of items and users: markup, letters that were decoded wrongly, another language than the catalogue's."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.entities import html5
from html.parser import HTMLParser

from gnnrec.cleaning.contents import Owners
from gnnrec.cleaning.finding import Cell, Finding, empty, shorten
from gnnrec.cleaning.settings import CleanConfig
from gnnrec.errors import missing_extra
from gnnrec.progress import progress

# Tags of HTML alone: <3, <unk> and a < b stand in many texts that hold no markup.
HTML = (
    "a abbr address article aside audio b big blockquote body br button canvas center cite code col dd del details div "
    "dl dt em embed fieldset figcaption figure font footer form frame h1 h2 h3 h4 h5 h6 head header hr html i iframe "
    "img input ins kbd label li link main mark meta nav noscript object ol option p param picture pre q s samp script "
    "section select small source span strike strong style sub summary sup svg table tbody td textarea tfoot th thead "
    "time title tr tt u ul var video wbr"
)
TAGS = frozenset(HTML.split())
TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)(?:\s[^<>]*)?/?>|<!--.*?-->", re.DOTALL)
ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]*);")
HIDDEN = ("script", "style", "head")  # what stands in these is never shown
INNER = "a abbr b big cite code del em font i ins kbd mark q s samp small span strike strong sub sup tt u var wbr"
INLINE = frozenset(INNER.split())
MOST_LAYERS = 3  # of escaping: &amp;amp;
LOST = "\ufffd"  # stands where a letter could not be decoded
ASIDES = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")  # original titles and the like, in any language
LONGEST_JUDGED = 500  # letters from which the language of a text is known
FEWEST_JUDGED = 20  # texts from which the languages of a catalogue are known
# Widely written languages: with all that lingua knows, short English texts pass for Latin or Tagalog.
LANGUAGES = (
    *("ARABIC", "BOKMAL", "BULGARIAN", "CHINESE", "CZECH", "DANISH", "DUTCH", "ENGLISH", "FINNISH", "FRENCH"),
    *("GERMAN", "GREEK", "HEBREW", "HINDI", "HUNGARIAN", "INDONESIAN", "ITALIAN", "JAPANESE", "KOREAN", "PERSIAN"),
    *("POLISH", "PORTUGUESE", "ROMANIAN", "RUSSIAN", "SPANISH", "SWEDISH", "THAI", "TURKISH", "UKRAINIAN"),
    "VIETNAMESE",
)


def find_text(owners: Owners, config: CleanConfig) -> Iterator[Finding]:
    """html, mojibake and language, of each text column by itself."""
    fix = mojibake_fixer() if config.wants("mojibake") and owners.raw.text else None
    ids = owners.ids
    for column in owners.raw.text:
        cells = owners.cells(column)
        judged = judge_languages(cells, config) if config.wants("language") else {}
        cache: dict[str, list[tuple[str, str, Callable[[str], str] | None]]] = {}
        for row, cell in enumerate(cells):
            if cell and cell not in cache:
                cache[cell] = [*faults(cell, fix), *judged.get(cell, ())]
            for kind, reason, rewrite in cache.get(cell, ()):
                yield Finding(
                    kind=kind,
                    file=owners.raw.table.file,
                    line=owners.lines[row],
                    id=ids[row],
                    column=column,
                    value=shorten(cell),
                    reason=reason,
                    edit=Cell(owners.name, row, column, rewrite) if rewrite else None,
                )


def faults(cell: str, fix: Callable[[str], str] | None) -> Iterator[tuple[str, str, Callable[[str], str] | None]]:
    """Kind, reason and what mends it. Letters are looked at behind the markup, where entities may hide them."""
    found = markup(cell)
    if found:
        yield "html", f"markup: {', '.join(found)}", strip_markup
    if fix is None:
        return
    text = strip_markup(cell) if found else cell
    fixed = fix(text)
    if fixed != text:
        yield "mojibake", f"decoded wrongly, should be: {shorten(fixed)}", fix
    elif LOST in text:
        yield "mojibake", "a letter was lost (U+FFFD) and cannot be restored", None


def markup(text: str) -> list[str]:
    """The tags and entities in a text, each once, the first three."""
    if "<" not in text and "&" not in text:
        return []
    tags = [found[0] for found in TAG.finditer(text) if found[1] is None or found[1].lower() in TAGS]
    entities = [found[0] for found in ENTITY.finditer(text) if found[1][0] == "#" or f"{found[1]};" in html5]
    return [shorten(part) or "" for part in dict.fromkeys(tags + entities)][:3]


class Shown(HTMLParser):
    """The text that a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.hidden += tag in HIDDEN
        self.see(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.see(tag)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in HIDDEN))
        self.see(tag)

    def see(self, tag: str) -> None:
        if tag not in TAGS:
            self.parts.append(self.get_starttag_text() or "")  # no HTML: a word in angle brackets
        elif tag not in INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def strip_markup(text: str) -> str:
    """Without tags and entities, with single blanks; text that was escaped several times is stripped as often."""
    for _ in range(MOST_LAYERS):
        if not markup(text):
            break
        parser = Shown()
        parser.feed(text)
        parser.close()
        text = " ".join("".join(parser.parts).split())
    return text


def mojibake_fixer() -> Callable[[str], str]:
    """ftfy's repair of the encoding alone: quotes, ligatures and widths of letters stay as they are."""
    try:
        from ftfy import fix_encoding
    except ImportError as error:
        raise missing_extra("clean", "ftfy") from error
    fix: Callable[[str], str] = fix_encoding
    return fix


def judge_languages(
    cells: Sequence[str], config: CleanConfig
) -> Mapping[str, list[tuple[str, str, Callable[[str], str] | None]]]:
    """Cells in a language that less than language_share of the texts are written in.

    Nothing is judged where fewer than FEWEST_JUDGED texts are long and plain enough to tell.
    """
    words = {cell: ASIDES.sub(" ", strip_markup(cell))[:LONGEST_JUDGED] for cell in dict.fromkeys(cells) if cell}
    long = {cell: text for cell, text in words.items() if sum(map(str.isalpha, text)) >= config.letters}
    if len(long) < FEWEST_JUDGED:
        return {}
    detect = language_detector()
    told = {cell: detect(text) for cell, text in progress(long.items(), text="telling languages", unit="text")}
    sure = {cell: found for cell, found in told.items() if found[1] >= config.language_confidence}
    counts = Counter(language for language, _ in sure.values())
    if len(sure) < FEWEST_JUDGED:
        return {}
    main = {language for language, number in counts.items() if number >= config.language_share * len(sure)}
    names = ", ".join(sorted(main))
    return {
        cell: [("language", f"{language} ({confidence:.0%}), where the others are {names}", empty)]
        for cell, (language, confidence) in sure.items()
        if language not in main
    }


def language_detector() -> Callable[[str], tuple[str, float]]:
    """Text -> its likeliest language and how sure that is, by lingua, which brings its model along."""
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError as error:
        raise missing_extra("clean", "lingua-language-detector") from error
    languages = [language for language in Language.all() if language.name in LANGUAGES]
    detector = LanguageDetectorBuilder.from_languages(*languages).build()

    def detect(text: str) -> tuple[str, float]:
        best = detector.compute_language_confidence_values(text)[0]
        return best.language.name.capitalize(), best.value

    return detect
