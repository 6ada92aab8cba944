"""Start and stop: a run is read, then the port is opened; at the end what was begun is finished."""

import gc
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from gnnrec.errors import UserError, first_line
from gnnrec.run_folder import Run
from gnnrec.serve.app import build_app
from gnnrec.serve.guard import LOCAL
from gnnrec.serve.security import Keys
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig
from gnnrec.vault import encrypt_file, is_encrypted

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig

GRACE = 10  # seconds that requests under way are waited for at the end
SWITCH = 0.001  # seconds after which a thread that computes lets the one that answers go on


def check_private(run: Run, config: ServeConfig) -> None:
    """Raises UserError where encrypted vectors cannot be scored by this run, or are longer than a request may be."""
    from gnnrec.privacy.homomorphic import check_installed, most_bytes

    check_installed()
    needed = most_bytes(run.item_vectors.shape[1])
    if needed > config.max_body:
        found, allowed = config.max_body / (1 << 20), -(-needed // (1 << 20))
        raise UserError(
            f"serve --max-mb: found {found:g}; allowed with --private-scoring and this run: {allowed} or more"
        )


def check_rerank(run: Run, config: "LLMConfig") -> None:
    """Raises UserError where the language model is not here, or the items have no text; it is opened again later."""
    from gnnrec.llm.settings import open_scorer

    open_scorer(run, config)


def run_server(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    runs: Path | None = None,
    compare: Path | None = None,
    feedback: Path | None = None,
    keys: Path | None = None,
    tls: Sequence[Path] | None = None,
    encrypt: bool = False,
    config: ServeConfig | None = None,
    say: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve until SIGINT or SIGTERM. port: 0 for any that is free.

    runs: whose folders /admin/run may change to, by default the folder that the run is in. compare: a second run, whose
    lists the page shows beside. feedback: the log of /feedback, by default beside the run. tls: a certificate (with
    its chain) and its key, PEM. encrypt: the feedback log, which is encrypted anyway where the run is. Raises UserError
    for a folder that is no run, for files that cannot be used, for a port that is taken, and without keys for a host
    that others can reach.
    """
    config, run = config or ServeConfig(), run.resolve()
    local = host in LOCAL or host == "::1"
    if keys is None and not local:
        raise UserError(f"serve --host {host}: others can reach it, so it needs --keys FILE (gnnrec key makes one)")
    known = None if keys is None else Keys(keys)
    if not local and tls is None:
        warn(f"serve --host {host}: without --tls CERT KEY, keys and answers can be read on their way")
    feedback = feedback or run.with_name(f"{run.name}.feedback.jsonl")
    if encrypt or is_encrypted(run):
        encrypt_file(feedback)
    certificate, private = tls or (None, None)
    sys.setswitchinterval(SWITCH)
    gc.disable()  # nothing that is loaded at the start is garbage; `Service.warm_up` ends with it on

    service = Service(run, runs or run.parent, feedback, config, compare)
    if config.private_scoring:
        check_private(service.served.run, config)
    if config.llm is not None:
        check_rerank(service.served.run, config.llm)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(service, known, config, LOCAL if local else None),
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            log_config=None,  # its own would close handlers of other libraries, and with absl's whatever stderr was
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the rate of a caller goes by her own address
            timeout_graceful_shutdown=GRACE,
            ssl_certfile=certificate,
            ssl_keyfile=private,
        )
    )
    try:
        server.config.load()
    except (ssl.SSLError, OSError) as error:
        raise UserError(f"serve --tls {certificate} {private}: cannot be used ({first_line(error)})") from error
    if server.config.ssl is not None:
        server.config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        socket = server.config.bind_socket()
    except SystemExit as error:  # uvicorn has said why in its log
        raise UserError(f"serve --port {port}: cannot be opened on {host}") from error
    socket.listen(server.config.backlog)  # who reads the next line may connect
    scheme = "http" if tls is None else "https"
    say(f"serving {service.served.name} on {scheme}://{host}:{socket.getsockname()[1]}; feedback goes to {feedback}")
    server.run(sockets=[socket])
