"""The one mixer with a state of its own, `conv_mixer`, keeps what every mixer promises."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from mixers import MixerError, MixerNet

SPEC = "conv_mixer"


def trained() -> MixerNet:
    """A net whose running statistics are no longer those it began with."""
    torch.manual_seed(0)
    net = MixerNet(SPEC, num_classes=5, img_size=8, patch_size=2, dim=16, depth=2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(5):
        loss = F.cross_entropy(net(torch.randn(8, 3, 8, 8)), torch.arange(8) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def test_one_image_alone_is_what_it_is_in_a_batch() -> None:
    net, x = trained().eval(), torch.randn(4, 3, 8, 8)
    before = copy.deepcopy(net.state_dict())
    torch.testing.assert_close(torch.cat([net(image[None]) for image in x]), net(x))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net(x[:0]).shape == (0, 5)


def test_in_training_images_do_meet() -> None:
    net, x = trained().train(), torch.randn(4, 3, 8, 8)
    assert not torch.allclose(net(x)[:1], net(x[:1]), atol=1e-3)


def test_a_checkpoint_holds_the_statistics() -> None:
    net, x = trained().eval(), torch.randn(2, 3, 8, 8)
    fresh = MixerNet(SPEC, num_classes=5, img_size=8, patch_size=2, dim=16, depth=2).eval()
    assert not torch.allclose(fresh(x), net(x))
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x), net(x))
    with pytest.raises(MixerError, match="activation=gelu, this is ConvMixer with activation=none"):
        plain = MixerNet("conv_mixer(activation=none)", num_classes=5, img_size=8, patch_size=2, dim=16, depth=2)
        plain.load_state_dict(net.state_dict(), strict=False)


def test_it_is_built_on_the_meta_device_and_exported() -> None:
    net, x = trained().eval(), torch.randn(2, 3, 8, 8)
    empty = MixerNet(SPEC, num_classes=5, img_size=8, patch_size=2, dim=16, depth=2, device="meta")
    empty.to_empty(device="cpu").load_state_dict(net.state_dict())
    assert torch.equal(empty.eval()(x), net(x))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("residual", ["float32", "bfloat16"])
def test_under_bfloat16_autocast_it_is_near_float32(training: bool, residual: str) -> None:
    net, x = trained().train(training), torch.randn(8, 3, 8, 8)
    other = MixerNet(SPEC, num_classes=5, img_size=8, patch_size=2, dim=16, depth=2, residual=residual).train(training)
    other.load_state_dict(net.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        rough = other(x)
    rough.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in other.parameters())
    exact = net(x)
    assert torch.linalg.norm(rough.float() - exact) < 0.05 * torch.linalg.norm(exact)
