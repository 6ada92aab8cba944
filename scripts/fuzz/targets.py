"""Everything that reads what strangers may have written, as functions of bytes: a UserError or an answer, nothing else.

Each target writes the bytes where the product would find them and calls the product as a command does. `seeds` are
whole files, from which a fuzzer goes on. tests/test_corpus.py replays what was found through the same targets.
"""

import io
import json
import shutil
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from encoder_targets import encoder_targets
from PIL import Image
from sealed_targets import sealed_targets
from table_targets import table_targets
from target import Target
from vector_targets import vector_targets

from gnnrec.checkpoint import load_checkpoint
from gnnrec.datasets import Dataset, planted, read_events
from gnnrec.datasets.sources.partitions import Partitions, open_partitions
from gnnrec.due import read_due
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.media import decode_audio, read_image
from gnnrec.export import export_embeddings, import_embeddings
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import train
from gnnrec.privacy.exports import read_export
from gnnrec.recipe import Recipe, load_recipe, parse_toml
from gnnrec.run_folder import Run
from gnnrec.serve.security import Keys
from gnnrec.tensor_files import save_tensors
from gnnrec.tracking import read_log

LOG = b"user,item,rating,timestamp\na,x,5,10\nb,y,4,20\na,y,3,30\n"
ITEMS = b"item,title,cover\nx,Ex,\ny,Why,\n"
TOML = (
    b'name = "made"\n[interactions]\npath = "log.csv"\ntimestamp = "timestamp"\nrating = "rating"\nmin_rating = 3\n'
    b'[items]\npath = "items.csv"\ntext = "title"\nimage = "cover"\n[split]\nmethod = "leave_last"\n'
)
DUE = b'{"due": [{"key": "00ff", "digest": "ab", "since": "2026-01-01T00:00:00Z"}]}'
EXPORTED = (
    b'{"formats": ["npy"], "columns": [], "precision": "fp32", "dim": null, "pseudonyms": false, "k_anonymity": 0,'
    b' "encrypt": false}'
)
KEYS = b'{"keys": [{"name": "a", "role": "admin", "sha256": "00"}]}'
NAMED = b'[interactions]\npath = "%s"\n[items]\npath = "items.csv"\ntext = "title"\n'
SETTINGS = ("train.epochs=2", "model.dim=8", "train.batch_size=128")


