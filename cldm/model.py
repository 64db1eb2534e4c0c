"""`LayerDiffusion`: the parts joined. Masks and words in, layers and their effects out."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldm.condition import Condition, hint
from cldm.control import ControlNet, Encoded
from cldm.relation.guides import LightHint
from cldm.relation.network import RelationNetwork
from ldm.autoencoder import Autoencoder
from ldm.compositing import crop, crop_masks, place
from ldm.denoiser import (
    BatchGuidedDenoiser,
    Denoiser,
    GuidedDenoiser,
    NetworkDenoiser,
    NoiseSchedule,
    Prediction,
    linear_velocity,
)
from ldm.layout import Prompts
from ldm.sampler import Preview, Sampler, sample
from ldm.text import TextTower, Tokenizer, sense
from ldm.unet import Reading, Taps, UNet
from ldm.values import Effects, Layers, Light, Masks, TensorValue

# How much weaker each finer tap is in guess mode: the original's number.
_GUESS_FALLOFF = 0.825


class Order(Enum):
    """All layers at once, or one after the other from back to front."""

    JOINT = "joint"
    AUTOREGRESSIVE = "autoregressive"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How layers are drawn, in `num_steps` steps, 1 to 1000.

    Guidance 1 is none; it leads away from `negative_prompt`.
    `control_strength` scales the ControlNet. In `guess_mode` the conditional half alone is
    controlled, and fine taps are weaker than coarse ones, so that masks say much without words.
    """

    sampler: Sampler = Sampler.DPM
    num_steps: int = 20
    guidance_scale: float = 1.0
    negative_prompt: str = ""
    control_strength: float = 1.0
    guess_mode: bool = False
    order: Order = Order.JOINT
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Task(TensorValue):
    """What is to be drawn: the slots in `redraw`, as `condition` says; `layers` has the others."""

    layers: Layers
    condition: Condition
    redraw: Bool[Tensor, "b n"]


def scaled(taps: Taps, strength: float, falloff: float) -> Taps:
    """What a ControlNet adds, times `strength`; from the middle, the last, each finer tap is
    weaker by the factor `falloff`."""
    steps = reversed(range(len(taps)))
    return tuple(tap * (strength * falloff**step) for tap, step in zip(taps, steps, strict=True))


def blank_task(condition: Condition) -> Task:
    """Everything is to be drawn."""
    size = condition.masks.area.shape[-2:]
    present = condition.masks.present
    blank = torch.zeros(*present.shape, 4, *size, device=present.device)
    return Task(layers=Layers(rgba=blank, present=present), condition=condition, redraw=present)


@contextmanager
def visiting(part: nn.Module | RelationNetwork, device: torch.device) -> Generator[None]:
    """A part on a device for as long as it is needed; then it goes back to where it lay. One
    without weights is at home everywhere."""
    home = next((weight.device for weight in part.parameters()), device)
    part.to(device)
    try:
        yield
    finally:
        part.to(home)


