"""Everything that is looked for, in one pass over the media, the texts and the log."""

from collections.abc import Iterator

from gnnrec.cleaning.contents import Contents
from gnnrec.cleaning.duplicates import find_duplicates
from gnnrec.cleaning.finding import Finding
from gnnrec.cleaning.log import find_bots, find_ratings, find_repetitions, find_set_aside, find_timestamps
from gnnrec.cleaning.media import find_media, look_at
from gnnrec.cleaning.settings import KINDS, CleanConfig
from gnnrec.cleaning.text import find_text


def find(contents: Contents, config: CleanConfig, now: float) -> list[Finding]:
    """In the order of KINDS, within a kind in that of the files. `now`: unix seconds, after which nothing happened."""
    wanted = [finding for finding in look(contents, config, now) if config.wants(finding.kind)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(wanted, key=lambda finding: order[finding.kind])


def look(contents: Contents, config: CleanConfig, now: float) -> Iterator[Finding]:
    yield from find_set_aside(contents)
    yield from find_timestamps(contents, now)
    yield from find_repetitions(contents, contents.log)
    yield from find_ratings(contents, config)
    if config.wants("bots"):
        yield from find_bots(contents, config)
    for owners in contents.owners():
        yield from find_text(owners, config)
        looks = look_at(owners, config)
        yield from find_media(owners, looks, config)
        if owners.name == "items":
            yield from find_duplicates(owners, looks, config)
