"""Laws of the contest: what the truth itself, nothing, and a known light score in all of it."""

import pytest
import torch
from relation_scenes import MOVED, RELIT, light
from torch import Generator

from cldm.relation.estimate import LightEstimate, certain
from cldm.relation.guides import LightHint
from cldm.relation.network import PlainStacking
from ldm.scene import cut_out
from ldm.values import Effects, Layers, identity_effects
from paper.relation_contest import Contestants, blind, measured
from paper.relation_measures import Measured
from paper.relation_peers import plain, reinhard


class Knowing(PlainStacking):
    """A network that knows the true effects of these scenes, and takes nothing else for one."""

    def estimated(self, layers: Layers) -> LightEstimate:
        return certain(light(azimuth=0.5 + torch.pi / 2))

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        for scene in (MOVED.before, MOVED.after):
            if torch.equal(layers.rgba, scene.layers.rgba):
                return scene.effects
        return identity_effects(layers)


@pytest.fixture(scope="module")
def found() -> Measured:
    """All measures of a move."""
    contestants = Contestants(
        networks={"": Knowing()},
        recolouring={"plain.": blind(plain), "reinhard.": blind(reinhard)},
        casting={"plain.": blind(plain)},
        mean_light=light(softness=0.7),
    )
    return measured(MOVED, contestants, Generator().manual_seed(2))


def test_the_truth_makes_no_error(found: Measured) -> None:
    for told in ("", "light_given."):
        assert found[f"{told}psnr"] == 100
        assert found[f"{told}shadow_ber"] == 0
        assert found[f"{told}edit_error"] < 1e-3
        # What it does to layers that agree already is nothing.
        assert found[f"{told}identity_effect"] == 0
        assert found[f"{told}neutral_rmse"] > 1
    for prefix in ("light_found.", "light_found.followed.", "light_given.followed."):
        assert found[f"{prefix}edit_error_moved"] < 1e-3
    assert found["light.azimuth_error_deg"].item() == pytest.approx(90)
    assert found["mean_light.softness_error"].item() == pytest.approx(0.5)


def test_doing_nothing_gains_nothing(found: Measured) -> None:
    assert found["plain.affected_gain_db"] == 0
    for task in ("", "relit_"):
        assert found[f"plain.{task}harmonisation_gain_db"].abs() < 1e-3
    assert found["plain.shadow_ber"] == 0.5


def test_only_those_that_can_are_measured(found: Measured) -> None:
    assert "reinhard.shadow_ber" not in found
    assert "reinhard.edit_error" not in found
    assert found["rigid.edit_error"] < 1e-3 < 1 < found["left_behind.edit_error"]


def test_recolouring_is_undone_against_the_true_picture() -> None:
    # Layers that agree, as HCOCO has them: plainly stacked they are the truth.
    agreed = cut_out(RELIT.before)
    contestants = Contestants(
        networks={"": Undoing(agreed.layers)}, recolouring={}, casting={}, mean_light=light()
    )
    found = measured(RELIT, contestants, Generator().manual_seed(2))
    assert found["harmonisation_psnr"] > 100
    assert found["relit_harmonisation_gain_db"] > 20
    assert "still_mean" not in found


class Undoing(Knowing):
    """A network that gives layers the colours of others, in whatever colours they come."""

    def __init__(self, right: Layers) -> None:
        super().__init__()
        self.right = right

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        colours = torch.zeros_like(layers.rgb)
        return Effects(
            multiply=colours,
            add=colours + self.right.rgb,
            shadow=colours + 1,
            reflection=torch.zeros_like(layers.rgba),
            alpha=layers.alpha,
        )
