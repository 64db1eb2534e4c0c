"""Laws of the segmenters: what is drawn on a photograph is found; what is marked keeps its name."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.utils.amg import calculate_stability_score
from skimage.draw import disk
from torch import Tensor

from annotator.classical import ClassicalSegmenter
from annotator.photograph import Mark
from annotator.regions import RegionLimits, regions
from annotator.sam import SamFamily, SamSegmenter, SamSettings, SegmenterError, load_sam
from annotator.segmenter import Segment

FIXTURES = Path(__file__).parents[1] / "fixtures"
SHAPE = (150, 200)


def lawn() -> np.ndarray:
    """The meadow behind the sheep: a photograph without things."""
    with Image.open(FIXTURES / "sheep.jpg") as image:
        width, height = image.size
        grass = image.convert("RGB").crop((0, round(height * 0.75), width // 4, height))
        return np.array(grass.resize(SHAPE[::-1]))


def disc(row: float, column: float, radius: float) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[disk((row, column), radius, shape=SHAPE)] = True
    return mask


def with_balls(*balls: np.ndarray) -> np.ndarray:
    """The lawn with shaded red balls on it."""
    pixels = lawn()
    shade = np.linspace(0.6, 1, SHAPE[1])[None, :, None]
    for ball in balls:
        pixels[ball] = (shade * (220, 40, 50))[np.zeros(SHAPE[0], int)][ball]
    return pixels


def overlap(segment: Segment, truth: np.ndarray) -> float:
    return (segment.mask & truth).sum() / (segment.mask | truth).sum()


def boxed(truth: np.ndarray, label: str, margin: int = 3) -> Mark:
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    area = np.zeros(SHAPE, bool)
    area[rows[0] - margin : rows[-1] + margin, columns[0] - margin : columns[-1] + margin] = True
    return Mark(label=label, area=area, exact=False)


def same(one: list[Segment], other: list[Segment]) -> bool:
    return [(s.label, s.quality, s.stability, s.mask.tobytes()) for s in one] == [
        (s.label, s.quality, s.stability, s.mask.tobytes()) for s in other
    ]


def test_balls_on_a_lawn_are_found_without_weights():
    balls = disc(60, 55, 30), disc(95, 150, 22)
    segments = ClassicalSegmenter()(with_balls(*balls), ())
    for ball in balls:
        best = max(segments, key=lambda segment: overlap(segment, ball))
        assert overlap(best, ball) > 0.9
        assert min(best.quality, best.stability) > 0.8
    assert all(segment.mask.shape == SHAPE and segment.label == "" for segment in segments)


@pytest.mark.parametrize("size", [(90, 120), (300, 400)])
def test_size_of_the_picture_changes_little(size: tuple[int, int]):
    ball = disc(60, 55, 30)
    resized = Image.fromarray(with_balls(ball)).resize(size[::-1], Image.Resampling.BICUBIC)
    truth = np.array(Image.fromarray(ball).resize(size[::-1]))
    segments = ClassicalSegmenter()(np.array(resized), ())
    assert max(overlap(segment, truth) for segment in segments) > 0.9


def test_where_nothing_stands_out_nothing_is_found():
    grey = np.full((48, 64, 3), 128, np.uint8)
    faint = grey + np.random.default_rng(0).integers(0, 6, grey.shape, np.uint8)
    for pixels in (grey, faint):
        assert ClassicalSegmenter()(pixels, ()) == []
    # Tufts of grass may be segments; they make no region.
    assert regions(ClassicalSegmenter()(lawn(), ()), limits=RegionLimits()) == ()


def test_a_marked_thing_is_found_and_keeps_its_name():
    ball, other = disc(60, 55, 30), disc(95, 150, 22)
    rough = Mark(label="rough", area=disc(61, 56, 31), exact=True)
    marks = (boxed(other, "other"), boxed(ball, "ball"), rough)
    segments = ClassicalSegmenter()(with_balls(ball, other), marks)
    assert [segment.label for segment in segments] == ["other", "ball", "rough"]
    for segment, truth in zip(segments, (other, ball, ball), strict=True):
        assert overlap(segment, truth) > 0.9
        assert min(segment.quality, segment.stability) > 0.8


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("area", [np.ones(SHAPE, bool), disc(75, 100, 0.5), disc(60, 60, 20)])
def test_a_mark_on_nothing_does_no_harm(area: np.ndarray, exact: bool):
    grey = np.full((*SHAPE, 3), 128, np.uint8)
    (segment,) = ClassicalSegmenter()(grey, [Mark(label="void", area=area, exact=exact)])
    assert segment.label == "void"
    assert segment.mask.any()
    assert 0 <= segment.quality <= 1
    assert 0 <= segment.stability <= 1


def test_the_same_picture_gives_the_same_segments():
    pixels = with_balls(disc(60, 55, 30), disc(95, 150, 22))
    first = ClassicalSegmenter()(pixels, ())
    ClassicalSegmenter()(pixels[::-1], [boxed(disc(60, 55, 30), "ball")])
    assert same(ClassicalSegmenter()(pixels, ()), first)


@pytest.fixture(scope="module")
def sam() -> Sam:
    """Segment Anything's own classes, tiny, with random weights."""
    torch.manual_seed(0)
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=128, embed_dim=32, depth=1, num_heads=2, out_chans=32
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32),
        ),
    ).eval()


