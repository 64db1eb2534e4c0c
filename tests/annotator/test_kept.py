"""Laws of kept scenes: few of their pixels, otherwise the same; what comes depends on a number."""

import torch
from relation_scenes import MOVED

from annotator.scenes.kept import KeptScenes, thinned
from ldm.scene import Scene, cut_out


def batches(first: int, count: int) -> list[Scene]:
    """Of a pool of two scenes."""
    made = [MOVED.before, MOVED.after]
    return list(KeptScenes(made, every=3, num_batches=count, seed=1, first=first))


def test_scenes_come_as_neutral_layers_and_as_layers_of_their_pictures() -> None:
    known = [part for scene in (MOVED.before, MOVED.after) for part in (scene, cut_out(scene))]
    seen: set[int] = set()
    for batch in batches(0, 40):
        [number] = [
            number
            for number, scene in enumerate(known)
            if torch.allclose(batch.layers.rgba, scene.layers.rgba[..., ::3, ::3], atol=1e-3)
            and torch.allclose(batch.effects.shadow, scene.effects.shadow[..., ::3, ::3], atol=1e-3)
        ]
        seen.add(number)
    assert seen == {0, 1, 2, 3}


def test_a_later_start_goes_on_where_an_earlier_one_would_be() -> None:
    for one, other in zip(batches(0, 8)[3:], batches(3, 5), strict=True):
        assert torch.equal(one.layers.rgba, other.layers.rgba)


def test_a_thinned_scene_shows_the_thinned_picture() -> None:
    scene = MOVED.before
    torch.testing.assert_close(thinned(scene, 2).picture, scene.picture[..., ::2, ::2])
