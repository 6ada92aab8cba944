"""Chat templates are programs of whoever made the model. Jinja's sandbox bounds what they reach, but not how long they
run: loops within loops, or one power of large numbers, never end. So one is rendered in a process of its own, which the
kernel ends.

As a program it reads one request, JSON, and writes one answer. It is started by its path and imports nothing of gnnrec,
so that no file of the folder that the user stands in is run in its place.
"""

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 2  # of the processor; templates that are meant well take milliseconds
MEMORY = 512 << 20  # bytes beyond those of the libraries
LONGEST = 100_000  # letters of a frame around messages, which are put in afterwards

Messages = Sequence[Mapping[str, Any]]


class BadTemplate(Exception):
    """What is wrong with it, in one line."""


def render(template: str, conversations: Sequence[Messages], special: Mapping[str, Any]) -> str:
    """The first of the conversations that the template takes, as text that ends where the model answers.

    special: what the tokenizer calls its special tokens. Raises BadTemplate where none is taken, and for a template
    that takes more than SECONDS of the processor.
    """
    request = {"template": template, "conversations": conversations, "special": special}
    command = [sys.executable, "-P", "-W", "ignore", __file__]
    answer = subprocess.run(command, input=json.dumps(request, default=str), capture_output=True, text=True)
    if answer.returncode < 0:
        raise BadTemplate(f"it took more than {SECONDS} s of the processor, or memory without end")
    if answer.returncode:
        raise BadTemplate("its process failed: " + (answer.stderr.strip().splitlines() or ["no reason"])[-1])
    found = json.loads(answer.stdout)
    if "error" in found:
        raise BadTemplate(found["error"])
    return str(found["text"])


def literally(text: str) -> str:
    """A template that says just this text."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


def _bound() -> None:
    """From now on, so that the time of the imports does not count."""
    spent = math.ceil(time.process_time()) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sizes = Path("/proc/self/statm")  # only Linux has it, and keeps this bound
    if sizes.exists():
        held = int(sizes.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))


def _answer(request: Mapping[str, Any]) -> dict[str, str]:
    from transformers.utils.chat_template_utils import render_jinja_template

    _bound()
    why = "no conversation"
    for messages in request["conversations"]:
        try:
            (text,), _ = render_jinja_template(
                [messages], chat_template=request["template"], add_generation_prompt=True, **request["special"]
            )
            text.encode()  # half of a pair is no text
        except Exception as error:  # it is the model's: anything may come
            why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            continue
        return {"text": text} if len(text) <= LONGEST else {"error": f"it makes {len(text):,} letters of a few"}
    return {"error": why}


if __name__ == "__main__":
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)