class LayerDiffusion(nn.Module):
    """Text tower, ControlNet, U-Net, autoencoder and relation network as one model.

    It works on its `device`; a part that lies elsewhere comes there while it is needed. Pictures
    and latents are float32, whatever the precision of the networks. With `batched_guidance` both
    halves of guidance go through the networks in one batch, which needs more memory than one after
    the other.
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        text: TextTower,
        unet: UNet,
        control: ControlNet,
        autoencoder: Autoencoder,
        relation: RelationNetwork,
        schedule: NoiseSchedule,
        prediction: Prediction,
        preconditioned: bool,
        canvas: int,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text = text
        self.unet = unet
        self.control = control
        self.autoencoder = autoencoder
        self.relation = relation
        self.schedule = schedule
        self.prediction = prediction
        self.preconditioned = preconditioned
        self.canvas = canvas
        self.batched_guidance = True

    @property
    def device(self) -> torch.device:
        """Where work is done: where the noise levels lie."""
        return self.schedule.log_sigmas.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of U-Net and ControlNet."""
        return next(self.unet.parameters()).dtype

    def prompts(self, condition: Condition) -> Prompts:
        """Words and masks as the networks read them."""
        area = condition.masks.area * condition.masks.present[:, :, None, None]
        cells = self.canvas // self.autoencoder.factor
        with visiting(self.text, self.device):
            text = self.text(condition.tokens).to(self.dtype)
        return Prompts(
            text=text,
            sense=sense(condition.tokens, text),
            area=crop_masks(area, condition.frames, (cells, cells)),
            frames=condition.frames,
            present=condition.masks.present,
        )

    def predict(
        self,
        noisy: Float[Tensor, "b n z y x"],
        timestep: Float[Tensor, "b n"],
        reading: Reading,
        encoded: Encoded,
        strength: float,
        falloff: float = 1.0,
    ) -> Float[Tensor, "b n z y x"]:
        """U-Net under control: noise or velocity. When preconditioned, the network's answer is what
        differs from the velocity of the best linear guess around the prompts' mean. `scaled` tells
        of `strength` and `falloff`; at strength 0 the ControlNet does not run."""
        control: Taps = ()
        known = noisy.to(self.dtype)
        if strength:
            control = scaled(self.control(known, timestep, encoded), strength, falloff)
        found = self.unet(known, timestep, reading, control)
        if not self.preconditioned:
            return found
        sigma = self.schedule.sigma(timestep)
        return found.float() + linear_velocity(
            noisy, sigma, encoded.mean.float(), self.autoencoder.spread.to(noisy.device)
        )

    def denoiser(
        self, condition: Condition, strength: float, falloff: float = 1.0
    ) -> NetworkDenoiser:
        """The model under one condition as a denoiser; words and hints are encoded once."""
        prompts = self.prompts(condition)
        reading = self.unet.read(prompts)
        encoded = self.control.encode(hint(condition, self.canvas).to(self.dtype), prompts)

        def network(noisy: Tensor, timestep: Tensor) -> Tensor:
            return self.predict(noisy, timestep, reading, encoded, strength, falloff)

        return NetworkDenoiser(network, self.schedule, self.prediction)

    def guided(self, condition: Condition, sampling: Sampling) -> Denoiser:
        """The denoiser with guidance, or without when the scale is 1."""
        scale, strength = sampling.guidance_scale, sampling.control_strength
        falloff = _GUESS_FALLOFF if sampling.guess_mode else 1.0
        if scale == 1:
            return self.denoiser(condition, strength, falloff)
        negative = condition.empty(self.tokenizer([sampling.negative_prompt])[0].to(self.device))
        if self.batched_guidance and not sampling.guess_mode:
            return BatchGuidedDenoiser(self.denoiser(negative.joined(condition), strength), scale)
        conditional = self.denoiser(condition, strength, falloff)
        unconditional = self.denoiser(negative, 0.0 if sampling.guess_mode else strength)
        return GuidedDenoiser(conditional, unconditional, scale)

    def generate(self, condition: Condition, sampling: Sampling) -> Layers:
        """Draw all layers."""
        return self.finish(blank_task(condition), sampling)

    def edit(
        self, layers: Layers, condition: Condition, redraw: Bool[Tensor, "b n"], sampling: Sampling
    ) -> Layers:
        """Draw only the slots in `redraw`; the others are seen by them and leave bit-identical."""
        return self.finish(Task(layers=layers, condition=condition, redraw=redraw), sampling)

    def finish(self, task: Task, sampling: Sampling) -> Layers:
        """Draw without looking at the previews."""
        *_, last = self.draw(task, sampling)
        return self.show(task, last)

    @torch.no_grad()
    def draw(self, task: Task, sampling: Sampling) -> Iterator[Preview]:
        """Draw step by step; `show` turns any preview into layers, the last one is the result."""
        task = task.to(self.device)
        kept = self._kept(task)
        generator = torch.Generator().manual_seed(sampling.seed)
        passes = self._passes(task, sampling.order)
        with visiting(self.unet, self.device), visiting(self.control, self.device):
            for index, (condition, free) in enumerate(passes):
                for preview in sample(
                    self.guided(condition, sampling),
                    kept,
                    free,
                    self.schedule,
                    sampler=sampling.sampler,
                    num_steps=sampling.num_steps,
                    generator=generator,
                ):
                    kept = preview.latents
                    yield Preview(
                        latents=kept,
                        step=index * sampling.num_steps + preview.step,
                        num_steps=len(passes) * sampling.num_steps,
                    )

    @torch.no_grad()
    def show(self, task: Task, preview: Preview) -> Layers:
        """Drawn slots decoded and placed on the picture; all others as they came, on the device
        where they came."""
        layers = task.layers
        with visiting(self.autoencoder, self.device):
            canvases = self.autoencoder.decode(preview.latents).to(layers.rgba.device)
        placed = place(canvases, task.condition.frames, layers.size)
        drawn = task.redraw & task.condition.masks.present
        rgba = torch.where(drawn[:, :, None, None, None], placed, layers.rgba)
        return Layers(rgba=rgba, present=task.condition.masks.present).with_opaque_back()

    def estimated_light(self, layers: Layers) -> Light:
        """The light that layers seem to stand in, by what the back shows."""
        with visiting(self.relation, self.device), torch.no_grad():
            return self.relation.estimated(layers.to(self.device)).light.to(layers.rgba.device)

    def agreed(self, layers: Layers, light: LightHint) -> Float[Tensor, "b m"]:
        """How likely each layer above the back stands in the light already, 0..1."""
        home = layers.rgba.device
        with visiting(self.relation, self.device), torch.no_grad():
            return self.relation.agreed(layers.to(self.device), light.to(self.device)).to(home)

    def relate(self, layers: Layers, light: LightHint) -> Effects:
        """Light, shadow, reflection and soft edges between layers, as sheets."""
        home = layers.rgba.device
        with visiting(self.relation, self.device):
            return self.relation(layers.to(self.device), light.to(self.device)).to(home)

    def _kept(self, task: Task) -> Float[Tensor, "b n z y x"]:
        """Latents of the slots that are kept; anything where all are drawn."""
        if not (task.condition.masks.present & ~task.redraw).any():
            cells = self.canvas // self.autoencoder.factor
            size = (*task.redraw.shape, len(self.autoencoder.shift), cells, cells)
            return torch.zeros(size, device=self.device)
        canvases = crop(task.layers.rgba, task.condition.frames, (self.canvas, self.canvas))
        with visiting(self.autoencoder, self.device):
            return self.autoencoder.encode(canvases)

    def _passes(self, task: Task, order: Order) -> list[tuple[Condition, Tensor]]:
        """What is drawn in turn: all slots at once, or each with those in front still absent."""
        condition, redraw = task.condition, task.redraw & task.condition.masks.present
        if order is Order.JOINT:
            return [(condition, redraw)]
        passes: list[tuple[Condition, Tensor]] = []
        slots = torch.arange(redraw.shape[1], device=redraw.device)
        for slot in slots[redraw.any(dim=0)]:
            # Kept slots are known from the beginning; those still to be drawn are not there yet.
            known = condition.masks.present & ((slots <= slot) | ~redraw)
            masks = Masks(area=condition.masks.area, present=known)
            passes.append((replace(condition, masks=masks), redraw & (slots == slot)))
        return passes
