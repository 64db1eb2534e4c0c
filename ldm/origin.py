"""Where weights come from, as far as their keys and shapes tell."""

from collections.abc import Mapping

from torch import Tensor


def looks_like(weights: Mapping[str, Tensor]) -> str:
    """`looks like Stable Diffusion 2`, or the like; empty when nothing is recognised."""
    origin = next((name for name, marks in _MARKS if _any_in(marks, weights)), "")
    origin = origin or _by_shape(weights)
    if not origin and len(weights) <= 2 and all(key.startswith("<") for key in weights):
        origin = "a textual inversion"
    return f"looks like {origin}" if origin else ""


# Parts of keys that give a kind of file away, the surest first.
_MARKS = (
    ("a LoRA", ("lora_unet_", "lora_te", "lora_down", "lora_up", "lora_A", "lora.down")),
    ("a LyCORIS", ("hada_w1", "lokr_w1", "oft_diag")),
    ("a textual inversion", ("string_to_param", "emb_params")),
    ("Stable Diffusion XL", ("conditioner.", "label_emb.", "add_embedding.", "text_encoder_2.")),
    ("Stable Diffusion 3", ("joint_blocks.",)),
    ("Flux", ("double_blocks.",)),
    ("a layered model of ours", ("unet.encoder.levels.", "control.encoder.levels.")),
    ("a T2I-Adapter", ("adapter.", "body.0.block1")),
)


def _any_in(marks: tuple[str, ...], weights: Mapping[str, Tensor]) -> bool:
    return any(mark in key for key in weights for mark in marks)


def _by_shape(weights: Mapping[str, Tensor]) -> str:
    """What shapes and missing parts tell."""
    inputs = _size(weights, ("diffusion_model.input_blocks.0.0.weight", "unet.conv_in.weight"))
    base = _TEXTS.get(_size(weights, ("attn2.to_k.weight",)), "")
    if inputs:
        return _INPUTS.get(inputs, base)
    part = _part(weights)
    return f"{part} for {base}" if part and base else part


_INPUTS = {9: "an inpainting model", 8: "an instruct-pix2pix model", 7: "an upscaler"}
_TEXTS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}


def _size(weights: Mapping[str, Tensor], endings: tuple[str, ...]) -> int:
    """The second size of the first tensor with such a name; 0 for none."""
    shapes = (tensor.shape for key, tensor in weights.items() if key.endswith(endings))
    return next((shape[1] for shape in shapes if len(shape) > 1), 0)


def _part(weights: Mapping[str, Tensor]) -> str:
    """What a file without a U-Net is."""
    if any(
        key.startswith(("control_model.", "controlnet.", "input_hint_block.")) for key in weights
    ):
        return "a ControlNet"
    vae = ("first_stage_model.", "vae.", "encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    if weights and all(key.startswith((*vae, "loss.")) for key in weights):
        return "an autoencoder"
    text = ("text_model.", "cond_stage_model.", "text_encoder.")
    return "a text tower" if weights and all(k.startswith(text) for k in weights) else ""
