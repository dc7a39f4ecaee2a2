from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms.v2 import functional as TF

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.tasks.images import augment

INFO = DATASETS["cifar100"]
sizes = st.tuples(st.integers(3, 40), st.integers(3, 40))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(batch: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=seeded(seed))


@settings(deadline=None, max_examples=30)
@given(size=sizes, batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_normalise_is_the_textbook_formula(size, batch, seed):
    images = random_images(batch, size, seed)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (INFO.mean, INFO.std))
    expected = (images.numpy() / 255.0 - mean) / std
    for memory_format in (torch.contiguous_format, torch.channels_last):
        actual = augment.normalise(images, INFO.mean, INFO.std, memory_format)
        assert actual.dtype == torch.float32 and actual.is_contiguous(memory_format=memory_format)
        np.testing.assert_allclose(actual.numpy(), expected, atol=2e-6)


@settings(deadline=None, max_examples=30)
@given(size=sizes, batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_crop_and_flip_is_a_cut_of_the_padded_image(size, batch, seed):
    """A reference loop over images, driven by the same draws."""
    images = random_images(batch, size, seed)
    actual = augment.crop_and_flip(images, seeded(seed))
    generator, (height, width) = seeded(seed), size
    pad_y, pad_x = max(1, round(height / 8)), max(1, round(width / 8))
    top = torch.randint(0, 2 * pad_y + 1, (batch, 1), generator=generator)
    left = torch.randint(0, 2 * pad_x + 1, (batch, 1), generator=generator)
    flip = torch.randint(0, 2, (batch, 1), generator=generator)
    for i in range(batch):
        padded = np.pad(images[i].numpy(), ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
        cut = padded[:, top[i] : top[i] + height, left[i] : left[i] + width]
        np.testing.assert_array_equal(actual[i].numpy(), cut[..., ::-1] if flip[i] else cut)


def test_crops_and_flips_are_uniform():
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[:, :, 16, 16:18] = torch.tensor([100, 200], dtype=torch.uint8)
    out = augment.crop_and_flip(image.expand(20_000, -1, -1, -1), seeded())[:, 0]
    row = (out == 200).any(2).float().argmax(1)
    bright, dark = (out == 200).any(1).float().argmax(1), (out == 100).any(1).float().argmax(1)
    flipped = bright < dark
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.02)
    assert row.unique().tolist() == list(range(12, 21))
    assert stats.chisquare(row.bincount()[12:].numpy()).pvalue > 1e-3
    assert stats.chisquare(bright[~flipped].bincount()[13:].numpy()).pvalue > 1e-3


@settings(deadline=None, max_examples=30)
@given(batch=st.integers(1, 20), classes=st.integers(2, 100), smoothing=st.floats(0, 0.9))
def test_soft_targets_give_the_loss_of_torch_label_smoothing(batch, classes, smoothing):
    labels = torch.randint(0, classes, (batch,), generator=seeded(1))
    logits = torch.randn(batch, classes, generator=seeded(2))
    targets = augment.soft_targets(labels, classes, smoothing)
    torch.testing.assert_close(targets.sum(1), torch.ones(batch))
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, targets), expected)


@settings(deadline=None, max_examples=40)
@given(size=sizes, batch=st.integers(1, 9), seed=st.integers(0, 999))
def test_cutmix_weighs_targets_by_pixels(size, batch, seed):
    images = torch.arange(batch).float().view(-1, 1, 1, 1).expand(-1, 3, *size)
    targets = augment.soft_targets(torch.arange(batch), batch + 1, 0.1)
    mixed, mixed_targets, lam = augment.mix(images, targets, seeded(seed), mixup_probability=0, cutmix_probability=1)
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(batch))
    for i in range(batch if batch > 1 else 0):
        own, other = mixed[i] == i, mixed[i] == (i - 1) % batch
        assert (own | other).all()
        assert own.float().mean().item() == pytest.approx(lam.item(), abs=1e-5)
        expected = lam * targets[i] + (1 - lam) * targets[i - 1]
        torch.testing.assert_close(mixed_targets[i], expected)
        rows, columns = other[0].any(1), other[0].any(0)
        assert torch.equal(other[0], rows[:, None] & columns[None])  # one box
        for line in (rows, columns):
            inside = line.nonzero().flatten()
            assert len(inside) == 0 or int(inside[-1] - inside[0]) + 1 == len(inside)


