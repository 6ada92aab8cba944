"""The command `gnnrec`: what can be typed. What it does is in `commands.py`.

Exit status: 0 done, 1 stopped or failed, 2 something the user can mend; errors are one line on stderr.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import gnnrec
from gnnrec import (
    audit_commands,
    commands,
    content_commands,
    embedding_commands,
    privacy_commands,
    scale_commands,
    scoring_commands,
    serve_commands,
)
from gnnrec.arguments import (
    ENCODER_KINDS,
    SETTING,
    Command,
    file,
    folder,
    length,
    one_of,
    parallel_arguments,
    port,
    recipe,
)
from gnnrec.errors import UserError, printable
from gnnrec.progress import without_progress

SPLITS = ("val", "test")
MASKS = ("train+val", "train")
STUDIES = ("agreement", "alignment", "consumption", "ablation")
NO_DOCUMENT = {"demo", "serve", "key", "report", "make-key"}  # the commands without --json


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # torch_geometric still scripts a helper at import; nothing a user of the command could do about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated")
    warnings.filterwarnings("ignore", message=".*decompression bomb")  # such a picture is set aside and listed
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        with without_progress() if getattr(options, "json", False) else nullcontext():
            options.command(options)
    except UserError as error:
        return _fail(2, str(error))
    except KeyboardInterrupt as stopped:
        return _fail(1, str(stopped) or "stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: head, less
        return 1
    except OSError as error:
        if error.filename is None:
            return _fail(1, f"{type(error).__name__}: {error}")
        return _fail(2, f"{error.filename}: {error.strerror}")
    except Exception as error:
        if os.environ.get("GNNREC_DEBUG"):
            raise
        return _fail(1, f"{type(error).__name__}: {error} (GNNREC_DEBUG=1 shows where)")
    return 0


def _fail(status: int, message: str) -> int:
    print(f"gnnrec: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gnnrec", description="Multimodal recommendations from an interaction log and item content.")
    parser.add_argument("--version", action="version", version=f"gnnrec {gnnrec.__version__}")
    parser.set_defaults(command=None)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example: {example}",
        )
        made.set_defaults(command=command)
        return made

    demo = add(
        "demo", commands.demo, "the main job on the shipped movies data, with a report at the end", "gnnrec demo"
    )
    demo.add_argument("--data", type=folder, help="a dataset folder (default: the movies data of the checkout)")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the runs (default: runs/demo)")
    demo.add_argument("--set", **SETTING)

    train = add(
        "train",
        commands.train,
        "train a model on a dataset folder and keep it as a run",
        "gnnrec train data/movies --out runs/movies --set train.epochs=20",
    )
    train.add_argument("data", type=folder, help="dataset folder")
    train.add_argument("--out", type=Path, required=True, help="new run folder; an interrupted one is resumed")
    train.add_argument("--recipe", type=recipe, help="a shipped recipe or a .toml file (default: default)")
    train.add_argument("--with-feedback", type=file, metavar="FILE", help="a log of gnnrec serve: more interactions")
    train.add_argument("--pseudonyms", action="store_true", help="no ids of users in the run: see gnnrec/privacy")
    train.add_argument("--set", **SETTING)
    train.add_argument(
        "--track", nargs="+", default=[], metavar="KIND:WHERE", help="mlflow:FOLDER_OR_URI, wandb:offline"
    )
    parallel_arguments(train)
    privacy_commands.train_arguments(train)

    search = add(
        "tune-settings",
        commands.tune_settings,
        "search the settings that are best on validation; the same command goes on after a stop",
        "gnnrec tune-settings data/movies --out study --search train.temperature=0.1..0.5:log model.layers=1,2,3",
    )
    search.add_argument("data", type=folder, help="dataset folder")
    search.add_argument(
        "--out", type=Path, required=True, help="folder of the study; best.toml in it is the best recipe"
    )
    search.add_argument(
        "--recipe", type=recipe, help="a shipped recipe or a .toml file to start from (default: default)"
    )
    search.add_argument("--set", **SETTING)
    search.add_argument("--search", **SETTING | {"help": "LOW..HIGH, LOW..HIGH:log or a,b,c (default: by the model)"})
    search.add_argument("--trials", type=int, default=30, help="of the whole study (default: 30)")
    search.add_argument("--minutes", type=float, help="of the whole study (default: no limit)")
    search.add_argument("--seeds", type=int, default=1, help="trainings a trial is the mean of (default: 1)")

    evaluate = add(
        "evaluate",
        commands.evaluate,
        "measure a run by ranking the full catalogue for every user",
        "gnnrec evaluate runs/movies --against runs/ease",
    )
    evaluate.add_argument("run", type=folder)
    evaluate.add_argument("--split", type=one_of(SPLITS), default="test", help="val or test (default: test)")
    evaluate.add_argument("--mask", type=one_of(MASKS), help="train+val or train: which interactions count as known")
    evaluate.add_argument("--against", type=folder, help="another run, compared by paired tests over the same users")
    evaluate.add_argument("--candidates", default="all", help="what is ranked: all; samples are refused (default: all)")
    evaluate.add_argument("--data", type=folder, help="the dataset folder, where it has moved")

    export = add(
        "export",
        embedding_commands.export,
        "write user and item embeddings with their ids to files or a database, and ask these for their ten best",
        "gnnrec export runs/movies --to postgresql://me@localhost/shop",
    )
    embedding_commands.export_arguments(export)

    bring = add(
        "import",
        embedding_commands.import_embeddings,
        "bring embeddings and ids back from a database or a folder of files",
        "gnnrec import lancedb:shop --to data/other/collab --rows-of data/other",
    )
    embedding_commands.import_arguments(bring)

    nearest = add(
        "search",
        embedding_commands.search,
        "the items of a sharded index that are nearest to given vectors, one shard in memory at a time",
        "gnnrec search exported --vectors queries.npy -k 10",
    )
    embedding_commands.search_arguments(nearest)

    recommend = add(
        "recommend",
        commands.recommend,
        "recommend items for a user, like an item, or for any text, picture and sound",
        'gnnrec recommend runs/movies --text "a heist in space" --image cover.jpg',
    )
    recommend.add_argument("run", type=folder)
    recommend.add_argument("--user", help="id of a known user")
    recommend.add_argument("--item", help="id of a known item: what is like it")
    recommend.add_argument("--history", metavar="ID,ID", help="somebody new: ids of items she had, the newest last")
    recommend.add_argument("--text", help="free text, in any language the text encoder knows")
    recommend.add_argument("--image", type=file, help="picture file")
    recommend.add_argument("--audio", type=file, help="sound file; what is said in it, where the run knows no sounds")
    recommend.add_argument("--to-users", action="store_true", help="whom to recommend a new item of this content to")
    recommend.add_argument(
        "--rerank", action="store_true", help="let a language model reorder a user's best candidates"
    )
    recommend.add_argument(
        "--generate",
        action="store_true",
        help="let a language model write a user's list, out of the catalogue's titles",
    )
    recommend.add_argument("--explain", action="store_true", help="say why, from what the graph holds")
    recommend.add_argument(
        "--set", **SETTING | {"help": "llm.key=value, such as llm.noun=movies; gnnrec/llm/settings.py has all"}
    )
    recommend.add_argument("-k", "--k", type=length, default=10, help="length of the list (default: 10)")

    explain = add(
        "explain",
        commands.explain,
        "show what in the graph a recommendation rests on",
        "gnnrec explain runs/movies --user 1 --item 318 --counterfactual",
    )
    explain.add_argument("run", type=folder)
    explain.add_argument("--user", required=True, help="id of a known user")
    explain.add_argument("--item", required=True, help="id of a known item")
    explain.add_argument(
        "--counterfactual",
        action="store_true",
        help="take what is told of her past out together, beside as much drawn at random",
    )
    explain.add_argument(
        "--set", **SETTING | {"help": "llm.key=value; llm.phrase=true lets a language model phrase the reasons"}
    )

    tune = add(
        "tune",
        commands.tune,
        "tune a language model to reorder a run's best candidates; the same command goes on after a stop",
        "gnnrec tune runs/movies --set llm.noun=movies",
    )
    tune.add_argument("run", type=folder)
    tune.add_argument(
        "--set", **SETTING | {"help": "tune.key=value, llm.key=value; gnnrec/llm/tune.py and settings.py have all"}
    )

    fitting = add(
        "fit-encoder",
        content_commands.fit_encoder,
        "fit an encoder to the content of a dataset, into a folder that encoders.text, image or audio takes",
        "gnnrec fit-encoder data/movies --kind lsa --out encoders/lsa",
    )
    fitting.add_argument("data", type=folder, help="dataset folder")
    fitting.add_argument("--kind", required=True, help=" | ".join(ENCODER_KINDS))
    fitting.add_argument("--out", type=Path, required=True, help="new folder of the encoder")
    fitting.add_argument("--recipe", type=recipe, help="a shipped recipe or a .toml file (default: default)")
    fitting.add_argument(
        "--set", **SETTING | {"help": "encoder.key=value of the kind, augment.key=value, settings of the recipe"}
    )

    describe = add(
        "describe",
        content_commands.describe,
        "put the pictures and sounds of items into words; the data itself is never changed",
        "gnnrec describe data/movies --out described --set describe.model=OWNER/NAME",
    )
    profiles = add(
        "profiles",
        content_commands.profiles,
        "sum up users and items in words, from training interactions only",
        "gnnrec profiles data/movies --out described --set profiles.model=smollm2 profiles.noun=movies",
    )
    for writer in (describe, profiles):
        writer.add_argument("data", type=folder, help="dataset folder")
        writer.add_argument("--out", type=Path, help="folder that a .csv.gz of all texts is written to")
        writer.add_argument("--recipe", type=recipe, help="a shipped recipe or a .toml file (default: default)")
        writer.add_argument("--set", **SETTING)

    inspect = add(
        "inspect", commands.inspect, "show what is in a dataset or a run", "gnnrec inspect data/movies --plots plots"
    )
    inspect.add_argument("folder", type=folder, help="dataset or run folder")
    inspect.add_argument("--plots", type=Path, help="folder to write plots to")
    inspect.add_argument("--user", help="of a run: draw this user's neighbourhood in the graph (needs --plots)")
    inspect.add_argument(
        "--augment", action="store_true", help="of a dataset: contact sheets of augmented content (needs --plots)"
    )
    inspect.add_argument(
        "--set", **SETTING | {"help": "augment.key=value, dropout.key=value; gnnrec/encoders/augment has all"}
    )

    clean = add(
        "clean",
        content_commands.clean,
        "find what is wrong with a dataset, and write a cleaned copy; the original is never changed",
        "gnnrec clean data/movies --to cleaned --repair mojibake,html",
    )
    clean.add_argument("data", type=folder, help="dataset folder")
    clean.add_argument("--to", type=Path, help="new folder for the cleaned copy, with a list of all findings in it")
    clean.add_argument(
        "--repair", metavar="KIND,KIND", help="which findings the copy has repaired, or all (default: what is safe)"
    )
    clean.add_argument("--set", **SETTING | {"help": "clean.key=value; gnnrec/cleaning/settings.py has all"})

    modalities = add(
        "modalities",
        content_commands.modalities,
        "show which modalities agree, which predict what is taken together, and what each one is worth",
        "gnnrec modalities data/movies --out study --plots plots",
    )
    modalities.add_argument("data", type=folder, help="dataset folder")
    modalities.add_argument("--recipe", type=recipe, help="a shipped recipe or a .toml file (default: default)")
    modalities.add_argument("--set", **SETTING)
    modalities.add_argument("--out", type=Path, help="folder of finished trainings; the same command goes on there")
    modalities.add_argument("--plots", type=Path, help="folder to write plots to")
    modalities.add_argument("--seeds", type=length, default=1, help="of alignment and ablation (default: 1)")
    modalities.add_argument("--epochs", type=length, default=20, help="of a training of the ablation (default: 20)")
    modalities.add_argument(
        "--skip",
        type=one_of(STUDIES),
        nargs="+",
        default=[],
        help=f"what to leave out: {', '.join(STUDIES)}, which takes the longest",
    )
    modalities.add_argument(
        "--missing", type=float, nargs="+", default=[], help="also take away such shares of the contents: 0.2 0.5 0.8"
    )

    serve = add(
        "serve",
        serve_commands.serve,
        "answer over HTTP: lists, likeness, reasons and feedback; on this machine alone unless --host says otherwise",
        "gnnrec serve runs/movies --port 8000",
    )
    serve.add_argument("run", type=folder)
    serve.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1); another one needs --keys")
    serve.add_argument("--port", type=port, default=8000, help="0 for any free one (default: 8000)")
    serve.add_argument("--runs", type=folder, help="folder whose runs /admin/run may change to (default: the run's)")
    serve.add_argument("--compare", type=folder, metavar="RUN", help="a second run, shown beside the first on the page")
    serve.add_argument("--feedback", type=Path, metavar="FILE", help="log of /feedback (default: beside the run)")
    serve.add_argument(
        "--keys", type=file, metavar="FILE", help="API keys, made by gnnrec key; without, all are let in"
    )
    serve.add_argument("--tls", type=file, nargs=2, metavar=("CERT", "KEY"), help="PEM files: HTTPS, TLS 1.2 or newer")
    serve.add_argument("--encrypt", action="store_true", help="the feedback log; the key: GNNREC_KEY_FILE=FILE")
    serve.add_argument("--rate", type=float, default=0.0, help="requests a second of one caller (default: 0, no limit)")
    serve.add_argument("--timeout", type=float, default=10.0, help="seconds that a request may take (default: 10)")
    serve.add_argument("--retention-days", type=float, help="drop older feedback (default: as the data; 0: never)")
    serve.add_argument("--max-mb", type=float, default=16.0, help="megabytes of a request (default: 16)")
    serve.add_argument("--cached-lists", type=int, default=20_000, help="lists kept to answer again (default: 20000)")
    serve.add_argument("--allow-origin", nargs="+", default=[], help="web pages of other hosts that may call (CORS)")
    serve.add_argument("--rerank", action="store_true", help="let a language model reorder lists that ask for it")
    serve.add_argument("--set", **SETTING | {"help": "llm.key=value of the language model, as of recommend --rerank"})
    serve.add_argument("--private-scoring", action="store_true", help="score encrypted vectors (the extra he)")

    key = add(
        "key",
        serve_commands.key,
        "make an API key for gnnrec serve; it is shown once, the file keeps its hash",
        "gnnrec key keys.json shop",
    )
    key.add_argument("file", type=Path, help="file of keys; made where it is not there")
    key.add_argument("name", help="whose key it is")
    key.add_argument("--admin", action="store_true", help="may change the run too")

    transfer = add(
        "transfer",
        content_commands.transfer,
        "use a run of the model tower on data that it was not trained on, beside what needs no training",
        "gnnrec transfer runs/tower --data data/other --out runs/other",
    )
    transfer.add_argument("run", type=folder)
    transfer.add_argument("--data", type=folder, required=True, help="dataset folder of other items and users")
    transfer.add_argument("--out", type=Path, help="new run folder: the model on that data, for all other commands")

    scale_commands.add_commands(add)

    report = add(
        "report", commands.report, "write one self-contained HTML file about a run", "gnnrec report runs/movies"
    )
    report.add_argument("run", type=folder)
    report.add_argument("--out", type=Path, help="the file (default: report.html in the run folder)")
    report.add_argument("--against", type=folder, nargs="*", default=[], help="other runs to stand beside it")
    report.add_argument("--study", type=folder, help="a folder of tune-settings")
    report.add_argument("--modalities", type=file, help="what gnnrec modalities --json printed")

    audit_commands.add_commands(add)
    privacy_commands.add_commands(add)
    scoring_commands.add_commands(add)

    models = add("models", commands.models, "list, bring or check the pretrained models", "gnnrec models get use")
    models.add_argument("action", nargs="?", choices=["get", "verify"])
    models.add_argument("name", nargs="*", help="names of models to get, or to verify (default: all that are here)")

    add("doctor", commands.doctor, "what is installed, what is missing, how to get it", "gnnrec doctor")
    for name in verbs.choices.keys() - NO_DOCUMENT:
        verbs.choices[name].add_argument("--json", action="store_true", help="print one JSON document")
    return parser


if __name__ == "__main__":
    sys.exit(main())
