import pytest
import torch
from mmseg.registry import MODELS

from diffiml_plugin.models.calibration import Calibration
from diffiml_plugin.models.diffiml.ensemble import SPACES, merge_members
from diffiml_plugin.models.diffiml.mask_codec import MaskCodec


@pytest.fixture
def codec() -> MaskCodec:
    return MaskCodec(MODELS.build(dict(type='MaskVAE', weights='shipped')).eval())


@torch.inference_mode()
@pytest.mark.parametrize('space', SPACES)
def test_members_are_averaged_where_asked(codec, space):
    members = torch.randn(3, 2, 8, 4, 4)
    each = torch.stack([codec.decode(member, (30, 32))[0] for member in members])
    expected = dict(latent=codec.decode(members.mean(0), (30, 32))[0], logit=each.mean(0))[space]
    mask, edge, uncertainty = merge_members(members, codec, (30, 32), space)
    assert torch.allclose(mask.sigmoid(), expected.sigmoid(), atol=1e-5)
    assert edge.shape == mask.shape == (2, 1, 30, 32)
    assert torch.allclose(uncertainty, each.sigmoid().std(0, correction=0), atol=1e-5)


@torch.inference_mode()
def test_one_member_is_certain(codec):
    members = torch.randn(1, 2, 8, 4, 4)
    mask, edge, uncertainty = merge_members(members, codec, (32, 32))
    for one, other in zip((mask, edge), codec.decode(members[0], (32, 32)), strict=True):
        assert torch.equal(one, other)
    assert not uncertainty.any()


@torch.inference_mode()
def test_a_member_of_nan_is_visible(codec):
    members = torch.randn(3, 1, 8, 4, 4)
    members[1] = torch.nan
    assert merge_members(members, codec, (32, 32))[0].isnan().all()


@torch.inference_mode()
@pytest.mark.parametrize('count', [1, 3])
def test_members_are_calibrated_like_their_mean(codec, count):
    members = torch.randn(count, 2, 8, 4, 4)
    bare, edge, _ = merge_members(members, codec, (32, 32))
    mask, same_edge, uncertainty = merge_members(
        members, codec, (32, 32), calibration=Calibration(0.5, 2.0)
    )
    assert torch.allclose(mask, bare / 2 + 2, atol=1e-4) and torch.equal(edge, same_edge)
    each = torch.stack([codec.decode_mask(member, (32, 32)) for member in members])
    expected = (each / 2 + 2).sigmoid().std(0, correction=0)
    assert torch.allclose(uncertainty, expected, atol=1e-5)
