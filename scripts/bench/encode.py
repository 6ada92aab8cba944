"""Encoding from disk beside the bare network, and the memory of a large catalogue.

    python scripts/bench/encode.py speed data/movies data/music [--threads 1,2] [--only minilm]
    python scripts/bench/encode.py memory [--items 100000]

speed: the same batches twice in turn, in one process: `encode_contents` from files with an empty cache (hashing,
reading, decoding, batching, the network, writing the cache), and the network alone on tensors that are there. Both give
the same bits, which is checked. Ratios, median over repeats, spread: standard deviation. "wall": wants a second core
that is free of other work; bare_wall_over_cpu says whether there was (1 with one thread). "cpu", of all threads: what
one core alone would have. "thread", CPU of the thread of the network alone: what a second core cannot take from it.
Pictures: posters as they are (84 pixels wide), and enlarged to 600 x 900. Sounds: clips as they are (Opus,
mono, 16 kHz), and three in a row as 44.1 kHz stereo. torchvision's network has random weights.

memory: a catalogue with a text and a picture for every item, of which every file is another one, encoded by the
command in a process of its own: resident memory over time from /proc. It is killed on the way, and started again.
"""

import argparse
import io
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from rows import row, save

from gnnrec.datasets import Dataset
from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import encode_contents
from gnnrec.encoders.features import Encoder, StagedEncoder
from gnnrec.encoders.media import read_audio, reader_of
from gnnrec.encoders.opencv import OpenCVEncoder
from gnnrec.encoders.pretrained import cache_root
from gnnrec.encoders.use import UseEncoder

RATE = 44_100
SIZE = (600, 900)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time, "thread": time.thread_time}


def enlarged(paths: Sequence[Path], folder: Path) -> list[Path]:
    for path in paths:
        Image.open(path).convert("RGB").resize(SIZE).save(folder / path.name, quality=90)
    return [folder / path.name for path in paths]


def longer(paths: Sequence[Path], folder: Path, suffix: str) -> list[Path]:
    """Three clips in a row, 44.1 kHz, stereo."""
    made = []
    for first in range(0, len(paths) - 2, 3):
        sound = np.concatenate([read_audio(path, RATE, 30) for path in paths[first : first + 3]])
        made.append(folder / f"{first}.{suffix}")
        soundfile.write(made[-1], np.stack([sound, 0.5 * sound], axis=1), RATE)
    return made


def resnet(folder: Path) -> str:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), folder / "resnet18.pt")
    return f"torchvision:resnet18:{folder / 'resnet18.pt'}"


def batches_of(contents: Sequence[Any], modality: str, encoder: Encoder, config: EncodersConfig) -> list[Any]:
    """What the network takes, in the batches of `encode_contents`."""
    read = reader_of(modality, encoder, config.audio_seconds)
    prepare = encoder.prepare if isinstance(encoder, StagedEncoder) else list
    ordered = sorted(contents, key=len) if modality == "text" else contents
    size = config.batch_size
    return [prepare(map(read, ordered[start : start + size])) for start in range(0, len(ordered), size)]


def measured(work: Callable[[], NDArray[np.float32]]) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Seconds, and what came out."""
    began = {name: clock() for name, clock in CLOCKS.items()}
    values = work()
    return {name: clock() - began[name] for name, clock in CLOCKS.items()}, values


def speed(
    name: str, contents: Sequence[Any], modality: str, encoder: Encoder, repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures, and the spread of some of them."""
    config = EncodersConfig()
    batches = batches_of(contents, modality, encoder, config)
    forward = encoder.forward if isinstance(encoder, StagedEncoder) else encoder.encode

    def bare() -> NDArray[np.float32]:
        return np.concatenate([forward(batch) for batch in batches])

    def whole() -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory() as cache:
            return encode_contents(contents, modality, encoder, config, Path(cache)).values

    order = sorted(range(len(contents)), key=lambda place: len(contents[place])) if modality == "text" else slice(None)
    found = []
    for number in range(repeats + 1):
        first, second = measured(bare), measured(whole)
        assert np.array_equal(first[1], second[1][order]), name
        if number:  # the first round warms up
            found.append((first[0], second[0]))
    ratios = {name: [whole[name] / bare[name] for bare, whole in found] for name in CLOCKS}
    figures = {
        "items_per_second": len(contents) / statistics.median(whole["wall"] for _, whole in found),
        "bare_per_second": len(contents) / statistics.median(bare["wall"] for bare, _ in found),
        "bare_wall_over_cpu": statistics.median(bare["wall"] / bare["cpu"] for bare, _ in found),
    }
    figures |= {f"times_bare_{name}": statistics.median(values) for name, values in ratios.items()}
    return figures, {f"times_bare_{name}": statistics.stdev(values) for name, values in ratios.items()}


