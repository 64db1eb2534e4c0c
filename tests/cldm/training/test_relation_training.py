"""Training the relation network: its loss falls on one scene, and perfect effects cost nothing."""

from copy import deepcopy
from dataclasses import asdict, replace

import pytest
import pytorch_lightning as pl
import torch
from torch import Generator
from torch.utils.data import DataLoader

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.supply import Supply
from cldm.config import RelationStageConfig
from cldm.relation.graph import RelationGraph
from cldm.relation.transformer import RelationTransformer
from cldm.training.relation import RelationTraining
from ldm.compositing import stack
from ldm.scene import Scene
from ldm.values import Effects, identity_effects


def scene() -> Scene:
    """Two small scenes of boxes."""
    cutouts = torch.zeros(1, 4, 16, 16)
    cutouts[:, :, 2:, 4:12] = 0.7
    cutouts[:, 3, 2:, 4:12] = 1
    backdrop = torch.full((3, 32, 32), 0.6)
    supply = Supply(cutouts=cutouts, backdrops=(backdrop,))
    return next(iter(AnalyticScenes(supply, size=32, batch_size=2, num_batches=1, seed=0)))


Network = type[RelationTransformer] | type[RelationGraph]


def training(kind: Network) -> RelationTraining:
    """A tiny training."""
    torch.manual_seed(0)
    network = kind(width=16, depth=1, num_heads=2, working_size=32, patch=8)
    return RelationTraining(network, RelationStageConfig(num_steps=30, learning_rate=0.01))


def weighted(module: RelationTraining, batch: Scene) -> float:
    """The loss of the network's answer when the light is given."""
    effects = module.answer(batch, given=True)
    terms = costs(module, batch, effects)
    weights = asdict(module.recipe.weights)
    return sum(weights[name] * term for name, term in terms.items())


def costs(module: RelationTraining, batch: Scene, effects: Effects) -> dict[str, float]:
    """Each term of the loss for effects on layers that came as they are."""
    terms = module.terms(batch, batch.layers, effects)
    return {name: float(term) for name, term in terms.items()}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", [RelationTransformer, RelationGraph])
def test_loss_falls_on_one_batch(kind: Network) -> None:
    module, batch = training(kind), scene()
    before = weighted(module, batch)
    estimator = deepcopy(module.network.estimator.state_dict())
    trainer = pl.Trainer(
        max_steps=20,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([batch] * 20, batch_size=None))
    assert weighted(module, batch) < 0.9 * before
    kept = module.network.estimator.state_dict()
    assert all(torch.equal(weight, kept[name]) for name, weight in estimator.items())
    gains = trainer.validate(module, DataLoader([batch], batch_size=None), verbose=False)[0]
    assert gains["validation/given_light_gain_db"] > 0


def test_truth_costs_least() -> None:
    module, batch = training(RelationTransformer), scene()
    true = costs(module, batch, batch.effects)
    plain = costs(module, batch, identity_effects(batch.layers))
    assert max(true[name] for name in true if name != "stillness") < 1e-6
    for name in ("composite", "relit", "shadow"):
        assert plain[name] > true[name]


def test_the_recipe_says_how_layers_come() -> None:
    batch, generator = scene(), Generator().manual_seed(0)
    module = training(RelationTransformer)
    nothing = RelationStageConfig(told=0.0, cut_out=0.0, recoloured=0.0, roughened=0.0)
    module.recipe = nothing
    same, layers, told = module.task(batch, generator)
    assert torch.equal(layers.rgba, batch.layers.rgba)
    assert torch.equal(same.effects.shadow, batch.effects.shadow)
    assert not told.any()
    module.recipe = replace(nothing, told=1.0, cut_out=1.0, recoloured_cut_out=1.0)
    cut, layers, told = module.task(batch, generator)
    torch.testing.assert_close(cut.picture, batch.picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(stack(cut.layers), batch.picture, atol=1e-5, rtol=0)
    assert (stack(layers) - batch.picture).abs().amax() > 0.02
    assert told.all()


def test_example_shows_four_pictures() -> None:
    assert training(RelationTransformer).example(scene()).shape == (2, 4, 3, 32, 32)
