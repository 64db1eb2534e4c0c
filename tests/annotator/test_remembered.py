"""Laws of remembered pictures: they show their scenes, and traces are what light leaves there."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Generator

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.remembered import RememberedScenes, _retoned, lit_layers, neutral
from annotator.scenes.staged import StagedScene
from annotator.scenes.supply import Supply
from ldm.compositing import stack, visibility
from ldm.projection import towards
from ldm.scene import LitLayers, partly_cut_out, traces

SIZE = 32


@pytest.fixture(scope="module")
def staged(supply: Supply) -> StagedScene:
    """Six scenes."""
    return next(AnalyticScenes(supply, size=SIZE, batch_size=6, num_batches=1, seed=2).staged())


def batches(staged: StagedScene, count: int, first: int = 0) -> Iterator[LitLayers]:
    """Batches of four, up to the tenth."""
    scenes = RememberedScenes([staged], batch_size=4, num_batches=10 - first, seed=3, first=first)
    return (batch for _, batch in zip(range(count), scenes, strict=False))


def test_traces_are_the_bodies_and_what_they_darken(staged: StagedScene) -> None:
    whole = staged.whole
    slots = torch.full_like(staged.num_witnesses, whole.layers.present.shape[1])
    cover, dark = traces(whole, slots).split(1, dim=1)
    torch.testing.assert_close(cover, 1 - visibility(whole.layers.alpha)[:, 0])
    mirrored = whole.effects.reflection[:, :, 3:].amax(dim=1)
    bare = ((cover < 1e-6) & (mirrored < 1e-6)).expand(-1, 3, -1, -1)
    left = (whole.picture / whole.layers.rgb[:, 0].clamp(min=1e-3)).mean(dim=1, keepdim=True)
    torch.testing.assert_close((1 - dark)[bare[:, :1]], left[bare[:, :1]], atol=1e-3, rtol=0)
    assert dark[bare[:, :1]].amax() > 0.1


def test_a_back_without_witnesses_has_no_traces(staged: StagedScene) -> None:
    assert not traces(staged.whole, torch.zeros_like(staged.num_witnesses)).any()


def test_neutral_layers_are_seen_as_one_before_the_back(staged: StagedScene) -> None:
    lit, scene = neutral(staged), staged.scene
    found = lit.layers
    assert found.present.tolist() == [[True, False, True]] * 6
    assert lit.agreed.tolist() == [[True, False, False]] * 6
    torch.testing.assert_close(found.rgba[:, 0], scene.layers.rgba[:, 0], atol=3e-3, rtol=0)
    torch.testing.assert_close(stack(found), stack(scene.layers), atol=8e-3, rtol=0)
    torch.testing.assert_close(
        visibility(found.alpha)[:, 0], visibility(scene.layers.alpha)[:, 0], atol=3e-3, rtol=0
    )


def test_layers_cut_out_are_apart_from_those_that_are_not(staged: StagedScene) -> None:
    most = staged.scene.layers.present[:, 1:].sum(dim=1)
    lit = lit_layers(staged, most)
    assert torch.equal(lit.agreed, lit.layers.present)
    assert not lit.layers.present[:, 2].any()
    torch.testing.assert_close(stack(lit.layers), staged.whole.picture, atol=8e-3, rtol=0)
    some = lit_layers(staged, torch.ones_like(most))
    assert some.layers.present[:, 1].all()
    assert torch.equal(some.layers.present[:, 2], most > 1)
    plain = stack(partly_cut_out(staged.scene, torch.ones_like(most)).layers)
    torch.testing.assert_close(stack(some.layers), plain, atol=8e-3, rtol=0)
    assert (some.traces.sum(dim=(1, 2, 3)) <= lit.traces.sum(dim=(1, 2, 3)) + 1e-4).all()


def test_pictures_come_in_every_way(staged: StagedScene) -> None:
    seen = {
        tuple(present)
        for batch in batches(staged, 10, 0)
        for present in batch.layers.present.tolist()
    }
    assert len(seen) > 1


def test_black_that_rounding_made_darker_stays_a_colour(staged: StagedScene) -> None:
    lit = neutral(staged)
    darker = replace(lit.layers, rgba=lit.layers.rgba.clamp(max=0) - 1e-6)
    toned = _retoned(replace(lit, layers=darker), Generator().manual_seed(0))
    assert toned.layers.rgba.isfinite().all()


def test_a_batch_depends_on_its_number_only(staged: StagedScene) -> None:
    *_, third = batches(staged, 3)
    other = next(batches(staged, 1, first=2))
    assert torch.equal(third.layers.rgba, other.layers.rgba)
    assert torch.equal(third.light.azimuth, other.light.azimuth)
    assert torch.equal(third.traces, other.traces)
    assert not torch.equal(third.traces, next(batches(staged, 1)).traces)


def test_pictures_come_turned_over_or_not(staged: StagedScene) -> None:
    for batch in batches(staged, 10):
        assert batch.layers.rgba.shape == (4, 3, 4, SIZE, SIZE)
        assert batch.traces.shape == (4, 2, SIZE // 4, SIZE // 4)
        assert batch.layers.rgba.amin() >= 0
        assert batch.layers.rgba.amax() <= 1
        for direction in towards(batch.light):
            known = towards(staged.whole.light)
            known = torch.cat([known, known * torch.tensor([-1.0, 1.0, 1.0])])
            assert (known - direction).norm(dim=-1).amin() < 5e-3


def test_turned_over_exchanges_left_and_right(staged: StagedScene) -> None:
    lit = neutral(staged)
    some = torch.tensor([True, False] * 3)
    turned = lit.turned_over(some)
    assert torch.equal(turned.layers.rgba[0], lit.layers.rgba[0].flip(-1))
    assert torch.equal(turned.traces[0], lit.traces[0].flip(-1))
    assert torch.equal(turned.traces[1], lit.traces[1])
    mirror = towards(lit.light) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(towards(turned.light)[some], mirror[some], atol=1e-5, rtol=0)
    again = turned.turned_over(some).light.azimuth
    assert (again - lit.light.azimuth).remainder(2 * math.pi).sin().abs().amax() < 1e-5
