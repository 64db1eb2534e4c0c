"""The studio: mistakes are told in a line, what is drawn can be edited, a browser gets its PSD."""

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
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from psd_tools import PSDImage
from subjects import disc

from cldm.brief import LightBrief, read_brief
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion, Task
from ldm.sampler import Preview
from ldm.values import Layers, identity_effects
from studio_rows import coloured

# The door comes first: it sets what Gradio reads when it is imported.
from gradio_layers import EXAMPLES, page, serve  # isort: skip
import gradio as gr  # isort: skip
from studio import Studio  # isort: skip
from studio_arrangement import arranged, read_pull  # isort: skip
from studio_painting import Drawn  # isort: skip

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture
def config(tiny_config: ModelConfig) -> ModelConfig:
    return replace(tiny_config, max_slots=5)


LEFT, RIGHT, NOTHING = disc(16, 20), disc(44, 40), np.zeros((64, 64), bool)


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
        relit, _ = studio.relight(drawn, given, 70, 30, 0.5)
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


@pytest.fixture
def drawn(tiny_model: LayerDiffusion, config: ModelConfig) -> Drawn:
    """Sand and two solid discs in a light that nobody gave."""
    studio = Studio(tiny_model, config)
    *_, (*_, drawn) = studio.generate(*asked([LEFT, RIGHT], "a duck", "a pea"))
    rgba = drawn.layers.rgba.clone()
    rgba[0, 1:, 3] = torch.from_numpy(np.stack([LEFT, RIGHT])).float()
    solid = replace(drawn, arrangement=arranged(replace(drawn.layers, rgba=rgba)))
    return studio.relight(solid, False, 0, 0, 0)[0]


def test_a_dropped_layer_lies_there_in_all_that_is_made(
    tiny_model: LayerDiffusion, config: ModelConfig, drawn: Drawn
) -> None:
    studio, pull = Studio(tiny_model, config), [44.5 / 64, 40.5 / 64, -20 / 64, -15 / 64]
    frame = studio.drag(drawn, read_pull(pull)).picture
    moved, last = studio.drop(drawn, gr.EventData(None, pull))
    assert np.array_equal(frame, last.picture)
    before, after = drawn.layers.rgba[0], moved.layers.rgba[0]
    assert torch.equal(after[:2], before[:2])
    solid = torch.from_numpy(RIGHT).roll((-15, -20), (0, 1))
    assert torch.equal(after[2] * solid, before[2].roll((-15, -20), (1, 2)) * solid)
    assert torch.equal(after[2, 3] == 1, solid)
    assert (moved.brief, moved.light) == (drawn.brief, drawn.light)
    for _, picture, layers, *files in studio.finish(moved):
        if layers == gr.skip():
            continue
        shown = np.asarray(picture, int)[:, :, :3]
        assert np.abs(np.asarray(frame.convert("RGB"), int) - shown).max() <= 1
        assert np.array_equal(np.asarray(layers[2][0])[:, :, 3] == 255, solid)
        with zipfile.ZipFile(files[2]["value"]) as archive:
            mask = np.asarray(Image.open(archive.open("mask_2.png")))
        assert np.array_equal(mask, RIGHT)
    assert files[0]["interactive"]


def test_a_layer_takes_its_name_and_mask_along_when_it_steps_back(
    tiny_model: LayerDiffusion, config: ModelConfig, drawn: Drawn
) -> None:
    studio = Studio(tiny_model, config)
    moved, _ = studio.drop(drawn, gr.EventData(None, [44.5 / 64, 40.5 / 64, 0, 0]))
    stepped, _ = studio.step(-1, moved)
    results = stepped.results(identity_effects(stepped.layers))
    assert results.names == ["background", "a pea", "a duck"]
    assert torch.equal(results.layers.rgba, drawn.layers.rgba[:, [0, 2, 1]])
    assert torch.equal(results.masks.area, drawn.masks.area[:, [0, 2, 1]])
    assert torch.equal(stepped.hint.agreed, drawn.hint.agreed[:, [1, 0]])
    assert studio.step(-1, stepped) == [gr.skip()] * 2
    forward, _ = studio.step(1, stepped)
    assert torch.equal(forward.layers.rgba, drawn.layers.rgba)
    assert studio.step(1, forward) == [gr.skip()] * 2


def test_what_is_not_there_cannot_be_pulled(
    tiny_model: LayerDiffusion, config: ModelConfig, drawn: Drawn
) -> None:
    studio, corner = Studio(tiny_model, config), [0.99, 0.99, -0.5, 0]
    for each, pull in ((None, corner), (drawn, corner), (drawn, ["nonsense"]), (drawn, None)):
        assert studio.drag(each, read_pull(pull)) == gr.skip()
        assert studio.drop(each, gr.EventData(None, pull)) == [gr.skip()] * 2
    assert studio.step(1, drawn) == [gr.skip()] * 2


