"""Test a segmentor: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os.path as osp

from diffiml_plugin.engine.launch import add_common_arguments, load_config, run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predicted masks (PNG, 0 and 255)')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true', help="the config's tta_model and pipeline")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if not osp.isfile(args.checkpoint):
        raise SystemExit(f'checkpoint {args.checkpoint!r} does not exist')
    cfg.load_from = args.checkpoint
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, interval=1)
        cfg.visualizer.save_dir = args.show_dir
    if args.out:
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(type='SaveMasksHook', out_dir=args.out),
        ]
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise SystemExit(f'--tta: {args.config!r} defines no tta_model and tta_pipeline')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    run(cfg, 'test')


if __name__ == '__main__':
    main()
