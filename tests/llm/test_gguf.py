"""A GGUF file is read as the folder that it was made of; and one that is broken or hostile is one clear line."""

import resource
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_cases import CASES
from gguf_writer import save_gguf
from tiny_model import save_tiny
from tiny_tokenizer import SPECIAL, save_sentencepiece, save_tokenizer

from gnnrec.errors import UserError
from gnnrec.language.endpoint import Budget
from gnnrec.language.local import LocalLM
from gnnrec.language.local_server import LocalServer
from gnnrec.language.server import open_model
from gnnrec.llm.past import Past
from gnnrec.llm.rerank import Weight
from gnnrec.llm.settings import LLMConfig
from gnnrec.llm.tune import TuneConfig, tune
from gnnrec.llm.tuned_scorer import open_tuned
from gnnrec.run_folder import Run

MERGES = (("Ġ", "A"), ("l", "i"), ("li", "e"), ("lie", "n"), ("ĠA", "lien"))
TEXTS = ("I liked Alien; an Alien lies", " Aliens\n\n3 Ünïcode 您好 <s></s><|im_start|>", "")
CARDS = (" Aliens", " A", " The Matrix Reloaded")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """A case and a type of number -> the folder, and the file made of it."""
    place = tmp_path_factory.mktemp("gguf")

    def make(case: str, how: str = "F32") -> tuple[Path, Path]:
        folder, path = place / case, place / f"{case} {how}.gguf"
        if not folder.exists():
            kind, settings = CASES[case]
            save_tiny(kind, folder, partial(save_tokenizer, merges=MERGES), intermediate_size=64, **settings)
        return folder, path if path.exists() else save_gguf(folder, path, how)

    return make


@pytest.fixture
def llama(made, tmp_path: Path) -> Path:
    """A file of one's own, to break."""
    return Path(shutil.copyfile(made("llama")[1], tmp_path / "x.gguf"))


def opened(path: Path) -> LocalLM:
    return LocalLM(path, "tiny@1", torch.device("cpu"))


def values(lm: LocalLM) -> np.ndarray:
    prefixes = [lm.start + lm.tokens(text) for text in ("I liked Alien; The Matrix;", "I liked:")]
    blocks = [lm.tokens(card) for card in CARDS]
    return np.stack(lm.log_probs(prefixes, [blocks, blocks]))


@pytest.mark.parametrize("case", CASES)
def test_a_file_is_read_as_the_folder_it_was_made_of(made, case: str) -> None:
    folder, file = map(opened, made(case))
    assert [file.tokens(text) for text in TEXTS] == [folder.tokens(text) for text in TEXTS]
    assert file.start == folder.start == [0]
    assert np.ptp(values(folder)) > 1
    assert values(file) == pytest.approx(values(folder), abs=1e-4)
    text = torch.randint(265, (1, 300), generator=torch.Generator().manual_seed(0))  # longer than phi3's first length
    with torch.no_grad():
        assert torch.allclose(file.model(text).logits, folder.model(text).logits, atol=1e-3)


def test_pieces_of_words_are_read_as_in_the_folder(tmp_path: Path) -> None:
    save_words = partial(save_sentencepiece, merges=[("▁", "A"), *MERGES[1:4], ("▁A", "lien")])
    folder = save_tiny("mistral", tmp_path / "folder", save_words, sliding_window=None)
    whole, file = opened(folder), opened(save_gguf(folder, tmp_path / "x.gguf"))
    assert whole.tokens("Alien") == [whole.tokenizer.get_vocab()["▁Alien"]]
    assert [file.tokens(text) for text in TEXTS] == [whole.tokens(text) for text in TEXTS]
    assert file.start == whole.start == [1]
    assert values(file) == pytest.approx(values(whole), abs=1e-4)


@pytest.mark.parametrize("how", ["F16", "BF16", "Q8_0"])
def test_a_smaller_file_is_near_to_it(made, how: str) -> None:
    """Weights are rounded as the type says (Q8_0: to a 127th of the largest of 32, itself in half precision). Log
    probabilities move by a part of themselves, since a word of random weights is as unlikely as a word can be."""
    paths = made("llama", how)
    exact, rounded = map(opened, paths)
    unpacked = [LocalLM(path, "tiny@1", torch.device("cpu"), trainable=True) for path in paths]
    weight, found = (lm.model.state_dict()["model.layers.1.mlp.down_proj.weight"] for lm in unpacked)
    blocks = weight.view(-1, 32)
    if how == "Q8_0":
        assert (
            (found.view(-1, 32) - blocks).abs() <= blocks.abs().amax(1, keepdim=True) / 127 * (0.5 + 127 / 2**11)
        ).all()
        assert not torch.equal(found, weight)
    else:
        assert torch.equal(found, weight.to({"F16": torch.float16, "BF16": torch.bfloat16}[how]).float())
    assert 0 < np.abs(values(rounded) / values(exact) - 1).max() < 0.02


