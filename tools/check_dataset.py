"""Look for faults in data sets: ``python tools/check_dataset.py CONFIG_OR_FOLDER ...``.

A folder holds Tp/, Gt/ and optionally Au/. Of a config, all data sets are checked, and the test and
validation images are compared with the training images, by content and by a perceptual hash.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from diffiml_plugin.datasets.checking import (
    ERRORS,
    WARNINGS,
    Finding,
    Fingerprint,
    check_pairs,
    find_duplicates,
    find_inversion,
    find_leaks,
)
from diffiml_plugin.datasets.iml_dataset import pair_folder
from diffiml_plugin.engine.conditions import get_test_sets
from diffiml_plugin.engine.config import read_config
from diffiml_plugin.errors import UserError, program
from diffiml_plugin.escaping import printable


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('source', nargs='+', type=Path, help='config, or folder of a data set')
    add('--train', type=Path, help='folder of training images with which folders are compared')
    add('--inverted', action='store_true', help='black is tampered in the masks of the folders')
    add('--json', type=Path, help='write all findings to this file')
    add('--show', type=int, default=10, help='number of examples to print for each kind of fault')
    return parser.parse_args()


def check_folder(
    root: Path, inverted: bool, allow_uniform: bool = False
) -> tuple[dict, list[Finding], list[Fingerprint]]:
    if not root.is_dir():
        raise UserError(f'{str(root)!r} is neither a config nor a folder')
    pairs, unpaired, doubled, others = pair_folder(str(root))
    if not pairs:
        raise UserError(f'{str(root)!r} has no images in Tp/ or Au/')
    tampered = {path for path in unpaired if '/Tp/' in path}
    findings, prints = check_pairs(pairs, inverted, allow_uniform)
    findings += [Finding('unpaired', path) for path in unpaired]
    findings += [Finding('same stem', path, 'as another file of the folder') for path in doubled]
    findings += [Finding('not an image', path, 'by its suffix: left out') for path in others]
    with_mask = sum(mask is not None for _, mask in pairs)
    findings += find_inversion(findings, with_mask, str(root))
    counts = dict(images=len(pairs), tampered=with_mask + len(tampered))
    return counts, findings + find_duplicates(prints), prints


def check_built(cfg: dict) -> tuple[dict, list[Finding], list[Fingerprint]]:
    """Check the data set that a config describes."""
    if cfg['type'] == 'IMLDataset' and not cfg.get('ann_file'):
        # This reports the faults at which the data set itself would stop.
        return check_folder(
            Path(cfg['data_root']),
            cfg.get('inverted_masks', False),
            cfg.get('allow_uniform_masks', False),
        )
    data = DATASETS.build(dict(cfg, pipeline=[]))
    files = isinstance(data, BaseDataset)
    rows = [data.get_data_info(i) for i in range(len(data))] if files else [{}]
    if any('img_path' not in row for row in rows):
        raise UserError(f'cannot check a {cfg["type"]}: it does not list files by img_path')
    pairs = [(row['img_path'], row.get('seg_map_path')) for row in rows]
    # mmseg's data sets give authentic images empty masks.
    allow_uniform = all(row.get('allow_uniform_mask', True) for row in rows)
    findings, prints = check_pairs(
        pairs, any(row.get('inverted_mask') for row in rows), allow_uniform
    )
    tampered = sum(mask is not None for _, mask in pairs)
    source = getattr(data, 'ann_file', None) or getattr(data, 'data_root', None) or cfg['type']
    findings += find_inversion(findings, tampered, source)
    counts = dict(images=len(pairs), tampered=tampered)
    return counts, findings + find_duplicates(prints), prints


def data_sets_of(cfg: Config, role: str) -> list[dict]:
    """List the data sets of 'train', 'val' or 'test', wrappers resolved."""
    loader = cfg.get(f'{role}_dataloader')
    if not loader:
        return []
    configs = []
    waiting = list(get_test_sets(cfg).values()) if role == 'test' else [loader['dataset']]
    while waiting:
        one = waiting.pop(0)
        inner = one.get('datasets') or ([one['dataset']] if 'dataset' in one else None)
        if inner:
            waiting = list(inner) + waiting
        else:
            configs.append(one)
    return configs


def check_config(path: Path) -> dict[str, tuple[dict, list[Finding]]]:
    cfg = read_config(path)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    sets, results, train = {}, {}, []
    for role in ('train', 'val', 'test'):
        for one in data_sets_of(cfg, role):
            # Validation and test often use the same data set.
            same = {k: v for k, v in one.items() if k not in ('pipeline', 'test_mode')}
            sets.setdefault(repr(sorted(same.items(), key=str)), (role, one))
    for role, one in sets.values():
        root = str(one.get('data_root', ''))
        places = (root, one.get('ann_file'), *one.get('data_prefix', {}).values())
        name = f'{role}: {" ".join(filter(None, places)) or one["type"]}'
        if name in results:
            name = f'{name} ({len(results)})'
        if not Path(root).exists():
            # The other data sets are still checked.
            results[name] = (dict(images=0, tampered=0), [Finding('missing', root)])
            continue
        try:
            counts, findings, prints = check_built(one)
        except UserError as error:
            results[name] = (dict(images=0, tampered=0), [Finding('unusable', root, str(error))])
            continue
        if role == 'train':
            train += prints
        else:
            findings += find_leaks(train, prints)
        results[name] = (counts, findings)
    return results


def report(results: dict[str, tuple[dict, list[Finding]]], show: int) -> int:
    """Print the findings; return the number of errors."""
    errors = 0
    for name, (counts, findings) in results.items():
        print(f'{printable(name)}: {counts["images"]} images, {counts["tampered"]} tampered')
        by_kind = Counter(finding.kind for finding in findings)
        for kind in (*ERRORS, *WARNINGS):
            if not by_kind[kind]:
                continue
            label = 'ERROR' if kind in ERRORS else 'warning'
            errors += by_kind[kind] if kind in ERRORS else 0
            print(f'  {label}: {by_kind[kind]} x {kind}')
            chosen = [finding for finding in findings if finding.kind == kind]
            for finding in chosen[:show]:
                detail = f' ({finding.detail})' if finding.detail else ''
                print(f'    {printable(finding.path + detail)}')
            if len(chosen) > show:
                print('    ...')
        if not findings:
            print('  no faults found')
    return errors


@program
def main() -> None:
    args = parse_args()
    results = {}
    train = check_folder(args.train, False)[2] if args.train else []
    for source in args.source:
        if source.suffix == '.py' and source.is_file():
            results |= check_config(source)
        else:
            counts, findings, prints = check_folder(source, args.inverted)
            results[str(source)] = (counts, findings + find_leaks(train, prints))
    errors = report(results, args.show)
    if args.json:
        rows = {
            name: counts | dict(findings=[finding._asdict() for finding in findings])
            for name, (counts, findings) in results.items()
        }
        args.json.write_text(json.dumps(rows, indent=2) + '\n')
    raise SystemExit(1 if errors else 0)


if __name__ == '__main__':
    main()
