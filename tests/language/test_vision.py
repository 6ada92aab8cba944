"""Captioning models on this machine, tiny and random: real code paths, and what they say depends on the picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_tokenizer import SPECIAL, save_tokenizer
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from gnnrec.encoders.huggingface import revision
from gnnrec.errors import UserError
from gnnrec.language.endpoint import Budget, NoAnswer
from gnnrec.language.vision import PROMPT, LocalCaptioner, open_captioner

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
RED, BLUE = (Image.new("RGB", (50, 40), colour) for colour in ("red", "blue"))


def save_captioner(folder: Path) -> None:
    """A vision transformer and a decoder, as the captioners of the hub are built."""
    words = save_tokenizer(folder)
    torch.manual_seed(0)
    encoder = ViTModel(ViTConfig(**SMALL, image_size=16, patch_size=8, initializer_range=0.5))
    decoder = BertConfig(**SMALL, vocab_size=words, is_decoder=True, add_cross_attention=True, initializer_range=0.5)
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=BertLMHeadModel(decoder))
    model.generation_config.decoder_start_token_id = model.config.decoder_start_token_id = 0
    model.generation_config.pad_token_id = model.config.pad_token_id = 1
    model.generation_config.eos_token_id = model.config.eos_token_id = 1
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)


def save_chat(folder: Path) -> None:
    """A vision-language model that is shown the picture within a chat."""
    words = save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL[2:], "<image>"]})
    tokenizer.pad_token = "</s>"
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**SMALL, image_size=16, patch_size=8, projection_dim=32, initializer_range=0.5)
    text = LlamaConfig(**SMALL, vocab_size=words + 1, num_key_value_heads=2, initializer_range=0.3)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=words, image_token_index=words)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"shortest_edge": 16}
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size=size, crop_size={"height": 16, "width": 16}),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for message in messages %}{% for part in message['content'] %}"
            "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
        ),
    ).save_pretrained(folder)


@pytest.mark.parametrize("save", [save_captioner, save_chat])
def test_a_picture_is_put_into_words(tmp_path: Path, save: object) -> None:
    folder = tmp_path / "model"
    assert callable(save)
    save(folder)
    budget = Budget(60, 3, 10**6)
    captioner = open_captioner("local", str(folder), "", budget)
    assert captioner.name == f"{folder}@{revision(folder)}"
    red, blue, again = captioner.caption(RED), captioner.caption(BLUE), None
    assert red != blue
    again = captioner.caption(RED)
    assert again == red
    assert "What can be seen" not in red and "describe" not in red.lower()  # the question is no part of the answer
    assert budget.used_calls == 3 and budget.used_tokens > 0
    with pytest.raises(NoAnswer, match="budget of calls"):
        captioner.caption(RED)


def test_the_template_of_a_chat_is_run_once_and_not_for_ever(tmp_path: Path) -> None:
    """The picture's place is in what it said, and the question as it is written."""
    save_chat(tmp_path)
    template = tmp_path / "chat_template.jinja"
    whole = template.read_text()
    loop = "{% for i in range(99_999) %}{% for i in range(99_999) %}{% endfor %}{% endfor %}"
    for harm in (loop, "{% for part in messages[0]['content'] %}{{ part['image'].convert('RGB') }}{% endfor %}"):
        template.write_text(harm + whole)
        with pytest.raises(UserError, match="^[^ ]+: its chat template cannot be used: "):
            open_captioner("local", str(tmp_path), "", Budget(60, 3, 10**6))
    template.write_text("{{ '\"{{ {% \\\\ é 😀 %} }}' }}" + whole)  # what it says is text from then on
    captioner = open_captioner("local", str(tmp_path), "", Budget(60, 3, 10**6))
    assert isinstance(captioner, LocalCaptioner)
    own = AutoProcessor.from_pretrained(tmp_path)
    content = [{"type": "image", "image": RED}, {"type": "text", "text": PROMPT}]
    asked = own.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert asked == '"{{ {% \\ é 😀 %} }}<image>' + PROMPT
    assert captioner._processor.apply_chat_template([{"role": "user", "content": []}]) == asked
    ids = own(text=asked, images=RED, return_tensors="pt")["input_ids"]
    assert torch.equal(captioner._inputs(RED)["input_ids"], ids)


def test_what_is_no_captioning_model_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_tokenizer(folder)
    with pytest.raises(UserError, match="cannot be loaded"):
        open_captioner("local", str(folder), "", Budget(1, 1, 1))
    with pytest.raises(UserError, match="gnnrec models get nobody/nothing"):
        open_captioner("local", "nobody/nothing", "", Budget(1, 1, 1))


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_captioner(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if "crossattention" in name)
    save_file(
        {key: value for key, value in tensors.items() if key != name}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match="the weights lack 1 tensors"):
        open_captioner("local", str(tmp_path), "", Budget(1, 1, 1))