def test_what_lies_beside_a_file_changes_nothing(made, llama: Path) -> None:
    (llama.parent / "config.json").write_text('{"model_type": "gpt2", "auto_map": {"AutoConfig": "code.Own"}}')
    (llama.parent / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "T5Tokenizer", "bos_token": "a", "auto_map": {"AutoTokenizer": ["code.Own", "code.Own"]}}'
    )
    (llama.parent / "code.py").write_text(f"open({str(llama.parent / 'ran')!r}, 'w')")
    (llama.parent / "chat_template.jinja").write_text("something else")
    shutil.copy(made("llama")[0] / "tokenizer.json", llama.parent)
    lm = opened(llama)
    assert type(lm.tokenizer) is type(opened(made("llama")[1]).tokenizer)
    assert lm.tokenizer.chat_template is None
    assert lm.start == [0] and [lm.tokens(text) for text in TEXTS] == [
        opened(made("llama")[0]).tokens(t) for t in TEXTS
    ]
    assert not (llama.parent / "ran").exists()


@pytest.mark.guarantee("G6")
def test_control_tokens_of_a_file_stay_text(llama: Path) -> None:
    lm = opened(llama)
    harm = "".join(SPECIAL)
    assert lm.tokenizer(harm, add_special_tokens=False)["input_ids"] == [0, 1, 2, 3]  # which a chat template needs
    assert len(lm.tokens(harm)) == len(harm)


LOOP = "{% for i in range(99_999) %}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.system('touch RAN') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        f"{LOOP * 4}{{% endfor %}}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'x' * 10 ** 12 }}",
        "{{ messages[0]['content'] * 10 ** 6 }}",
        "{{ raise_exception('no') }}",
        "{{ messages",
    ],
)
def test_a_chat_template_that_does_harm_is_one_clear_line(made, tmp_path: Path, monkeypatch, template: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(made("llama")[0], tmp_path / "copy"))
    (folder / "chat_template.jinja").write_text(template)
    lm = opened(save_gguf(folder, tmp_path / "x.gguf"))
    assert lm.tokenizer.chat_template == template
    server = LocalServer(lm, Budget(seconds=10, calls=10, tokens=10**6))
    with pytest.raises(UserError, match="^tiny@1: its chat template cannot be used: .*; allowed: llm.scorer=block$"):
        server.complete("You are kind.", "Say something.", {}, 4)
    assert not (tmp_path / "RAN").exists()


def test_a_file_reranks_as_its_folder_does(
    made, one_document, run_command, tiny_run: Run, llama, tmp_path, monkeypatch
):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    # Random weights are no help, and would not be asked for the list.
    monkeypatch.setattr("gnnrec.llm.rerank.weight_for", lambda *_: Weight(0.5, 1, 0.0, 0.0, 0.5, 1.0))

    def ranked(path: Path) -> tuple:
        return ("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", f"llm.model={path}", "llm.window=8")

    folder, file = (one_document(*ranked(path)) for path in (made("llama")[0], llama))
    assert folder["failures"] == file["failures"] == []
    assert [row["id"] for row in file["items"]] == [row["id"] for row in folder["items"]]
    scores = [[row["llm_score"] for row in found["items"] if row["llm_score"] is not None] for found in (folder, file)]
    assert len(scores[0]) == 8 and scores[1] == pytest.approx(scores[0], abs=2e-3)
    llama.write_bytes(llama.read_bytes()[:-1])
    status, _, err = run_command(*ranked(llama))
    assert (status, err.count("\n")) == (2, 1)
    assert f"{llama}: damaged, or no GGUF file: it has " in err
    status, _, err = run_command(*ranked(tmp_path / "none.gguf"))
    assert (status, err.count("\n")) == (2, 1)
    assert f"llm.model: {tmp_path / 'none.gguf'}: no such file" in err


