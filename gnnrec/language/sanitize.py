"""What strangers wrote, made fit for a prompt: letters that can be seen, one line, no markup, no control tokens.

This keeps a text from being more than text (a marker of the chat template, an invisible instruction, a line that
looks like the next section). What it says in plain words it still says: the reranker's structure is what bounds that.
"""

import html
import re
import unicodedata

from gnnrec.errors import NON_JOINER

TAG = re.compile(r"<{1,2}/?[A-Za-z][^<>]{0,200}>{1,2}")
# <|im_start|>, <s>, <start_of_turn>, [INST], <<SYS>> and their like; full-width look-alikes are folded before.
CONTROL = re.compile(
    r"<\|[^<>|]{0,40}\|>|\[/?(?:INST|SYS|SYSTEM|USER|ASSISTANT|TOOL_CALLS?|AVAILABLE_TOOLS)\]|\|{2,}|#{2,}|={3,}|-{3,}|`+|\"{3,}"
)
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format (zero-width, right-to-left), surrogates, private, unassigned
MAX_WORD = 40  # letters; what is longer (base64, urls) is cut


def clean_text(text: str) -> str:
    """One line without markup, unseen letters, control tokens and endless words. The same text for a cleaned one."""
    text = unicodedata.normalize("NFKC", html.unescape(html.unescape(text)))
    text = "".join(" " if letter.isspace() else letter for letter in text)
    text = "".join(letter for letter in text if letter == " " or unicodedata.category(letter) not in UNSEEN)
    previous = None
    while text != previous:  # what stands around a removed marker may form another one
        previous, text = text, CONTROL.sub(" ", TAG.sub(" ", text))
    # Only of ASCII: Chinese and Japanese put no blanks between words.
    return " ".join(word[:MAX_WORD] if word.isascii() else word[: 4 * MAX_WORD] for word in text.split())


def visible(text: str) -> str:
    """The letters of a title that can be seen, on one line: as people know it, and nothing that hides in it."""
    text = "".join(" " if letter.isspace() else letter for letter in html.unescape(text))
    kept = (letter for letter in text if letter in (" ", NON_JOINER) or unicodedata.category(letter) not in UNSEEN)
    return " ".join("".join(kept).split())
