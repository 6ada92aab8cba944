"""A vision-language model that says one thing of reddish pictures and another of bluish ones, whatever it is asked."""

from pathlib import Path

import torch
from PIL import Image
from tiny_tokenizer import SPECIAL, save_tokenizer
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

RED, BLUE = "A red wall.", "A blue wall."
SIDE = 16  # of the one patch that it sees
# The picture stands last, so that what comes next depends on it alone.
TEMPLATE = (
    "{% for m in messages %}{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}\n"
    "{% endif %}{% endfor %}{% endfor %}{% for m in messages %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endfor %}"
)


def save_planted_vision(folder: Path) -> Path:
    """RED and BLUE are one token each, and the end follows them.

    The text's attention and feed-forward parts are zero: a state is the vector that was read. That of a picture is
    what the (random) vision part makes of it, and the head tells the two colours' vectors apart.
    """
    save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([RED, BLUE])
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL[2:], "<image>"]})
    tokenizer.pad_token = tokenizer.eos_token
    red, blue, image = (tokenizer.convert_tokens_to_ids(word) for word in (RED, BLUE, "<image>"))
    size, end = len(tokenizer), tokenizer.eos_token_id
    sizes = {"intermediate_size": 8, "num_hidden_layers": 1}
    vision = CLIPVisionConfig(
        **sizes, hidden_size=32, num_attention_heads=2, image_size=SIDE, patch_size=SIDE, initializer_range=0.5
    )
    text = LlamaConfig(**sizes, vocab_size=size, hidden_size=size, num_attention_heads=1, head_dim=8, eos_token_id=end)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_id=image, vision_feature_layer=-1)
    ).eval()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    shape = {"height": SIDE, "width": SIDE}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size=shape, crop_size=shape),
        tokenizer=tokenizer,
        patch_size=SIDE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    projector, words = model.model.multi_modal_projector, model.model.language_model
    with torch.no_grad():
        for name, weight in words.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        words.embed_tokens.weight.copy_(torch.eye(size))
        for weight in (projector.linear_2.weight, projector.linear_2.bias):
            weight[[red, blue]] = 0.0  # so that no picture looks like an answer
        seen = [Image.new("RGB", (40, 60), colour) for colour in ("red", "blue")]
        pixels = processor.image_processor(images=seen, return_tensors="pt")["pixel_values"]
        of_red, of_blue = torch.cat(list(model.model.get_image_features(pixels).pooler_output)).unflatten(0, (2, -1))[
            :, 0
        ]
        model.lm_head.weight.zero_()
        model.lm_head.weight[red] = of_red / of_red.norm() - of_blue / of_blue.norm()
        model.lm_head.weight[blue] = -model.lm_head.weight[red]
        model.lm_head.weight[end, [red, blue]] = 1.0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