@settings(deadline=None, max_examples=20)
@given(size=sizes, batch=st.integers(2, 9), seed=st.integers(0, 999))
def test_mixup_weighs_images_and_targets_alike(size, batch, seed):
    images = torch.randn(batch, 3, *size, generator=seeded(seed))
    targets = augment.soft_targets(torch.arange(batch), batch, 0.1)
    mixed, mixed_targets, lam = augment.mix(images, targets, seeded(seed), mixup_probability=1, cutmix_probability=0)
    for i in range(batch):
        torch.testing.assert_close(mixed[i], lam * images[i] + (1 - lam) * images[i - 1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mixed_targets[i], lam * targets[i] + (1 - lam) * targets[i - 1])


def test_mixing_happens_as_often_as_asked_and_lam_follows_beta():
    images, targets = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8), torch.eye(4)
    generator, kinds, lams = seeded(), [], []
    for _ in range(2000):
        mixed, _, lam = augment.mix(images, targets, generator, mixup_probability=0.3, cutmix_probability=0.5)
        whole = torch.equal(mixed, mixed.round())
        kinds.append("none" if torch.equal(mixed, images) else "cutmix" if whole else "mixup")
        lams.append(lam.item())
    # a box of no pixels looks like no mixing
    assert kinds.count("mixup") / 2000 == pytest.approx(0.3, abs=0.04)
    assert 0.42 < kinds.count("cutmix") / 2000 < 0.54
    mixup = [lam for lam, kind in zip(lams, kinds, strict=True) if kind == "mixup"]
    assert stats.kstest(mixup, stats.beta(0.8, 0.8).cdf).pvalue > 1e-3


def test_cutmix_boxes_have_the_papers_areas():
    images, targets, generator, size = torch.zeros(2, 1, 64, 64), torch.eye(2), seeded(), 64
    lams = [augment.mix(images, targets, generator, cutmix_probability=1)[2].item() for _ in range(1500)]
    rng = np.random.default_rng(0)
    sides = size * np.sqrt(1 - rng.uniform(size=20_000))
    centres = rng.uniform(0, size, (2, 20_000))
    cut = np.clip(centres + sides / 2, 0, size) - np.clip(centres - sides / 2, 0, size)
    assert stats.ks_2samp(lams, 1 - cut.prod(0) / size**2).statistic < 0.06


def test_nothing_is_mixed_at_probability_zero():
    images, targets = torch.randn(5, 3, 8, 8), torch.eye(5)
    mixed, mixed_targets, lam = augment.mix(images, targets, seeded(), mixup_probability=0, cutmix_probability=0)
    assert torch.equal(mixed, images) and torch.equal(mixed_targets, targets) and lam == 1


def expected_op(name: str, image: torch.Tensor, level: float) -> torch.Tensor:
    """torchvision's public functions, as its own RandAugment calls them."""
    height, width = image.shape[-2:]
    affine = {"interpolation": TF.InterpolationMode.BILINEAR, "fill": None}
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | affine
    shear = math.degrees(math.atan(0.3 * level))
    factor = 1 + 0.9 * level
    return {
        "shear_x": lambda: TF.affine(image, **still | {"shear": [shear, 0.0], "center": [0, 0]}),
        "shear_y": lambda: TF.affine(image, **still | {"shear": [0.0, shear], "center": [0, 0]}),
        "translate_x": lambda: TF.affine(image, **still | {"translate": [round(150 / 331 * level * width), 0]}),
        "translate_y": lambda: TF.affine(image, **still | {"translate": [0, round(150 / 331 * level * height)]}),
        "rotate": lambda: TF.rotate(image, 30.0 * level, **affine),
        "brightness": lambda: TF.adjust_brightness(image, factor),
        "color": lambda: TF.adjust_saturation(image, factor),
        "contrast": lambda: TF.adjust_contrast(image, factor),
        "sharpness": lambda: TF.adjust_sharpness(image, factor),
        "identity": lambda: image,
        "posterize": lambda: TF.posterize(image, 8 - round(4 * level)),
        "solarize": lambda: TF.solarize(image, 255 * (1 - level)),
        "autocontrast": lambda: TF.autocontrast(image),
        "equalize": lambda: TF.equalize(image),
    }[name]()


@pytest.mark.parametrize("size", [(32, 32), (16, 24), (17, 9)])
@pytest.mark.parametrize("name", augment.OPS)
def test_each_operation_is_torchvisions(name, size):
    batch, level = 56, augment.RAND_MAGNITUDE / augment.MAX_MAGNITUDE
    # smooth images: what interpolation does with noise depends on the last bit of a coordinate
    images = TF.resize(random_images(batch, (4, 4)), list(size), antialias=True)
    dealt = augment._apply_in_shares(images, augment.RAND_MAGNITUDE)
    # of an image that is no multiple of a vector register, the last pixels are rounded otherwise
    tolerance = 0 if name in (*augment.SIGNED_OPS, *augment.UNSIGNED_OPS) and size != (17, 9) else 1
    for places, signed in zip(augment.share(name, batch), (level, -level), strict=True):
        if places.stop > places.start:
            difference = dealt[places].int() - expected_op(name, images[places], signed).int()
            assert difference.abs().max() <= tolerance