def speeds(data: Sequence[Path], threads: Sequence[int], only: str, repeats: int) -> None:
    movies, music = (Dataset.load(folder) for folder in data)
    assert movies.items is not None and music.items is not None
    texts = [text for text in movies.items.text() if text]
    posters = [path for path in movies.items.content("image") if path]
    clips = [path for path in music.items.content("audio") if path]
    random.Random(0).shuffle(texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Many, since the first batch is read while nothing is encoded.
        large, random_weights = enlarged(posters[:512], folder), resnet(folder)
        kinds: list[tuple[str, str, str, Sequence[Any]]] = [
            ("text", "use", "texts", texts[:1280]),
            ("text", "minilm", "texts", texts[:192]),
            ("image", "efficientnet_lite0", "posters", posters[:128]),
            ("image", "efficientnet_lite0", "600 x 900", large),
            ("image", random_weights, "posters", posters[:64]),
            ("image", random_weights, "600 x 900", large),
            ("audio", "musicnn", "Opus", clips[:16]),
            ("audio", "musicnn", "mp3", longer(clips[:24], folder, "mp3")),
            ("audio", "log_mel", "Opus", clips[:64]),
            ("audio", "log_mel", "mp3", longer(clips[:48], folder, "mp3")),
            ("audio", "log_mel", "flac", longer(clips[:48], folder, "flac")),
        ]
        for count, (modality, encoder_name, kind, contents) in itertools.product(threads, kinds):
            shown = f"{':'.join(encoder_name.split(':')[:2])}, {kind}"
            if only not in shown:
                continue
            torch.set_num_threads(count)
            began = time.perf_counter()
            found, spread = speed(shown, contents, modality, open_encoder(modality, encoder_name, "cpu"), repeats)
            print(f"{shown}, {count} thread(s)", {key: round(value, 3) for key, value in found.items()}, flush=True)
            made = row(
                (movies if modality != "audio" else music).name,
                f"{shown}, {count} thread(s)",
                [0],
                [found],
                time.perf_counter() - began,
                table="speed",
                repeats=repeats,
            )
            made["spread"] |= spread
            save("encode", [made])


def catalogue(folder: Path, num_items: int) -> None:
    """A text and a JPEG for each item: some hundred pictures, each with a comment of its own behind its end."""
    (folder / "pictures").mkdir()
    random_numbers = np.random.default_rng(0)
    pictures = []
    for _ in range(200):
        small = Image.fromarray(random_numbers.integers(0, 255, (6, 4, 3), dtype=np.uint8))
        packed = io.BytesIO()
        small.resize((80, 120)).save(packed, "JPEG")
        pictures.append(packed.getvalue())
    words = random_numbers.integers(0, 5_000, (num_items, 12))
    lines = ["item,title,picture"]
    for item in range(num_items):
        (folder / f"pictures/{item}.jpg").write_bytes(pictures[item % 200] + str(item).encode())
        lines.append(f"{item},{' '.join(f'word{word}' for word in words[item])} {item},pictures/{item}.jpg")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    (folder / "log.csv").write_text("user,item\n" + "".join(f"{item % 1_000},{item}\n" for item in range(num_items)))
    (folder / "dataset.toml").write_text(
        'name = "generated"\n[interactions]\npath = "log.csv"\n'
        '[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]\nimage = "picture"\n'
    )


def watched(data: Path, home: Path, stop_at: float = np.inf) -> list[tuple[float, float]]:
    """`gnnrec encode DATA`: (seconds, MB resident) over time. Killed when the cache holds `stop_at` bytes."""
    command = [sys.executable, "-m", "gnnrec.cli", "encode", str(data), "--json", "--set", "encoders.image=opencv"]
    began, curve = time.perf_counter(), [(0.0, 0.0)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"GNNREC_CACHE": str(home)}, text=True)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if resident := re.search(r"VmRSS:\s+(\d+)", status):
            curve.append((time.perf_counter() - began, int(resident[1]) / 1024))
        if sum(path.stat().st_size for path in home.glob("features/*.sqlite")) >= stop_at:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    assert process.stdout is not None
    if stop_at == np.inf:
        encoded = {made["modality"]: made["encoded"] for made in json.loads(process.stdout.read())["features"]}
        print(f"encoded: {encoded}", flush=True)
    return curve


def kept(home: Path) -> int:
    return sum(
        sqlite3.connect(path).execute("SELECT count(*) FROM features").fetchone()[0]
        for path in home.glob("features/*.sqlite")
    )


def memory(num_items: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        data, home = Path(name) / "data", Path(name) / "home"
        data.mkdir()
        home.mkdir()
        (home / "models").symlink_to(cache_root() / "models")
        catalogue(data, num_items)
        killed = watched(data, home, stop_at=num_items * 2 * UseEncoder.dim)
        rows_kept = kept(home)
        resumed = watched(data, home)
        assert kept(home) == 2 * num_items
    features_mb = num_items * 4 * (UseEncoder.dim + OpenCVEncoder.dim) / 2**20
    found = {
        "items": num_items,
        "features_mb": features_mb,
        "kept_at_kill": rows_kept,
        "seconds_to_kill": killed[-1][0],
        "seconds_of_the_rest": resumed[-1][0],
        "peak_mb": max(size for _, size in resumed),
    }
    print(found, flush=True)
    made = row("generated", f"{num_items:,} items", [0], [found], killed[-1][0] + resumed[-1][0], table="memory")
    made["peak_mb"] = round(found["peak_mb"])
    made["curve"] = [[round(second), round(size)] for second, size in resumed[:: max(1, len(resumed) // 60)]]
    save("encode", [made])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("data", type=Path, nargs="*", help="of speed: the folders of movies and of music")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", default="", help="part of the name of what is measured")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    if options.what == "memory":
        memory(options.items)
    elif len(options.data) != 2:
        parser.error("speed needs the folders of movies and of music")
    else:
        speeds(options.data, [int(count) for count in options.threads.split(",")], options.only, options.repeats)


if __name__ == "__main__":
    main()