def test_a_file_is_tuned_as_its_folder_is(made, planted_run: Run, tmp_path: Path) -> None:
    llm = LLMConfig(model="tiny", noun="films", history=4, window=8)
    config = TuneConfig(windows=8, soft_windows=4, negatives=3, batch=2, val_users=5)
    found = []
    for number, path in enumerate(made("llama")):
        run = Run.load(shutil.copytree(planted_run.folder, tmp_path / str(number)))
        first, again = (LocalLM(path, "tiny@1", torch.device("cpu"), trainable=True) for _ in range(2))
        facts = tune(run, first, llm, config)
        scorer = open_tuned(run, facts, again, None)
        found.append(scorer.score([Past((1, 2))], [[4, 5, 6, 7]], [3])[0])
    assert np.ptp(found[0]) > 0
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_a_file_is_tuned_and_then_reranks_as_typed(one_document, run_command, tiny_run, llama, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    small = ("tune.windows=4", "tune.soft_windows=0", "tune.batch=2", "tune.negatives=3", "tune.val_users=5")
    status, _, err = run_command("tune", folder, "--set", f"llm.model={llama}", "llm.window=8", *small)
    assert status == 0, err
    assert "adapters: loss" in err
    asked = ("recommend", folder, "--user", "u3", "--rerank", "--set", "llm.scorer=tuned", "llm.window=8")
    assert one_document(*asked)["failures"] == []
    llama.write_bytes(llama.read_bytes() + b"1")  # another file
    status, _, err = run_command(*asked)
    assert (status, err.count("\n")) == (2, 1)
    assert "was tuned from x.gguf@" in err


@pytest.fixture
def bounded() -> Iterator[None]:
    """A gigabyte of memory more, and twenty seconds."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, before[1]))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, before)


def text(words: bytes) -> bytes:
    return struct.pack("<Q", len(words)) + words


def header(settings: bytes = b"", num_settings: int = 0, tensors: bytes = b"", num_tensors: int = 0) -> bytes:
    kind = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, 1 + num_settings) + kind + settings + tensors


def setting(kind: int, value: bytes) -> bytes:
    return header(text(b"llama.x") + struct.pack("<I", kind) + value, 1)


def tensor(shape: tuple[int, ...], kind: int = 0, offset: int = 0, name: bytes = b"token_embd.weight") -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def of_tensors(*listed: bytes) -> bytes:
    return header(b"", 0, b"".join(listed), len(listed)) + bytes(1000)


HUGE = 2**60
BROKEN = {
    "nothing": (b"", "it ends after 0 bytes"),
    "four bytes": (b"GGUF", "it ends after 4 bytes"),
    "another format": (b"PK\x03\x04" + bytes(100), "it does not begin with GGUF"),
    "noise": (b"GGUF" + np.random.default_rng(0).bytes(5000), "version"),
    "old": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1; allowed: 2, 3"),
    "settings": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), f"0 tensors and {HUGE} settings; allowed"),
    "tensors": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), f"{HUGE} tensors and 0 settings; allowed"),
    "few settings": (header(num_settings=60_000), "it ends after"),
    "few tensors": (header(num_tensors=60_000), "it ends after"),
    "text": (setting(8, struct.pack("<Q", HUGE)), f"a text of {HUGE} bytes; allowed"),
    "no text": (setting(8, text(b"\xff\xfe")), "codec can't decode"),
    "list": (setting(9, struct.pack("<IQ", 0, HUGE)), f"a list of {HUGE} values; allowed"),
    "short list": (setting(9, struct.pack("<IQ", 10, 2**20)), "it ends after"),
    "list of lists": (setting(9, struct.pack("<IQ", 9, 1)), "a setting of type 9; allowed"),
    "word": (setting(9, struct.pack("<IQ", 8, 1) + text(b"a" * 10**6)), "a text of 1000000 bytes; allowed"),
    "unknown type": (setting(77, bytes(100)), "a setting of type 77; allowed"),
    "twice": (header(2 * (text(b"llama.x") + struct.pack("<IB", 0, 1)), 2), "llama.x stands there twice"),
    "alignment": (header(text(b"general.alignment") + struct.pack("<II", 4, 0), 1), "general.alignment is 0; allowed"),
    "a terabyte": (of_tensors(tensor((2**20, 2**18))), "and its tensors would need 1099511"),
    "overflow": (of_tensors(tensor((2**32, 2**32, 2**32))), "and its tensors would need"),
    "far": (of_tensors(tensor((4,), offset=2**40)), "and its tensors would need 1099511"),
    "empty": (of_tensors(tensor((4, 0))), "has the shape"),
    "half a block": (of_tensors(tensor((33,), kind=8)), "its type comes in blocks of 32"),
    "dimensions": (of_tensors(tensor((1,) * 5)), "5 dimensions of tensor token_embd.weight; allowed: 1 to 4"),
    "kind": (of_tensors(tensor((4,), kind=99)), "99 is not a valid"),
    "same place": (of_tensors(tensor((4,)), tensor((4,), name=b"output.weight")), "stands there twice, or in another"),
    "same name": (of_tensors(tensor((4,)), tensor((4,), offset=32)), "stands there twice, or in another"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_file_is_one_clear_line(tmp_path: Path, bounded, name: str) -> None:
    content, why = BROKEN[name]
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: damaged, or no GGUF file: .*{why}") as refused:
        opened(path)
    assert "\n" not in str(refused.value)


def put(path: Path, key: str, value: int | float) -> None:
    """Another value where a number stands."""
    content = bytearray(path.read_bytes())
    place = content.index(text(key.encode())) + 8 + len(key) + 4
    content[place : place + 4] = struct.pack("<f" if isinstance(value, float) else "<I", value)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("llama.block_count", 2**31, "more words or layers than there are"),
        ("llama.block_count", 1, "weight model.layers.1.* expected None"),
        ("llama.block_count", 0, "llama.block_count: found 0; allowed: a whole number of 1 or more"),
        ("llama.embedding_length", 2**31, "token_embd.weight has to have a row of 2147483648 numbers"),
        ("llama.feed_forward_length", 2**31, "weight model.layers.0.mlp.down_proj.weight: found .* expected"),
        ("llama.attention.head_count", 2**31, "llama.attention.head_count: found 2147483648; allowed: at most 32"),
        ("llama.attention.head_count_kv", 4, "weight model.layers.0.self_attn.k_proj.weight: found .* expected"),
        ("llama.attention.key_length", 16, "keys, values and places of a head differ in size"),
        ("llama.rope.dimension_count", 4, "keys, values and places of a head differ in size"),
        ("llama.vocab_size", 2**31, "more words or layers than there are"),
        ("llama.attention.layer_norm_rms_epsilon", float("nan"), "found nan; allowed: a number above 0"),
        ("llama.rope.freq_base", 0.0, "llama.rope.freq_base: found 0.0; allowed: a number above 0"),
        ("tokenizer.ggml.bos_token_id", 2**31, "no language model: list index out of range"),
    ],
)
def test_settings_that_the_weights_do_not_bear_out_are_refused(llama: Path, bounded, key, value, why) -> None:
    put(llama, key, value)
    with pytest.raises(UserError, match=f"^{llama}: .*{why}"):
        values(opened(llama))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            b"blk.0.attn_q.weight",
            b"blk.0.attn_x.weight",
            "no language model: weight blk.0.attn_x.weight: found .32, 32.; expected None",
        ),
        (
            b"output_norm.weight",
            b"output_nrom.weight",
            "no language model: weight model.norm.weight: found None; expected .32,.",
        ),
        (b"llama.vocab_size", b"llama.logitscale", "found the setting llama.logitscale, which is not read"),
        (b"general.architecture" + bytes([8, 0, 0, 0, 5]) + bytes(7) + b"llama", b"", "found architecture 'mamba'"),
        (b"gpt2", b"gpt9", "no language model: .*'gpt9'"),
    ],
)
def test_what_is_not_known_is_refused_and_nothing_drawn_for_it(llama: Path, old: bytes, new: bytes, why: str) -> None:
    content = llama.read_bytes()
    assert content.count(old) == 1
    llama.write_bytes(content.replace(old, new or old.replace(b"llama", b"mamba")))
    with pytest.raises(UserError, match=f"^{llama}: {why}"):
        values(opened(llama))


def test_a_weight_that_is_no_number_is_told(llama: Path) -> None:
    content = llama.read_bytes()
    llama.write_bytes(content[:-4] + struct.pack("<f", float("nan")))
    with pytest.raises(UserError, match=f"^{llama}: damaged: tensor .* holds what is no number"):
        values(opened(llama))


def test_any_cut_or_flipped_byte_is_refused_or_does_no_harm(llama: Path, bounded) -> None:
    whole, random = llama.read_bytes(), np.random.default_rng(0)
    begins = whole.index(b"output_norm.weight")  # about where the settings end and the tensors begin
    refused = 0
    for number in range(60):
        content = bytearray(whole[: random.integers(len(whole))] if number % 3 == 0 else whole)
        if number % 3:
            content[random.integers(begins)] ^= 1 << random.integers(8)
        llama.write_bytes(content)
        try:
            values(opened(llama))
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 20 <= refused < 60


def test_one_of_several_files_says_that_the_others_are_missing(llama: Path, tmp_path: Path) -> None:
    content = llama.read_bytes()
    count = struct.unpack("<Q", content[16:24])[0]
    more = text(b"split.count") + struct.pack("<IH", 2, 3)
    llama.write_bytes(content[:16] + struct.pack("<Q", count + 1) + more + content[24:])
    with pytest.raises(UserError, match=f"^{llama}: one of 3 files; allowed: a model in one file"):
        open_model(str(llama))


@pytest.mark.parametrize(
    ("case", "old", "new", "why"),
    [
        ("llama 3", b"rope_freqs.weight", b"rope_fregs.weight", "no language model: weight rope_fregs.weight: found"),
        ("phi3 long", b"factors_long", b"factors_lang", "places are scaled by rope_factors_short.weight and settings"),
        ("llama linear", b"linear", b"larger", "found llama.rope.scaling.type = 'larger'; allowed: none, linear"),
    ],
)
def test_places_that_are_scaled_otherwise_are_refused(made, tmp_path: Path, case, old: bytes, new: bytes, why) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(made(case)[1].read_bytes().replace(old, new))
    with pytest.raises(UserError, match=f"^{path}: {why}"):
        values(opened(path))
