"""The studio: prompts follow their masks, mistakes are told in a line, a browser gets its PSD."""

import asyncio
import gc
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from psd_tools import PSDImage

from cldm.brief import LightBrief, read_brief
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion
from studio_rows import Rows, coloured, follow

# The door comes first: it sets what Gradio reads when it is imported.
from gradio_layers import EXAMPLES, page, serve  # isort: skip
import gradio as gr  # isort: skip
from studio import Studio  # isort: skip

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture
def config(tiny_config: ModelConfig) -> ModelConfig:
    return replace(tiny_config, max_slots=5)


def disc(across: int, down: int, radius: int = 9) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (x - across) ** 2 + (y - down) ** 2 <= radius**2


def rows(*masks: np.ndarray) -> Rows:
    return Rows(masks=(*masks, *[None] * (4 - len(masks))), shown=max(1, len(masks)))


LEFT, RIGHT, NOTHING = disc(16, 20), disc(44, 40), np.zeros((64, 64), bool)


def test_prompts_stay_while_a_mask_is_painted() -> None:
    assert follow(rows(), [NOTHING]) == [0, 1, 2, 3]
    assert follow(rows(NOTHING), [LEFT]) == [0, 1, 2, 3]
    assert follow(rows(LEFT, RIGHT), [LEFT | disc(20, 22), RIGHT]) == [0, 1, 2, 3]
    assert follow(rows(LEFT, RIGHT), [LEFT, NOTHING]) == [0, 1, 2, 3]


def test_prompts_follow_masks_that_change_places() -> None:
    assert follow(rows(LEFT, RIGHT), [RIGHT, LEFT])[:2] == [1, 0]
    assert follow(rows(LEFT, RIGHT), [disc(45, 41), disc(15, 20)])[:2] == [1, 0]


def test_prompts_of_deleted_masks_wait_below() -> None:
    order = follow(rows(LEFT, RIGHT), [RIGHT])
    assert order[0] == 1
    fewer = rows(LEFT, RIGHT).with_masks([RIGHT], order)
    assert fewer.shown == 1
    back = follow(fewer, [LEFT, RIGHT])
    assert [order[row] for row in back][:2] == [0, 1]


def test_a_new_layer_gets_no_old_prompt() -> None:
    fewer = rows(LEFT, RIGHT).with_masks([LEFT], [0, 1, 2, 3])
    assert follow(fewer, [LEFT, NOTHING])[1] not in (0, 1)


def asked(masks: list[np.ndarray], *prompts: str, background: str = "sand", steps: int = 2):
    """What the page hands to `Studio.generate`."""
    layers = [coloured(mask, row) for row, mask in enumerate(masks)]
    editor = {"background": None, "layers": layers, "composite": None}
    sampling = (steps, 3.0, 1.0, -1, "dpm++ 2m", "joint")
    light = (True, 20, 40, 0.2)
    blank = [""] * (4 - len(prompts))
    return editor, background, "at noon", *sampling, *light, *prompts, *blank


def test_generate_yields_previews_then_files(tiny_model: LayerDiffusion, config) -> None:
    masks = [LEFT, NOTHING, RIGHT]
    studio = Studio(tiny_model, config)
    seen = 0
    for status, picture, layers, *files, drawn in studio.generate(  # noqa: B007
        *asked(masks, "a duck", "", "a duck")
    ):
        seen += 1
        if seen > 1:
            assert picture.size == (64, 64)
            assert [name for _, name in layers] == ["background", "a duck", "a duck 2"]
            assert all(layer.mode == "RGBA" for layer, _ in layers)
        if status.startswith("Finished"):
            psd, ora, archive = (file["value"] for file in files)
            assert [group.name for group in PSDImage.open(psd)] == [name for _, name in layers]
            assert zipfile.is_zipfile(ora)
            unpacked = psd.parent.parent / "unpacked"
            shutil.unpack_archive(archive, unpacked)
            brief = read_brief(unpacked / "brief.yaml", [])
            assert [layer.prompt for layer in brief.layers] == ["sand", "a duck", "a duck"]
            assert f"Seed {brief.seed}" in status
            assert all((unpacked / layer.mask.file).exists() for layer in brief.layers[1:])
    assert seen == 4
    assert not psd.exists()
    assert studio.show_light(drawn) == [20, 40, 0.2]
    for given, light in (
        (True, LightBrief(azimuth=70.0, elevation=30.0, softness=0.5)),
        (False, None),
    ):
        relit = studio.relight(drawn, given, 70, 30, 0.5)
        again = studio.finish(relit)
        assert next(again)[0].startswith("Lighting")
        status, _, relit_layers, *files = next(again)
        assert status.startswith("Finished")
        assert [np.asarray(layer).tolist() for layer, _ in relit_layers] == [
            np.asarray(layer).tolist() for layer, _ in layers
        ]
        assert relit.brief == replace(drawn.brief, light=light)
        assert zipfile.is_zipfile(files[2]["value"])
        assert list(again) == []
    assert studio.show_light(relit) != [70, 30, 0.5]


