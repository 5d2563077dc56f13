"""Turn a trained DiffIML into a folder that DiffIMLPipeline.from_pretrained loads."""

import argparse
import json
from pathlib import Path

from diffiml_plugin.engine.checkpoint import loading
from diffiml_plugin.errors import UserError, first_line, program
from diffiml_plugin.pipelines import DiffIMLPipeline
from diffiml_plugin.trust_argument import add_trust_argument


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('config', help='config file')
    add('checkpoint', help='checkpoint file')
    add('out', type=Path, help='folder to write')
    add('--half', action='store_true', help='store weights in half precision')
    add('--card', type=Path, help='Markdown file with the text of the model card')
    add(
        '--results',
        nargs=2,
        action='append',
        default=[],
        metavar=('NAME', 'DIR'),
        help='metrics for the card: name of a data set and the folder of its summary.json, which '
        '`tools/test.py --results` wrote',
    )
    add_trust_argument(parser)
    return parser.parse_args()


def read_metrics(results: list[list[str]]) -> dict[str, dict[str, float]]:
    """Read the means from the summary of each data set."""
    metrics = {}
    for name, folder in results:
        try:
            summary = json.loads((Path(folder) / 'summary.json').read_text())
            metrics[name] = {key: float(value) for key, value in summary['metrics'].items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f'--results: {folder!r} has no summary.json to read: {first_line(error)}'
            ) from None
    return metrics


@program
def main() -> None:
    args = parse_args()
    try:
        card = args.card.read_text() if args.card else None
    except OSError as error:
        raise UserError(f'--card: {first_line(error)}') from None
    metrics = read_metrics(args.results)
    with loading(args.trust_checkpoint):
        pipeline = DiffIMLPipeline.from_mmseg(args.config, args.checkpoint)
    if args.half:
        for part in (pipeline.encoder, pipeline.unet, pipeline.vae):
            part.half()
    pipeline.save_pretrained(args.out, card=card, metrics=metrics)
    size = sum(path.stat().st_size for path in args.out.rglob('*') if path.is_file())
    print(f'{args.out}: {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