class Workshop:
    """A place with a dataset, a run and exports, in which one file at a time is somebody else's."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @cached_property
    def run(self) -> Path:
        data = self._folder("planted")
        made = planted("text", num_users=20, num_items=16)
        log = made.interactions
        pl.DataFrame(
            {"user": [made.user_ids[user] for user in log.user], "item": [made.item_ids[item] for item in log.item]}
        ).write_csv(data / "log.csv")
        pl.DataFrame({"item": made.item_ids, "title": [f"T {name}" for name in made.item_ids]}).write_csv(
            data / "items.csv"
        )
        np.save(data / "text.npy", made.item_features["text"])
        (data / "dataset.toml").write_bytes(NAMED % b"log.csv" + b'[features.text]\npath = "text.npy"\n')
        return train(Dataset.load(data), self.place / "run", load_recipe(overrides=SETTINGS)).folder

    @cached_property
    def broken_run(self) -> Path:
        return Path(shutil.copytree(self.run, self.place / "broken"))

    @cached_property
    def listed(self) -> Path:
        """A run that ranks by lists that were made, not by embeddings."""
        data = Dataset.load(self.run.with_name("planted"))
        return train(data, self.place / "listed", load_recipe("item_knn")).folder

    def dataset(self, name: str, others: Mapping[str, bytes]) -> Callable[..., object]:
        """Loads a dataset folder whose file `name` is the fuzzed one."""
        folder = self._folder(f"data-{len(list(self.place.iterdir()))}")
        for other, content in others.items():
            (folder / other).write_bytes(content)

        def read(data: bytes, partitions: tuple[Partitions, ...] = ()) -> object:
            (folder / name).write_bytes(data)
            return Dataset.load(folder, None, None, partitions)

        return read

    def run_file(self, name: str) -> Callable[[bytes], object]:
        """Loads a run whose file `name` is the fuzzed one, and uses all of it."""
        folder, good = self.broken_run, (self.run / name).read_bytes()
        told = json.loads((self.run / "run.json").read_bytes())

        def read(data: bytes) -> object:
            path = folder / name
            path.write_bytes(data)
            if name == "settings.toml":  # whoever changes it changes its hash too
                told["settings_sha256"] = sha256_of_file(path)
                (folder / "run.json").write_text(json.dumps(told))
            try:
                return read_log(folder) if name == "log.jsonl" else use(Run.load(folder))
            finally:
                path.write_bytes(good)
                if name == "settings.toml":
                    shutil.copy(self.run / "run.json", folder / "run.json")

        return read

    def export_file(self, format: str, name: str) -> Target:
        folder, random = self.place / f"export-{format}-{name}", np.random.default_rng(0)
        user, item = (random.normal(size=(n, 4)).astype(np.float32) for n in (5, 7))
        ids = [f"u{n}" for n in range(5)], [f"i{n}" for n in range(7)]
        export_embeddings(user, item, *ids, folder, [format])

        def read(data: bytes) -> object:
            (folder / name).write_bytes(data)
            return import_embeddings(folder, format)

        return Target(read, ((folder / name).read_bytes(),))

    def lists(self) -> Target:
        path = self.listed / "lists.safetensors"

        def read(data: bytes) -> object:
            path.write_bytes(data)
            run = Run.load(self.listed)
            return run.user_list(0), run.lists

        return Target(read, (path.read_bytes(),))

    def served_lists(self) -> Target:
        """The lists of a run as commands and services give them: with ids and titles of the items in them."""
        from gnnrec.recommend import Recommender
        from gnnrec.serve.served import Known, Served

        folder = Path(shutil.copytree(self.listed, self.place / "served"))
        path, users = folder / "lists.safetensors", range(len(Run.load(folder).user_ids))

        def read(data: bytes) -> object:
            path.write_bytes(data)
            recommender = Recommender(Run.load(folder))
            said = [recommender.recommend(user=f"u{user}", k=5) for user in users]
            return said, Served(folder, 0).known([Known(user, 5) for user in users])

        return Target(read, (path.read_bytes(),))

    def tuned(self) -> Target:
        """What is read of a tuned language model before the model itself is opened."""
        from gnnrec.llm.cards import CARD_VERSION
        from gnnrec.llm.tuned_scorer import DOWN, FILE, Tuned, read_tuned

        run = Run.load(self.broken_run)
        told = Tuned(
            **{"weights": sha256_of_file(run.folder / "weights.safetensors"), "model": "tiny", "revision": "tiny@1"},
            **{"noun": "films", "history": 4, "fields": "title", "rank": 2, "projectors": True, "soft": True},
            **{"controls": {"real": {"ndcg@10": 0.5}}, "settings": {"rank": 2}, "wording": CARD_VERSION},
        )
        path = run.folder / FILE
        save_tensors(path, {f"adapter.q_proj{DOWN}weight": torch.ones(2, 4)}, {"tuned": json.dumps(told.to_json())})

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return read_tuned(run)

        return Target(read, (path.read_bytes(),))

    def file(self, name: str, reader: Callable[[Path], object]) -> Callable[[bytes], object]:
        path = self._folder(f"file-{name}") / name

        def read(data: bytes) -> object:
            path.write_bytes(data)
            return reader(path)

        return read

    def _folder(self, name: str) -> Path:
        folder = self.place / name
        folder.mkdir()
        return folder


def use(run: Run) -> None:
    """All that commands take from a run."""
    run.recipe, run.metrics, run.known, run.graph, run.known_graph  # noqa: B018
    run.model(run.graph)
    run.item_vectors, run.user_vector(0), run.user_vectors, run.frozen
    if not run.ranks_by_embeddings:
        run.user_list(0), run.lists
    if run.items is not None:
        run.items.titles(), run.items.text()
    read_log(run.folder)
    run._repr_html_()


def targets(place: Path) -> Iterator[tuple[str, Callable[[], Target]]]:
    """Name -> what makes the target, in an empty folder; only the one that is asked for is made."""
    shop = Workshop(place)
    both = {"items.csv": ITEMS, "log.csv": LOG}
    yield "dataset.toml", lambda: Target(shop.dataset("dataset.toml", both), (TOML, NAMED % b"log.csv"))
    yield "log.csv", lambda: Target(shop.dataset("log.csv", {"items.csv": ITEMS, "dataset.toml": TOML}), (LOG,))
    yield "items.csv", lambda: Target(shop.dataset("items.csv", {"log.csv": LOG, "dataset.toml": TOML}), (ITEMS,))
    for name, seed in (("log.parquet", parquet()), ("log.csv.gz", zipped())):
        told = {"items.csv": ITEMS, "dataset.toml": NAMED % name.encode()}
        yield name, lambda name=name, seed=seed, told=told: Target(shop.dataset(name, told), (seed,))
    given = both | {"dataset.toml": NAMED % b"log.csv" + b'[features.text]\npath = "text.npy"\n'}
    yield "text.npy", lambda: Target(shop.dataset("text.npy", given), (npy(np.eye(2, dtype=np.float32)),))
    atomic = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\na\tx\t5\t10\nb\ty\t4\t20\n"
    yield "a.inter", lambda: Target(shop.dataset("a.inter", {}), (atomic, b"userID\titemID\tx_label\na\tx\t0\n"))
    stars = b"userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,3,4.0,964981247\n2,1,5,1\n"
    yield "ratings.csv", lambda: Target(shop.dataset("ratings.csv", {}), (stars,))
    told_of = b'{"user": "1", "item": "318", "timestamp": 1790000000, "rating": 4.5}\n'
    yield "feedback.jsonl", lambda: Target(shop.file("f.jsonl", read_events), (told_of, told_of * 2 + told_of[:9]))
    yield "keys.json", lambda: Target(shop.file("keys.json", Keys), (KEYS,))
    yield "encoder.json", lambda: Target(shop.file("encoder.json", facts), (b'{"kind": "lsa", "modality": "text"}',))
    yield "recipe", lambda: Target(recipe, (load_recipe().to_toml().encode(), b"[train]\nepochs = 3\n"))
    yield "picture", lambda: Target(shop.file("picture", read_image), tuple(pictures()))
    yield "sound", lambda: Target(shop.file("sound", lambda path: decode_audio(path, 1.0)), tuple(sounds()))
    yield "checkpoint", lambda: checkpoint(shop)
    for name in (
        *("run.json", "settings.toml", "metrics.json", "log.jsonl", "items.parquet", "users.parquet"),
        *("graph.safetensors", "weights.safetensors", "embeddings.safetensors"),
    ):
        yield f"run/{name}", lambda name=name: Target(shop.run_file(name), ((shop.run / name).read_bytes(),))
    yield "run/lists.safetensors", shop.lists
    yield "served/lists.safetensors", shop.served_lists
    yield "run/tuned.safetensors", shop.tuned
    yield from encoder_targets(place)
    yield from sealed_targets(place)
    yield from vector_targets(place)
    yield from table_targets(place, shop)
    for name in ("interactions", "items"):
        yield f"update/{name}.parquet", lambda name=name: partition(shop, name)
    for name, reader, seed in (("due.json", read_due, DUE), ("export.json", read_export, EXPORTED)):
        yield (
            name,
            lambda name=name, reader=reader, seed=seed: Target(
                shop.file(name, lambda path: reader(path.parent)), (seed,)
            ),
        )
    for format, name in (
        *(("npy", "items.npy"), ("npy", "items.ids.json"), ("safetensors", "embeddings.safetensors")),
        *(("parquet", "items.parquet"), ("faiss", "items.faiss")),
    ):
        yield f"export/{name}", lambda format=format, name=name: shop.export_file(format, name)


def recipe(data: bytes) -> Recipe:
    return Recipe.from_dict(parse_toml(data.decode(errors="replace"), "recipe"), "recipe")


def facts(path: Path) -> object:
    return read_facts(path.parent)


def checkpoint(shop: Workshop) -> Target:
    from gnnrec.checkpoint import TrainState, save_checkpoint

    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    path = shop.place / "good.safetensors"
    save_checkpoint(path, TrainState(), {"model": {"weight": weight}}, optimizer, "settings")
    read = shop.file("checkpoint", lambda path: load_checkpoint(path, optimizer, "settings"))
    return Target(read, (path.read_bytes(),))


def partition(shop: Workshop, name: str) -> Target:
    """A table of what came later, below a dataset of its own."""
    later = {
        "interactions": {"user": ["a", "c"], "item": ["y", "z"], "rating": [5, 4], "timestamp": [40, 50]},
        "items": {"item": ["z"], "title": ["Zet"], "cover": [None]},
    }
    files = {file: parquet(pl.DataFrame(columns)) for file, columns in later.items()}
    load = shop.dataset("log.csv", {"items.csv": ITEMS, "dataset.toml": TOML})
    parts = shop.place / f"parts-{name}"
    parts.mkdir()
    for file, content in files.items():
        (parts / f"{file}.parquet").write_bytes(content)

    def read(data: bytes) -> object:
        (parts / f"{name}.parquet").write_bytes(data)
        return load(LOG, (open_partitions(parts),))

    return Target(read, (files[name],))


def parquet(table: pl.DataFrame | None = None) -> bytes:
    buffer = io.BytesIO()
    (pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"]}) if table is None else table).write_parquet(buffer)
    return buffer.getvalue()


def zipped() -> bytes:
    import gzip

    return gzip.compress(LOG, mtime=0)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def pictures() -> Iterator[bytes]:
    colours = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "PPM", "ICO", "TGA"):
        buffer = io.BytesIO()
        Image.fromarray(colours).save(buffer, format)
        yield buffer.getvalue()


def sounds() -> Iterator[bytes]:
    import soundfile

    tone = np.sin(np.arange(2_000) / 5) / 2
    for format, subtype in (
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", None),
        ("AIFF", "PCM_16"),
    ):
        buffer = io.BytesIO()
        soundfile.write(buffer, tone, 8_000, format=format, subtype=subtype)
        yield buffer.getvalue()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 1, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(range(256)) * 16)
    yield buffer.getvalue()


class Asked:
    """The service over a run, asked in process: the bytes are method, path and body of a request, a line each."""

    def __init__(self, run: Path, place: Path, stack: ExitStack) -> None:
        from starlette.testclient import TestClient

        from gnnrec.serve.app import build_app
        from gnnrec.serve.guard import LOCAL
        from gnnrec.serve.service import Service
        from gnnrec.serve.settings import ServeConfig

        service = Service(run, run.parent, place / "told.jsonl", ServeConfig(), None)
        app = build_app(service, None, ServeConfig(), LOCAL)
        self.client = stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

    def __call__(self, data: bytes) -> None:
        path, _, body = data.partition(b"\n")
        kind, _, body = body.partition(b"\n")
        url = "/" + path.decode("latin-1").translate(UNASKABLE).lstrip("/")
        headers = {"content-type": kind.decode("latin-1").translate(UNASKABLE)}
        method = "POST" if body else "GET"
        answer = self.client.request(method, url, content=body, headers=headers, follow_redirects=False)
        assert answer.status_code < 500, f"{answer.status_code}: {answer.text}"


UNASKABLE = dict.fromkeys((*range(32), *range(127, 256)))  # what an HTTP client does not send
ASKED = (
    b"/recommend?user=u0&k=5\n",
    b'/recommend\napplication/json\n{"user": "u0", "k": 3}',
    b'/recommend\napplication/json\n{"history": ["i1", "i2"], "k": 3, "explain": true}',
    b'/feedback\napplication/json\n{"user": "u1", "item": "i2", "timestamp": 5, "rating": 4}',
    b"/recommend\nmultipart/form-data; boundary=b\n"
    b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nu0\r\n--b--',
    b'/admin/run\napplication/json\n{"run": "run"}',
    b"/items/i0/image\n",
    b"/similar?item=i0\n",
    b"/explain?user=u0&item=i3\n",
)


def service_target(place: Path, stack: ExitStack) -> Target:
    return Target(Asked(Workshop(place).run, place, stack), ASKED)
