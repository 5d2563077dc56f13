import pytest
import torch
from diffusers import AutoencoderKL
from mmseg.registry import DATASETS, MODELS

from diffiml_plugin.errors import UserError
from diffiml_plugin.evaluation.functional import confusion, f1
from diffiml_plugin.models.edges import mask_to_edge


@pytest.mark.parametrize('size, mask_f1, edge_f1', [(512, 0.99, 0.95), (128, 0.97, 0.90)])
@torch.inference_mode()
def test_shipped_weights_reconstruct_held_out_masks(size, mask_f1, edge_f1):
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=size, length=24, seed=77))
    masks = torch.stack([sample['inputs'] for sample in map(data.__getitem__, range(24))])
    for maps, least in ((masks, mask_f1), (mask_to_edge(masks), edge_f1)):
        probs = vae(maps * 2 - 1)[0].sigmoid()
        # The range of 0..1; a margin of 1 would only reach 0.27..0.73.
        assert probs.quantile(0.5) < 0.01 and probs[maps > 0].quantile(0.5) > 0.98
        scores = [
            f1(confusion(p.numpy() > 0.5, m.numpy() > 0))
            for p, m in zip(probs, maps, strict=True)
            if m.any()
        ]
        assert sum(scores) / len(scores) >= least


@torch.inference_mode()
def test_shipped_latents_have_about_unit_variance():
    vae = MODELS.build(dict(type='MaskVAE', weights='shipped')).eval()
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=128, length=32, seed=78))
    masks = torch.stack([data[i]['inputs'] for i in range(32)])
    maps = torch.cat([masks, mask_to_edge(masks)]) * 2 - 1
    std = vae.encode(maps).std(dim=(0, 2, 3))
    assert torch.allclose(std, torch.ones(4), atol=0.4)


def brute_force_edge(mask: torch.Tensor, width: int) -> torch.Tensor:
    height, columns = mask.shape
    half = width // 2
    edge = torch.zeros_like(mask)
    for y in range(height):
        for x in range(columns):
            arms = [(y + d, x) for d in range(-half, half + 1)]
            arms += [(y, x + d) for d in range(-half, half + 1)]
            seen = {float(mask[a, b]) for a, b in arms if 0 <= a < height and 0 <= b < columns}
            edge[y, x] = float(seen == {0.0, 1.0})
    return edge


@pytest.mark.parametrize('width', [1, 3, 7])
def test_edges_against_brute_force(width):
    mask = (torch.rand(3, 1, 19, 23) > 0.9).float()
    mask[1, 0, 5:15, 4:20] = 1
    for found, one in zip(mask_to_edge(mask, width), mask, strict=True):
        assert torch.equal(found[0], brute_force_edge(one[0], width))


def test_even_edge_width_is_refused():
    with pytest.raises(ValueError, match='odd'):
        mask_to_edge(torch.zeros(1, 1, 8, 8), 4)


def stage_1(teacher: dict | None = None, **settings):
    return MODELS.build(
        dict(
            type='MaskAutoencoder',
            vae=dict(type='MaskVAE', channels=(8, 8, 8)),
            teacher=teacher,
            data_preprocessor=dict(type='BaseDataPreprocessor'),
            **settings,
        )
    )


def mask_batch(count: int = 4, size: int = 32):
    data = DATASETS.build(dict(type='ProceduralMaskDataset', size=size, length=count))
    samples = [data[i] for i in range(count)]
    return torch.stack([s['inputs'] for s in samples]), [s['data_samples'] for s in samples]


@pytest.mark.parametrize('loss_recon', ['bce', 'l1'])
def test_reconstruction_losses_bring_the_map_back(loss_recon):
    torch.manual_seed(0)
    model = stage_1(loss_recon=loss_recon)
    inputs, samples = mask_batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = model(inputs, samples)['loss_recon']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = torch.stack([s.seg_logits.data for s in model.eval()(inputs, samples, 'predict')])
    truth = torch.stack([s.gt_sem_seg.data for s in samples]).bool()
    overlap = 2 * ((found > 0.5) & truth).sum() / ((found > 0.5).sum() + truth.sum())
    assert overlap > 0.9


@pytest.fixture
def teacher_folder(tmp_path) -> str:
    AutoencoderKL(
        down_block_types=('DownEncoderBlock2D',) * 4,
        up_block_types=('UpDecoderBlock2D',) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
    ).save_pretrained(tmp_path / 'teacher')
    return str(tmp_path / 'teacher')


def test_latents_are_drawn_to_the_teacher_s(teacher_folder):
    model = stage_1(teacher=dict(pretrained=teacher_folder, loss_weight=1.0))
    assert not any('teacher' in name for name in model.state_dict())
    inputs, samples = mask_batch()
    vae = AutoencoderKL.from_pretrained(teacher_folder).eval()
    masks = torch.stack([s.gt_sem_seg.data for s in samples]).float()
    maps = torch.cat([masks, mask_to_edge(masks)]) * 2 - 1
    with torch.no_grad():
        target = vae.encode(maps.expand(-1, 3, -1, -1)).latent_dist.mean
        latents = model.vae.encoder(maps)
    expected = 0.18215**2 * (latents - target).square().mean()
    first = model(inputs, samples)['loss_teacher'].detach()
    assert float(first) == pytest.approx(float(expected), rel=1e-4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss = model(inputs, samples)['loss_teacher']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * first


def test_a_teacher_that_cannot_be_used_is_named(teacher_folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match="teacher.pretrained='.*empty' cannot be loaded"):
        stage_1(teacher=dict(pretrained=str(tmp_path / 'empty')))
    with pytest.raises(UserError, match='teacher must be a dict'):
        stage_1(teacher='empty')
    model = stage_1(teacher=dict(pretrained=teacher_folder))
    model.vae = MODELS.build(dict(type='MaskVAE', latent_channels=8))
    with pytest.raises(UserError, match='match latent_channels'):
        model(*mask_batch())


def test_latent_statistics_are_measured_and_kept():
    model = stage_1()
    inputs, samples = mask_batch(16)
    with torch.no_grad():
        for _ in range(200):
            model(inputs, samples)
    state = model.state_dict()
    assert {'vae.latent_mean', 'vae.latent_std'} <= set(state)
    masks = torch.stack([s.gt_sem_seg.data for s in samples]).float()
    latents = model.vae.encode(torch.cat([masks, mask_to_edge(masks)]) * 2 - 1)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.05)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=0.05)


def test_unknown_reconstruction_is_named():
    with pytest.raises(UserError, match='bce, l1'):
        stage_1(loss_recon='mse')