@pytest.mark.parametrize("values", [(7,), (0, 255), (3, 4)])
@pytest.mark.parametrize("name", [*augment.SIGNED_OPS, *augment.UNSIGNED_OPS])
def test_images_of_one_or_two_values_come_out_as_torchvisions(name, values):
    batch, level = 28, 0.5
    picked = torch.randint(0, len(values), (batch, 3, 8, 8), generator=seeded())
    images = torch.tensor(values, dtype=torch.uint8)[picked]
    dealt = augment._apply_in_shares(images, augment.MAX_MAGNITUDE // 2)
    for places, signed in zip(augment.share(name, batch), (level, -level), strict=True):
        if places.stop > places.start:
            assert torch.equal(dealt[places], expected_op(name, images[places], signed))


@settings(deadline=None, max_examples=50)
@given(batch=st.integers(0, 600))
def test_operations_share_the_batch_equally(batch):
    assert len(augment.OPS) == len(set(augment.OPS)) == 14
    taken = np.zeros(batch, dtype=int)
    for name in augment.OPS:
        plus, minus = (np.arange(batch)[places] for places in augment.share(name, batch))
        assert abs(len(plus) + len(minus) - batch / 14) < 1
        assert name in augment.UNSIGNED_OPS or abs(len(plus) - len(minus)) <= 1
        taken[plus] += 1
        taken[minus] += 1
    assert (taken == 1).all()


def test_rand_augment_keeps_each_image_in_its_place():
    """Images of one colour each: no operation brings one near another's."""
    images = torch.zeros(28, 3, 16, 16, dtype=torch.uint8)
    images[:, 0] = (torch.arange(28) * 9)[:, None, None].to(torch.uint8)
    out = augment.rand_augment(images, seeded(), ops=1, magnitude=1)
    centre = out[:, 0, 8, 8].int()
    moved = (centre - images[:, 0, 8, 8].int()).abs()
    assert (moved > 9).sum() <= 4  # solarize, autocontrast and equalize may


@pytest.mark.parametrize("batch", [1, 2, 13, 64])
@pytest.mark.parametrize("level", INFO.augment_levels)
def test_augment_runs_reproducibly_at_any_batch_size(level, batch):
    images, labels = random_images(batch), torch.arange(batch) % 100
    recipe = augment.Augment(level, INFO, label_smoothing=0.1, memory_format=torch.channels_last)
    original = images.clone()
    generator = seeded(5)
    first = recipe(images, labels, generator)
    state = generator.get_state()
    second = recipe(images, labels, generator)
    assert torch.equal(images, original)
    assert first[0].shape == (batch, 3, 32, 32) and first[0].dtype == first[1].dtype == torch.float32
    assert first[1].shape == (batch, 100)
    torch.testing.assert_close(first[1].sum(1), torch.ones(batch))
    generator.set_state(state)
    resumed = recipe(images, labels, generator)
    assert torch.equal(second[0], resumed[0]) and torch.equal(second[1], resumed[1])
    if level == "none":
        assert torch.equal(first[0], second[0])
    elif batch > 2:
        assert not torch.equal(first[0], second[0])


def test_global_random_state_does_not_matter():
    images, labels = random_images(30), torch.arange(30)
    recipe = augment.Augment("strong", INFO)
    before = torch.get_rng_state()
    torch.manual_seed(1)
    first = recipe(images, labels, seeded(5))
    torch.manual_seed(2)
    second = recipe(images, labels, seeded(5))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    torch.set_rng_state(before)


def test_a_level_that_changes_classes_is_refused():
    with pytest.raises(UserError, match=r"'light'.*constellations.*none"):
        augment.Augment("light", DATASETS["constellations"])
    augment.Augment("none", DATASETS["constellations"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_strong_augmentation_never_waits_for_the_gpu():
    images, labels = random_images(64).cuda(), torch.arange(64).cuda()
    recipe = augment.Augment("strong", INFO, label_smoothing=0.1)
    generator = torch.Generator("cuda").manual_seed(0)
    recipe(images, labels, generator)  # constants are copied once
    torch.cuda.set_sync_debug_mode("error")
    try:
        pixels, targets = recipe(images, labels, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert pixels.is_cuda and targets.is_cuda and pixels.isfinite().all()
