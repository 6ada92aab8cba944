"""The house rules that a machine can see: which way imports go, what is loaded when, and what is never done."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gnnrec

ROOT = Path(gnnrec.__file__).parent
MAX_LINES = 400

# Imports go down, or stay within a layer as long as they make no circle.
LAYERS = (
    ("cli",),
    (
        "audit_commands",
        "content_commands",
        "embedding_commands",
        "privacy_commands",
        "scale_commands",
        "scoring_commands",
        "serve_commands",
    ),
    ("commands", "arguments"),
    ("demo",),
    (
        *(
            "report",
            "serve",
            "privacy",
            "modalities",
            "inspect",
            "cleaning",
            "doctor",
            "tables",
            "content_tables",
            "scale_tables",
        ),
        "plots",
    ),
    ("llm",),
    (
        *(
            "recommend",
            "query",
            "export",
            "export_formats",
            "export_index",
            "exported",
            "targets",
            "comparison",
            "tuning",
            "search_space",
            "finetuning",
        ),
        *("transfer", "audit", "update", "refit", "plan", "sharded_index"),
    ),
    ("successor",),
    ("fitting",),
    ("pipeline",),
    ("parallel",),
    ("lineage", "run_folder", "run_tensors", "run_checks", "due", "private_runs"),
    ("recipe", "recipes", "tracking", "sinks"),
    ("training", "validation", "weights", "sampled_step", "evaluation", "cold_items", "warm_start"),
    ("models",),
    (
        *("recency", "fingerprints", "fusion", "removal", "words", "alignment"),
        *("graph_augment", "graph_growth", "graph_hops", "subgraph"),
    ),
    ("graph",),
    ("language", "robust"),
    ("encoders",),
    ("differential",),
    ("datasets",),
    (
        *("losses", "metrics", "significance", "ranking", "compression", "shortlist", "cooccurrence", "propagate"),
        *("drift", "ray_cluster", "workers", "sampling", "lazy_adam", "interrupt"),
        *("rekey", "checkpoint", "tensor_files", "sealed_log", "vault", "cipher"),
        *("files", "commit", "locking", "machine", "untrusted", "errors", "progress", "vectors", "notebook"),
        *("scratch", "streams", "threads", "sqlite_file"),
    ),
)

# Slow to import or optional: inside functions only, and only in these files.
HEAVY = {
    "cryptography": {"cipher.py"},
    "openai": {"language/endpoint.py"},
    "peft": {"encoders/lora.py"},
    "gguf": {"language/gguf_file.py"},
    "transformers": {
        "encoders/huggingface.py",
        "encoders/convert.py",
        "language/local.py",
        "language/chat_template.py",
    },
    "torchvision": {"encoders/torchvision_models.py", "encoders/augment/image.py"},
    "audiomentations": {"encoders/augment/audio.py"},
    "librosa": {"encoders/mel.py"},
    "faster_whisper": {"encoders/speech.py"},
    "soundfile": {"encoders/media.py"},
    "PIL": {"encoders/media.py"},
    "cv2": {"encoders/opencv.py"},
    "sentencepiece": {"encoders/use.py"},
    "huggingface_hub": {"encoders/pretrained.py"},
    "faiss": {"export_index.py"},
    "implicit": {"models/ials.py"},
    "opacus": {"models/dp_sgd.py"},
    "dp_accounting": {"differential/accounting.py"},
    "lancedb": {"targets/lance.py"},
    "qdrant_client": {"targets/qdrant.py"},
    "pgvector": {"targets/postgresql.py"},
    "pyarrow": {
        "datasets/sources/columnar.py",
        "encoders/shards.py",
        "export.py",
        "export_formats.py",
        "targets/lance.py",
    },
    "ray": {"ray_cluster.py", "parallel/ray_engine.py"},
    "psycopg": {"datasets/sources/sql.py", "targets/postgresql.py"},
    "mlflow": {"sinks/mlflow_sink.py"},
    "wandb": {"sinks/wandb_sink.py"},
    "tensorboard": {"tracking.py"},
    "matplotlib": {f"plots/{name}.py" for name in ("draw", "network", "render", "sheet", "ticks")},
    "sklearn": {
        "encoders/fitted/lsa.py",
        "modalities/consumption.py",
        "models/spectrum.py",
        "plots/draw.py",
        "plots/project.py",
        "words/concepts.py",
    },
    "gensim": {"encoders/fitted/word_vectors.py"},
    "nltk": {"encoders/fitted/tokens.py"},
    "jieba": {"encoders/fitted/tokens.py"},
    "spacy": {"encoders/fitted/tokens.py"},
    "jinja2": {"report/html.py"},
    "onnx": {"encoders/fitted/onnx_model.py"},
    "onnxruntime": {"encoders/fitted/onnx_model.py"},
    "optuna": {"tuning.py"},
    "sqlalchemy": {"tuning.py"},
    "imagededup": {"cleaning/media.py"},
    "datasketch": {"cleaning/duplicates.py"},
    "ftfy": {"cleaning/text.py"},
    "lingua": {"cleaning/text.py"},
    "fastapi": {f"serve/{name}.py" for name in ("app", "browse", "media", "private", "routing", "static", "uploads")},
    "starlette": {"serve/app.py", "serve/guard.py", "serve/shortcut.py", "serve/uploads.py"},
    "pydantic": {"serve/schemas.py", "serve/uploads.py"},
    "uvicorn": {"serve/server.py"},
    "prometheus_client": {"serve/metrics.py"},
    "tenseal": {"privacy/homomorphic.py"},
}
LATE = {"serve"}  # parts that others import inside functions only, so that they may import at once what they need

# What runs code that a file brings along, and what reaches for the network past the hub's own client.
NEVER_IMPORTED = {
    *("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("requests", "httpx", "aiohttp", "socket", "urllib.request", "http.client", "ftplib"),
}
# The client of a service whose address the user types, which has nothing else to be asked by; and whether somebody
# listens at the cluster's address that the user types.
ALLOWED = {"privacy/client.py": {"http.client"}, "ray_cluster.py": {"socket"}}
NEVER_CALLED = {"eval", "exec", "__import__", "os.system", "os.popen", "torch.hub.load", "yaml.load"}


def sources() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))
    }


SOURCES = sources()


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Every module imported, those inside functions too, and whether it is imported with the file.

    What stands under `if TYPE_CHECKING` is never imported.
    """
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            yield node.module, id(node) not in late
            yield from ((f"{node.module}.{alias.name}", id(node) not in late) for alias in node.names)


