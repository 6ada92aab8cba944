"""The commands around the service, as `commands.py` has the others."""

import argparse
import math
import sys
from functools import partial
from typing import TYPE_CHECKING

from gnnrec.errors import UserError, missing_extra

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig


def serve(options: argparse.Namespace) -> None:
    try:
        from gnnrec.serve.server import run_server
    except ModuleNotFoundError as error:
        raise missing_extra("serve", str(error.name)) from error
    from gnnrec.serve.settings import ServeConfig

    config = ServeConfig(
        rate=options.rate,
        timeout=options.timeout,
        max_body=megabytes(options.max_mb),
        origins=tuple(options.allow_origin),
        private_scoring=options.private_scoring,
        retention_days=options.retention_days,
        cached_lists=options.cached_lists,
        llm=language_model(options),
    )
    given = {name: getattr(options, name) for name in ("host", "port", "runs", "compare", "feedback", "keys", "tls")}
    say = partial(print, flush=True)  # a pipe is told at once, too
    warn = partial(say, file=sys.stderr)
    run_server(options.run, **given, encrypt=options.encrypt, config=config, say=say, warn=warn)


def megabytes(typed: float) -> int:
    """In bytes. Raises UserError where there are none, or no end of them."""
    if not (1 << 20) * typed >= 1 or typed == math.inf:
        raise UserError(f"serve --max-mb: found {typed:g}; allowed: above 0, and a number")
    return int(typed * (1 << 20))


def language_model(options: argparse.Namespace) -> "LLMConfig | None":
    """What is to reorder lists, if anything; without it a service need not import what it takes."""
    if not options.rerank:
        if options.set:
            raise UserError("serve --set: goes with --rerank")
        return None
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.recipe import load_settings

    (config,) = load_settings({"llm": LLMConfig}, options.set)
    return config


def key(options: argparse.Namespace) -> None:
    from gnnrec.serve.security import add_key

    print(add_key(options.file, options.name, "admin" if options.admin else "client"))
