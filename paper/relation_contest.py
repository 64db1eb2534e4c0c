"""What the contestants do with a scene and its edit, each under the prefix of its figures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Generator

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from cldm.relation.finding import found_light
from cldm.relation.following import agreed_around, followed
from cldm.relation.guides import told, unknown_hint
from cldm.relation.learned import LearnedRelation
from cldm.relation.live import LivePicture
from cldm.relation.network import RelationNetwork
from cldm.relation.placed import placed
from cldm.training.disturbance import recoloured
from ldm.effects import shown
from ldm.scene import Scene, cut_out
from ldm.values import Effects, Layers, Light
from paper.relation_baked import left_behind, rigid
from paper.relation_edits import drawn_region, nearest_slot, slot_mask
from paper.relation_light import light_errors, turned
from paper.relation_measures import (
    Measured,
    measured_change,
    measured_composite,
    measured_edit,
    measured_harmonisation,
    measured_shadow,
    measured_stillness,
)

Method = Callable[[Layers, Light], Effects]


@dataclass(frozen=True, kw_only=True)
class Contestants:
    """Methods by what they can do, each under the prefix of its figures.

    `networks`: all; `recolouring`: colours of layers only; `casting`: shadows only. `mean_light` is
    the answer of who always gives the same.
    """

    networks: dict[str, RelationNetwork]
    recolouring: dict[str, Method]
    casting: dict[str, Method]
    mean_light: Light

    @property
    def relighting(self) -> dict[str, Method]:
        """Each network, told nothing of the light and all of it."""
        methods: dict[str, Method] = {}
        for name, network in self.networks.items():
            methods[name] = untold(network)
            methods[f"{name}light_given."] = all_told(network)
        return methods


def untold(network: RelationNetwork) -> Method:
    """A network that is told nothing of the light."""
    return lambda layers, light: network(layers, unknown_hint(len(light.azimuth)))


def all_told(network: RelationNetwork) -> Method:
    """A network that is told all of the light."""
    return lambda layers, light: network(layers, told(light))


def blind(peer: Callable[[Layers], Effects]) -> Method:
    """A method that does not ask for the light."""
    return lambda layers, light: peer(layers)


def measured(edited: EditedScene, contestants: Contestants, generator: Generator) -> Measured:
    """All measures of one scene and its edit; a method's prefix stands before a measure's name."""
    ours, scene = contestants.networks[""], edited.before
    agreed, _ = agreed_around(scene.effects, edited.moves)
    fitted = found_light(ours, scene.layers, scene.effects, agreed)
    return (
        composites(scene, contestants)
        | harmonised(scene, contestants, generator)
        | unchanged(cut_out(scene), contestants)
        | edits(edited, contestants, fitted)
        | stillness(edited, ours, fitted)
        | lights(scene, contestants, fitted)
    )


def composites(scene: Scene, contestants: Contestants) -> Measured:
    """Composite, the shadows of those that cast some, and how much those change that do both."""
    found: Measured = {}
    casting = contestants.relighting | contestants.casting
    for name, method in (casting | contestants.recolouring).items():
        effects = method(scene.layers, scene.light)
        found |= _named(name, measured_composite(scene, effects))
        if name in casting:
            found |= _named(name, measured_shadow(scene, effects))
        if name in contestants.relighting:
            found |= _named(f"{name}neutral_", measured_change(scene.layers, effects))
    return found


def harmonised(scene: Scene, contestants: Contestants, generator: Generator) -> Measured:
    """One layer in wrong colours among layers cut from the true picture, as HCOCO has it (Cong et
    al., CVPR 2020), and, harder, among neutral layers that are to be lit (`relit_`)."""
    found: Measured = {}
    slot = nearest_slot(scene.layers)
    for task, each in (("", cut_out(scene)), ("relit_", scene)):
        chosen = slot_mask(slot, each.layers.present.shape[1])
        wrong = recoloured(each.layers, chosen, generator)
        for name, method in (contestants.relighting | contestants.recolouring).items():
            effects = method(wrong, scene.light)
            found |= _named(name + task, measured_harmonisation(each, wrong, slot, effects))
    return found


def unchanged(agreed: Scene, contestants: Contestants) -> Measured:
    """What is done to layers that agree already."""
    found: Measured = {}
    for name, method in contestants.relighting.items():
        effects = method(agreed.layers, agreed.light)
        found |= _named(f"{name}identity_", measured_change(agreed.layers, effects))
    return found


def edits(edited: EditedScene, contestants: Contestants, fitted: Light) -> Measured:
    """The layers after an edit related anew; the true effects of before changed as the network says
    (`followed`); and the same baked in."""
    ours, after = contestants.networks[""], edited.after
    found: Measured = {}
    for name, method in contestants.relighting.items():
        picture = shown(after.layers, method(after.layers, after.light))
        found |= _named(name, measured_edit(edited, picture))
    agreed = agreed_around(edited.before.effects, edited.moves)
    for name, lights in _lights_of_edit(edited, fitted).items():
        hints = [replace(told(each), agreed=who) for each, who in zip(lights, agreed, strict=True)]
        before, now = ours(edited.before.layers, hints[0]), ours(after.layers, hints[1])
        if name == "light_found.":
            found |= _named(name, measured_edit(edited, shown(after.layers, now)))
        kept = followed(
            edited.before.effects,
            before,
            now,
            edited.moves,
            after.layers,
            same_light=edited.kind is not EditKind.relit,
        )
        found |= _named(name + "followed.", measured_edit(edited, shown(after.layers, kept)))
    found |= _named("rigid.", measured_edit(edited, rigid(edited)))
    return found | _named("left_behind.", measured_edit(edited, left_behind(edited)))


def _lights_of_edit(edited: EditedScene, fitted: Light) -> dict[str, tuple[Light, Light]]:
    """The lights before and after an edit as an artist has them, who was told or found the first
    and does with it what the edit does."""
    true, new = edited.before.light, edited.after.light
    return {"light_given.": (true, new), "light_found.": (fitted, turned(fitted, true, new))}


def stillness(edited: EditedScene, ours: RelationNetwork, fitted: Light) -> Measured:
    """What moves although it should not, the light held through the edit as the studio does: all
    related anew; the network's own effects of before `followed`, the layers' edges being their own
    in both; and `dragged` in the studio."""
    found: Measured = {}
    before, after = edited.before.layers, edited.after.layers
    estimated = ours.estimated(before).light
    lights = {"": estimated, "light_given.": edited.before.light, "light_found.": fitted}
    for name, light in lights.items():
        old, new = (replace(ours(each, told(light)), alpha=each.alpha) for each in (before, after))
        kept = followed(old, old, new, edited.moves, after, same_light=True)
        ways = {name: (old, new), f"{name}followed.": (old, kept)}
        if isinstance(ours, LearnedRelation):
            ways[f"{name}dragged."] = _dragged(edited, ours, light)
        for prefix, effects in ways.items():
            pictures = shown(before, effects[0]), shown(after, effects[1])
            drawn = drawn_region(edited, *effects)
            found |= _named(prefix, measured_stillness(edited, *pictures, drawn))
    return found


def _dragged(edited: EditedScene, ours: LearnedRelation, light: Light) -> tuple[Effects, Effects]:
    """The effects before and after an edit of a picture that is shown while it is edited."""
    live = LivePicture(ours, edited.before.layers.size)
    old = tuple(map(placed, edited.before.layers.rgba[0]))
    new = [
        placed(rgba) if changed else old[slot]
        for rgba, changed, slot in zip(
            edited.after.layers.rgba[0], edited.moves.edited, edited.moves.origin, strict=True
        )
    ]
    live.show(old, told(light))
    before = live.effects(edited.before.layers)
    live.show(new, told(light))
    return before, live.effects(edited.after.layers)


def lights(scene: Scene, contestants: Contestants, fitted: Light) -> Measured:
    """How far guesses of the light are off."""
    found = {"mean_light.": contestants.mean_light, "light_found.": fitted}
    for name, network in contestants.networks.items():
        found[f"{name}light."] = network.estimated(scene.layers).light
    errors: Measured = {}
    for name, light in found.items():
        errors |= _named(name, light_errors(scene.light, light))
    return errors


def _named(prefix: str, found: Measured) -> Measured:
    return {prefix + name: values for name, values in found.items()}
