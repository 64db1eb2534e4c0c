"""Laws of tables: each foreign key is covered once."""

from subjects import TEXT, WIDTHS, foreign_unet

from ldm.layout import StackedLayout
from ldm.unet import UNet
from ldm.weights import unet_from_diffusers


def test_the_table_covers_each_key_of_diffusers_once() -> None:
    foreign = foreign_unet().state_dict()
    found = unet_from_diffusers(foreign)
    ours = UNet(WIDTHS, StackedLayout(32, TEXT)).state_dict()
    assert len(found) == len(foreign)
    assert ours.keys() - found.keys() == {"layout.sense.weight", "layout.sense.bias"}
    assert all(found[key].shape == ours[key].shape for key in found)