def part(name: str) -> str:
    """What a file or an imported module belongs to: gnnrec.models.mf and models/mf.py -> models."""
    return name.removeprefix("gnnrec.").removesuffix(".py").replace("/", ".").split(".")[0]


def layer(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"{name}: has no place in LAYERS"
    return found[0]


def inner_imports(tree: ast.Module) -> set[str]:
    """The other parts of gnnrec that a file imports, whenever."""
    modules = {module for module, _ in imports(tree) if module.startswith("gnnrec.")}
    return {part(module) for module in modules if not module.endswith(".__version__")}


def upward(path: str, tree: ast.Module) -> list[str]:
    """Imports of a file that go up."""
    return [f"{path} -> {name}" for name in sorted(inner_imports(tree)) if layer(name) < layer(part(path))]


def misplaced(path: str, tree: ast.Module) -> list[str]:
    """Heavy libraries that a file may not import, or not at once."""
    wrong = []
    for module, at_once in imports(tree):
        for library, homes in HEAVY.items():
            too_early = at_once and part(path) not in LATE
            if (module == library or module.startswith(f"{library}.")) and (path not in homes or too_early):
                wrong.append(f"{path}: {module}{' at once' if too_early else ''}")
        if at_once and module.startswith("gnnrec.") and part(module) in LATE and part(path) not in LATE:
            wrong.append(f"{path}: {module} at once")
    return wrong


def forbidden(path: str, tree: ast.Module) -> list[str]:
    """What is never done: see the tables, and loading anything that may be a pickle."""
    never = NEVER_IMPORTED - ALLOWED.get(path, set())
    wrong = [f"{path}: imports {module}" for module, _ in imports(tree) if module in never]
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            wrong.append(f"{path}:{node.lineno}: global {', '.join(node.names)}")
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        settings = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            name in NEVER_CALLED
            or (name in ("np.load", "numpy.load") and settings.get("allow_pickle") != "False")
            or (name == "torch.load" and settings.get("weights_only") != "True")
            or settings.get("trust_remote_code", "False") != "False"
            or settings.get("shell", "False") != "False"
        ):
            wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return wrong