ALL = SamSettings(
    points_per_side=4, prompts_per_batch=3, least_quality=-9.0, least_stability=-1.0, duplicate=1.0
)


def test_sam_finds_by_itself_what_its_thresholds_let_pass(sam: Sam):
    segments = SamSegmenter(sam, ALL)(lawn(), ())
    assert segments
    assert all(s.mask.shape == SHAPE and s.mask.dtype == bool and not s.label for s in segments)
    assert all(0 <= s.quality <= 1 and 0 <= s.stability <= 1 for s in segments)
    assert SamSegmenter(sam, SamSettings(points_per_side=4))(lawn(), ()) == []


def test_sam_answers_each_mark_as_its_predictor_does(sam: Sam):
    centres = [(40, 40), (60, 120), (90, 60), (100, 150), (75, 100)]
    marks = [boxed(disc(*centre, 12), str(i)) for i, centre in enumerate(centres)]
    segments = SamSegmenter(sam, ALL)(lawn(), marks)
    assert [segment.label for segment in segments] == list("01234")
    predictor = SamPredictor(sam)
    predictor.set_image(lawn())
    for segment, mark in zip(segments, marks, strict=True):
        logits, qualities, _ = predictor.predict(box=np.array(mark.box), return_logits=True)
        best = qualities.argmax()
        stability = calculate_stability_score(torch.as_tensor(logits), 0.0, 1.0)[best]
        # Boxes in batches and boxes alone differ by rounding.
        assert ((logits[best] > 0) != segment.mask).mean() < 1e-3
        assert segment.quality == pytest.approx(np.clip(qualities[best], 0, 1), abs=1e-4)
        assert segment.stability == pytest.approx(float(stability.nan_to_num()), abs=1e-3)


def test_sam_encodes_a_picture_once(sam: Sam):
    encoded: list[Tensor] = []
    hook = sam.image_encoder.register_forward_hook(lambda *call: encoded.append(call[-1]))
    marks = [boxed(disc(60, 60, 10 + i), "x") for i in range(7)]
    SamSegmenter(sam, ALL)(lawn(), marks)
    hook.remove()
    assert len(encoded) == 1


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def other_weights(path: Path) -> None:
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, path)


def malicious(path: Path) -> None:
    path.write_bytes(pickle.dumps(Malice(), protocol=2))


def malicious_archive(path: Path) -> None:
    torch.save({"weights": Malice()}, path)


def text(path: Path) -> None:
    path.write_text("<html>Not found</html>")


@pytest.mark.parametrize(
    "fill", [other_weights, malicious, malicious_archive, text, Path.touch, lambda path: None]
)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sam: Sam, capsys
):
    # The refusal does not depend on the size; the true network takes seconds to build.
    monkeypatch.setattr("annotator.sam.sam_model_registry", {"vit_b": lambda: sam})
    path = tmp_path / "weights.pth"
    fill(path)
    expected = rf"^[^\n]*{path.name}[^\n]*sam_vit_b_01ec64\.pth[^\n]*$"
    with pytest.raises(SegmenterError, match=expected):
        load_sam(path, family=SamFamily.vit_b, device="cpu")
    assert "executed" not in capsys.readouterr().out


def test_missing_weights_name_the_way_on(tmp_path: Path):
    with pytest.raises(SegmenterError, match=r"sam_vit_h_4b8939\.pth.*segmenter=classical"):
        load_sam(tmp_path / "sam.pth", family=SamFamily.vit_h, device="cpu")


def test_weights_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sam: Sam):
    """A file with a network's weights gives that network."""
    torch.save(sam.state_dict(), tmp_path / "sam.pth")
    blank = Sam(sam.image_encoder, sam.prompt_encoder, sam.mask_decoder)
    monkeypatch.setattr("annotator.sam.sam_model_registry", {"vit_b": lambda: blank})
    loaded = load_sam(tmp_path / "sam.pth", family=SamFamily.vit_b, device="cpu")
    expected = torch.load(tmp_path / "sam.pth", weights_only=True)
    assert all(torch.equal(expected[key], value) for key, value in loaded.state_dict().items())