def test_a_dropped_layer_lies_there_in_all_files(tiny_model: LayerDiffusion, config) -> None:
    studio = Studio(tiny_model, config)
    *_, (_, _, _, *_, drawn) = studio.generate(*asked([LEFT, RIGHT], "a duck", "a goose"))
    row, column = np.unravel_index(drawn.layers.alpha[0, 2, 0].argmax(), (64, 64))
    pull = [(column + 0.5) / 64, (row + 0.5) / 64, -20 / 64, -15 / 64]
    frame = studio.drag(drawn, read_pull(pull))
    moved = studio.drop(drawn, gr.EventData(None, pull))
    expected = drawn.layers.rgba.clone()
    expected[0, 2] = expected[0, 2].roll((-15, -20), (1, 2))
    assert torch.equal(moved.layers.rgba, expected)
    assert moved.brief == drawn.brief
    for _, picture, layers, _, _, archive in list(studio.finish(moved))[1:]:  # noqa: B007
        print(archive)
    assert np.abs(np.asarray(frame.picture, int) - np.asarray(picture, int)).max() <= 1
    assert np.array_equal(np.asarray(layers[2][0]), quantised(expected[:, 2]))


def test_what_is_not_there_cannot_be_pulled(tiny_model: LayerDiffusion, config) -> None:
    studio = Studio(tiny_model, config)
    *_, (*_, drawn) = studio.generate(*asked([LEFT], "a duck"))
    corner = [0.99, 0.99, -0.5, 0]
    for each, pull in ((None, corner), (drawn, corner), (drawn, ["nonsense"]), (drawn, None)):
        assert studio.drag(each, read_pull(pull)) == gr.skip()
        assert studio.drop(each, gr.EventData(None, pull)) == gr.skip()


def test_a_drag_makes_what_is_being_finished_the_past(tiny_model: LayerDiffusion, config) -> None:
    studio = Studio(tiny_model, config)
    *_, (*_, drawn) = studio.generate(*asked([LEFT], "a duck"))
    finishing = studio.finish(drawn)
    next(finishing)
    drawn.seen()
    assert list(finishing) == []


def test_nothing_is_lit_before_it_is_drawn(tiny_model: LayerDiffusion, config: ModelConfig) -> None:
    studio = Studio(tiny_model, config)
    assert studio.relight(None, True, 0, 0, 0) == gr.skip()
    assert list(studio.finish(None)) == []
    assert studio.show_light(None) == [gr.skip()] * 3


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (asked([]), "No masks yet"),
        (asked([NOTHING], "a duck"), "No masks yet"),
        (asked([LEFT]), "Layer 1 has a mask but no prompt"),
        (asked([LEFT], "a duck", background=" "), "Background prompt is empty"),
        (asked([LEFT] * 5, *["a duck"] * 4), "5 layers, at most 4 fit"),
        (asked([LEFT], "a duck", steps=0), "steps: found 0"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tiny_model: LayerDiffusion, config: ModelConfig, given: tuple, line: str
) -> None:
    with pytest.raises(gr.Error) as told:
        list(Studio(tiny_model, config).generate(*given))
    assert told.value.message.startswith(line)
    assert "\n" not in told.value.message
    assert not told.value.print_exception


def test_examples_open(tiny_model: LayerDiffusion, config: ModelConfig) -> None:
    assert len(EXAMPLES) >= 2
    for path in EXAMPLES:
        editor, shown, *_ = Studio(tiny_model, config).open_example(path)
        assert len(editor["layers"]) == shown.shown >= 1


@pytest.fixture
def address(tiny_model: LayerDiffusion, config: ModelConfig) -> Iterator[str]:
    """The page, served for one test."""
    blocks = page(tiny_model, config)
    yield serve(blocks, None)
    blocks.close(verbose=False)
    # Gradio makes event loops for its locks and never closes them: gone here, not in another test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        del blocks
        gc.collect()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
def test_a_visitor_opens_an_example_and_takes_home_a_psd(address: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    strangers: list[str] = []
    own = (address, "data:", "blob:")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        visit = browser.new_page()
        visit.set_default_timeout(120_000)
        visit.on("request", lambda asked: asked.url.startswith(own) or strangers.append(asked.url))
        visit.goto(address)
        visit.get_by_role("button", name="Meadow").click()
        visit.locator("#prompt_3").wait_for()
        visit.get_by_role("button", name="Advanced options").click()
        visit.get_by_label("number input for Steps").fill("2")
        visit.locator("#generate").click()
        visit.locator("#psd:not([disabled])").wait_for()
        assert visit.locator("#picture img").count() == 1
        assert visit.locator("#layers button img").count() == 4
        with visit.expect_download() as download:
            visit.locator("#psd").click()
        download.value.save_as(tmp_path / "layers.psd")
        browser.close()
    names = [group.name for group in PSDImage.open(tmp_path / "layers.psd")]
    assert names == ["background", "a colourful hot air balloon", *names[2:]]
    assert names[3] == "a black and white soccer ball"
    assert strangers == []
