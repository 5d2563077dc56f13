"""Test a segmentor: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse

from diffiml_plugin.engine.launch import add_common_arguments, check_checkpoint, load_config, run


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
    cfg.load_from = check_checkpoint(args.checkpoint)
    if args.show_dir:
        cfg.default_hooks.visualization.update(draw=True, interval=1)
        cfg.visualizer.save_dir = args.show_dir
    if args.out:
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(type='SaveMasksHook', out_dir=args.out),
        ]
    if args.tta:
        if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
            raise SystemExit(f'--tta: {args.config!r} defines no tta_model and tta_pipeline')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.tta_model.module = cfg.model
        cfg.model = cfg.tta_model
    run(cfg, 'test')


if __name__ == '__main__':
    main()