HOUSE = {path: tree for path, tree in SOURCES.items() if path != "__init__.py"}  # it names everything, lazily


def test_imports_go_down() -> None:
    assert [line for path, tree in HOUSE.items() for line in upward(path, tree)] == []


def test_parts_do_not_import_each_other_in_a_circle() -> None:
    reached: dict[str, set[str]] = {}
    for path, tree in HOUSE.items():
        reached.setdefault(part(path), set()).update(inner_imports(tree) - {part(path)})
    for _ in reached:  # as many steps as there are parts reach everything that can be reached
        reached = {
            name: names.union(*(reached.get(other, set()) for other in names)) for name, names in reached.items()
        }
    assert [name for name, names in reached.items() if name in names] == []


def test_every_part_has_a_place_and_every_place_a_part() -> None:
    assert {part(path) for path in HOUSE} == {name for names in LAYERS for name in names}


def test_heavy_libraries_are_imported_late_and_where_they_belong() -> None:
    assert [line for path, tree in SOURCES.items() for line in misplaced(path, tree)] == []
    used = set()
    for path, tree in SOURCES.items():
        modules = {module for module, _ in imports(tree)}
        used |= {(library, path) for library in HEAVY if any(f"{name}.".startswith(f"{library}.") for name in modules)}
    assert used == {(library, path) for library, homes in HEAVY.items() for path in homes}  # no stale line above


def test_nothing_that_is_never_done_is_done() -> None:
    assert [line for path, tree in SOURCES.items() for line in forbidden(path, tree)] == []


def test_files_can_be_read_at_a_sitting() -> None:
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_nothing_reads_the_workplace() -> None:
    outside = ("/".join(("", "work", "")), "/".join(("..", "shared")))
    files = [*ROOT.rglob("*.py"), *ROOT.rglob("*.toml"), *Path(__file__).parent.rglob("*.py")]
    assert [str(path) for path in files if any(name in path.read_text(encoding="utf-8") for name in outside)] == []


def test_help_answers_without_the_libraries() -> None:
    code = """if True:
        import sys, time
        began = time.perf_counter()
        from gnnrec.cli import build_parser
        assert "train" in build_parser().format_help()
        assert time.perf_counter() - began < 1
        assert not {"torch", "numpy", "polars", "scipy", "transformers", "matplotlib"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


@pytest.mark.parametrize(
    ("path", "code", "check"),
    [
        ("graph.py", "from gnnrec.models import MODELS", upward),
        ("graph.py", "def f():\n    import gnnrec.training", upward),
        ("losses.py", "from gnnrec import recipe", upward),
        ("encoders/huggingface.py", "import transformers", misplaced),
        ("commands.py", "from gnnrec.serve.server import run_server", misplaced),
        ("graph.py", "def f():\n    from transformers.models import bert", misplaced),
        ("graph.py", "def f():\n    import pickle", forbidden),
        ("graph.py", "from urllib import request", forbidden),
        ("privacy/client.py", "from urllib import request", forbidden),
        ("privacy/homomorphic.py", "import http.client", forbidden),
        ("graph.py", "np.load(path)", forbidden),
        ("graph.py", "np.load(path, allow_pickle=True)", forbidden),
        ("graph.py", "torch.load(path)", forbidden),
        ("graph.py", "f(trust_remote_code=True)", forbidden),
        ("graph.py", "eval('1')", forbidden),
        ("graph.py", "def f():\n    global x", forbidden),
    ],
)
def test_the_checks_find_what_they_are_for(path: str, code: str, check: object) -> None:
    assert callable(check) and check(path, ast.parse(code))
