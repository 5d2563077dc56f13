import torch
from mmseg.registry import MODELS


def test_high_pass_channels_against_loops():
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen['x'] = x
            return (x,)

    backbone = MODELS.build(
        dict(
            type='HighPassBackbone',
            gain=2.0,
            level_window=3,
            backbone=dict(type='ResNet', depth=18, in_channels=7),
        )
    )
    backbone.backbone = Spy()
    image = torch.randn(1, 3, 9, 9)
    backbone(image)
    channels = seen['x'][0]
    assert channels.shape == (7, 9, 9) and torch.equal(channels[:3], image[0])
    residual = torch.zeros(3, 7, 7)
    for y in range(7):
        for x in range(7):
            window = image[0, :, y : y + 3, x : x + 3]
            residual[:, y, x] = 2 * (window[:, 1, 1] - window.mean((1, 2)))
    assert torch.allclose(channels[3:6, 1:8, 1:8], residual, atol=1e-5)
    energy = residual[:, 2:5, 2:5].square().mean()
    assert torch.allclose(channels[6, 4, 4], torch.log(energy + 1e-2), atol=1e-4)
