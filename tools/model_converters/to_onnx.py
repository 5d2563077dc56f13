"""Export a trained DiffIML to ONNX: encoder, one evaluation of the denoiser, decoder.

`encoder.onnx` turns images, (B, 3, H, W) float32 RGB of 0..255 with sides divisible by 8, into the
condition; `denoiser.onnx` turns latents, timesteps and condition into the output that the solver
needs; `decoder.onnx` turns the first half of the clean latents into logits of the mask, the second
half into those of the edge. The solver between them is a few lines (docs/inference.md). The tool
runs each file with onnxruntime and fails if it differs from PyTorch.

"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from diffiml_plugin.apis import load_model
from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.trust_argument import add_trust_argument

TOLERANCE = 1e-3


class Encoder(nn.Module):
    """Turns images into the projected condition, including normalization."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        known = model.data_preprocessor
        self.register_buffer('mean', known.mean.view(1, 3, 1, 1).clone())
        self.register_buffer('std', known.std.view(1, 3, 1, 1).clone())

    def forward(self, image: Tensor) -> Tensor:
        """Return the projected condition of (B, 3, H, W) images of 0..255."""
        head = self.model.decode_head
        features = self.model.extract_feat((image - self.mean) / self.std)
        return head.denoiser.project(head.condition(features))


class Denoiser(nn.Module):
    """Evaluates the denoiser once, with one condition per latent."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.denoiser = model.decode_head.denoiser

    def forward(self, latents: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """Return the denoiser's output."""
        return self.denoiser(latents, timestep, condition, projected=True)


class Decoder(nn.Module):
    """Decodes latents of masks, or of edges, to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.vae = model.decode_head.vae

    def forward(self, latents: Tensor) -> Tensor:
        """Return the logits."""
        return self.vae.decode(latents)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='fixed size of the images; some backbones cannot be exported for all sizes',
    )
    add_trust_argument(parser)
    args = parser.parse_args()
    if args.size and any(side < 32 or side % 8 for side in args.size):
        parser.error('--size: both sides must be at least 32 and multiples of 8')
    return args


def export(
    name: str, network: nn.Module, inputs: dict[str, Tensor], out: Path, fixed: bool
) -> tuple[Path, float]:
    """Export one network; return its file and the largest difference from PyTorch."""
    import onnxruntime

    # Of the timesteps, only the batch size varies.
    shapes = {
        key: dict.fromkeys((0,) if value.ndim == 1 else (0, 2, 3), torch.export.Dim.DYNAMIC)
        for key, value in inputs.items()
    }
    path = out / f'{name}.onnx'
    torch.onnx.export(
        network,
        kwargs=inputs,
        f=path,
        input_names=list(inputs),
        output_names=['output'],
        dynamo=True,
        verbose=False,
        external_data=False,
        dynamic_shapes=None if fixed else shapes,
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (found,) = session.run(None, {key: value.numpy() for key, value in inputs.items()})
    expected = network(**inputs)
    return path, float((torch.from_numpy(found) - expected).abs().max())


@torch.no_grad()
def convert(model: nn.Module, out: Path, size: Sequence[int] | None) -> list[tuple[Path, float]]:
    """Export the three networks."""
    head = model.decode_head
    # A batch of 2 is used unless sizes are fixed, since an exporter treats a size of 1 as fixed.
    height, width = size or (96, 128)
    image = torch.rand(1 if size else 2, 3, height, width) * 255
    encoder = Encoder(model).eval()
    condition = encoder(image)
    latents = torch.randn(len(image), head.denoiser.in_channels, *condition.shape[-2:])
    timestep = torch.full((len(image),), 999)
    parts = {
        'encoder': (encoder, dict(image=image)),
        'denoiser': (
            Denoiser(model).eval(),
            dict(latents=latents, timestep=timestep, condition=condition),
        ),
        'decoder': (Decoder(model).eval(), dict(latents=latents[:, : head.vae.latent_channels])),
    }
    out.mkdir(parents=True, exist_ok=True)
    return [
        export(name, network, inputs, out, fixed=size is not None)
        for name, (network, inputs) in parts.items()
    ]


@program
def main() -> None:
    args = parse_args()
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error.name!r} is missing: install the extra, pip install "diffiml_plugin[onnx]"'
        ) from None
    try:
        with loading(args.trust_checkpoint):
            model, _ = load_model(Path(args.config), args.checkpoint)
        if not hasattr(getattr(model, 'decode_head', None), 'denoiser'):
            raise UserError(f'{args.config!r} has no DiffusionHead: it is not a DiffIML')
        written = convert(model, args.out, args.size)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f'the model cannot be exported for all sizes, try --size: {reason}'
        ) from None
    for path, difference in written:
        megabytes = path.stat().st_size / 1e6
        print(f'{path}: {megabytes:.1f} MB, largest difference from PyTorch {difference:.1e}')
    if max(difference for _, difference in written) > TOLERANCE:
        raise UserError(f'onnxruntime differs from PyTorch by more than {TOLERANCE:g}')


if __name__ == '__main__':
    main()
