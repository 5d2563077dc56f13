import torch

DEMO = 'configs/diffiml/diffiml_demo.py'


@torch.inference_mode()
def test_fine_features_keep_their_place_at_odd_sizes(build):
    changes = {'fine_channels': 8, 'denoiser.condition_channels': 96}
    head = build(
        DEMO,
        **{f'model.decode_head.{k}': v for k, v in changes.items()},
    ).decode_head.eval()
    sizes = [(13, 9), (7, 5), (4, 3), (2, 2)]
    stages = [torch.randn(1, c, *s) for c, s in zip((32, 64, 128, 256), sizes, strict=True)]
    condition = head.condition(stages)
    assert condition.shape == (1, 96, 7, 5)
    fine, places = head.fine(stages[0])[0], condition[0, 64:].view(8, 2, 2, 7, 5)
    for y, x in ((0, 0), (5, 4), (12, 8)):
        assert torch.allclose(places[:, y % 2, x % 2, y // 2, x // 2], fine[:, y, x], atol=1e-6)
    assert (places[:, 1, :, 6] == 0).all() and (places[:, :, 1, :, 4] == 0).all()