def test_a_drag_makes_what_is_being_finished_the_past(
    tiny_model: LayerDiffusion, config: ModelConfig, drawn: Drawn
) -> None:
    finishing = Studio(tiny_model, config).finish(drawn)
    next(finishing)
    drawn.seen()
    assert list(finishing) == []


def test_nothing_is_lit_before_it_is_drawn(tiny_model: LayerDiffusion, config: ModelConfig) -> None:
    studio = Studio(tiny_model, config)
    assert studio.relight(None, True, 0, 0, 0) == [gr.skip()] * 2
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
def address(
    tiny_model: LayerDiffusion, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The page, served for one test; what is drawn is as solid as its mask."""
    show = tiny_model.show

    def solid(task: Task, preview: Preview) -> Layers:
        layers = show(task, preview)
        rgba = torch.cat([layers.rgb, task.condition.masks.area[:, :, None]], dim=2)
        return replace(layers, rgba=rgba)

    monkeypatch.setattr(tiny_model, "show", solid)
    blocks = page(tiny_model, config)
    yield serve(blocks, None)
    blocks.close(verbose=False)
    # Gradio makes event loops for its locks and never closes them: gone here, not in another test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.set_event_loop(None)
        del blocks
        gc.collect()


def taken(visit: Page, path: Path) -> PSDImage:
    """The PSD as it is downloaded."""
    with visit.expect_download() as download:
        visit.locator("#psd").click()
    download.value.save_as(path)
    return PSDImage.open(path)


def where(psd: PSDImage) -> tuple[int, int]:
    """Column and row of the most solid pixel of the foremost layer."""
    layer = next(layer for layer in psd[-1] if layer.name == psd[-1].name)
    alpha = np.asarray(layer.mask.topil())
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    return int(layer.mask.left + column), int(layer.mask.top + row)


def drag(visit: Page, pixel: tuple[int, int], *, right: int, down: int) -> None:
    """Pull what is at a pixel of the picture of 64 px, which is shown whole and in the middle."""
    left, top, *size = visit.locator("#picture img").bounding_box().values()
    corner = np.array([left, top]) + (np.array(size) - min(size)) / 2
    start, step = np.array(pixel) + 0.5, np.array([right, down])
    visit.mouse.move(*(corner + start * min(size) / 64))
    visit.mouse.down()
    visit.mouse.move(*(corner + (start + step) * min(size) / 64), steps=5)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
def test_a_visitor_opens_an_example_and_takes_home_a_psd(address: str, tmp_path: Path) -> None:
    strangers: list[str] = []
    own = (address, "data:", "blob:")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        visit = browser.new_page(viewport={"width": 1280, "height": 1200})
        visit.set_default_timeout(120_000)
        visit.on("request", lambda asked: asked.url.startswith(own) or strangers.append(asked.url))
        visit.goto(address)
        visit.get_by_role("button", name="Meadow").click()
        visit.locator("#prompt_3").wait_for()
        visit.get_by_role("button", name="Advanced options").click()
        visit.get_by_label("number input for Steps").fill("2")
        visit.locator("#generate").click()
        visit.locator("#psd:not([disabled])").wait_for()
        before = taken(visit, tmp_path / "before.psd")
        assert visit.locator("#picture img").count() == 1
        assert visit.locator("#layers button img").count() == 4
        drag(visit, where(before), right=-16, down=-20)
        visit.locator("#picture img[src^='data:image']").wait_for()
        visit.mouse.up()
        visit.locator("#picture img[src^='http']").wait_for()
        dropped = visit.locator("#picture img").get_attribute("src")
        visit.keyboard.press("Shift+ArrowRight")
        visit.locator(f"#picture img[src^='http']:not([src='{dropped}'])").wait_for()
        visit.locator("#psd:not([disabled])").wait_for()
        after = taken(visit, tmp_path / "after.psd")
        visit.locator("#backward").click()
        # Not the greyed buttons in between: a busy browser may never paint them.
        visit.get_by_label("Thumbnail 3 of 4").filter(has_text="soccer ball").wait_for()
        visit.locator("#psd:not([disabled])").wait_for()
        behind = taken(visit, tmp_path / "behind.psd")
        browser.close()
    names = [group.name for group in before]
    assert names == ["background", "a colourful hot air balloon", *names[2:]]
    assert names[3] == "a black and white soccer ball"
    assert [group.name for group in behind] == [*names[:2], names[3], names[2]]
    assert np.subtract(where(after), where(before)).tolist() == [-16 + 10, -20]
    assert strangers == []
