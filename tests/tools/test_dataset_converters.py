"""Every converter on a miniature tree with the download's own names."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose

from diffiml_plugin.datasets import IMLDataset

TRUTH = np.zeros((12, 16), np.uint8)
TRUTH[3:9, 2:10] = 1
REFERENCE = """TaskID|ProbeFileID|ProbeFileName|IsTarget|ProbeMaskFileName
manipulation|a|probe/NC2016_0001.jpg|Y|reference/manipulation/mask/NC2016_0001_ref.png
manipulation|b|probe/NC2016_0002.jpg|N|
manipulation|c|probe/NC2016_0003.jpg|Y|reference/manipulation/mask/missing.png
"""
GREEN_AND_RED = np.zeros((12, 16, 3), np.uint8)
GREEN_AND_RED[TRUTH == 0] = (0, 0, 200)
GREEN_AND_RED[TRUTH == 1] = (0, 200, 0)
# Next to the boundary both are bright.
GREEN_AND_RED[2, :][TRUTH[3] == 1] = (0, 0, 255)
GREEN_AND_RED[3, :][TRUTH[3] == 1] = (0, 255, 0)

# name -> files (None: an image), then what comes of them: tampered, authentic, left out
TREES = {
    'casia': (
        {
            'CASIA2/Tp/Tp_D_CND_M_N_ani00018_sec00096_00138.tif': None,
            'CASIA2/CASIA 2 Groundtruth/Tp_D_CND_M_N_ani00018_sec00096_00138_gt.png': TRUTH * 255,
            'CASIA2/Tp/Tp_S_NRN_S_N_arc00013_arc00013_11700.jpg': None,
            'CASIA2/Au/Au_ani_00001.jpg': None,
            'CASIA1/Tp/Sp/Sp_D_CND_A_pla0005_pla0023_0281.jpg': None,
            'CASIA1/gt/Sp/Sp_D_CND_A_pla0005_pla0023_0281_gt.png': TRUTH * 255,
        },
        ['Sp_D_CND_A_pla0005_pla0023_0281', 'Tp_D_CND_M_N_ani00018_sec00096_00138'],
        ['Au_ani_00001'],
        1,
    ),
    'columbia': (
        {
            '4cam_splc/canong3_canonxt_sub_01.tif': None,
            '4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.jpg': GREEN_AND_RED,
            '4cam_auth/canong3_02_sub_01.tif': None,
        },
        ['canong3_canonxt_sub_01'],
        ['canong3_02_sub_01'],
        0,
    ),
    'coverage': (
        {
            'image/1.tif': None,
            'image/1t.tif': None,
            'mask/1forged.tif': TRUTH * 255,
            'mask/1copy.tif': 255 - TRUTH * 255,
            'mask/1paste.tif': 255 - TRUTH * 255,
        },
        ['1t'],
        ['1'],
        0,
    ),
    'nist16': (
        {
            'probe/NC2016_0001.jpg': None,
            'probe/NC2016_0002.jpg': None,
            'probe/NC2016_0003.jpg': None,
            'reference/manipulation/mask/NC2016_0001_ref.png': 255 - TRUTH * 255,
            'reference/manipulation/NC2016-manipulation-ref.csv': REFERENCE,
        },
        ['NC2016_0001'],
        ['NC2016_0002'],
        1,
    ),
    'imd2020': (
        {
            '1a1ogs/1a1ogs_orig.jpg': None,
            '1a1ogs/c8tf5mq_0.png': None,
            '1a1ogs/c8tf5mq_0_mask.png': TRUTH * 255,
            '1a3oag/1a3oag_orig.jpg': None,
            '1a3oag/c8tf5mq_0.jpg': None,
            '1a3oag/c8tf5mq_0_mask.png': TRUTH * 255,
        },
        ['1a1ogs_c8tf5mq_0', '1a3oag_c8tf5mq_0'],
        ['1a1ogs_orig', '1a3oag_orig'],
        0,
    ),
    'autosplice': (
        {
            'Forged_JPEG100/40574_1.jpg': None,
            'Forged_JPEG75/40574_2.jpg': None,
            'Mask/40574_mask.png': TRUTH * 255,
            'Authentic/40574.jpg': None,
        },
        ['40574_1'],
        ['40574'],
        0,
    ),
    'cocoglide': (
        {
            'fake/glide_inpainting_val2017_114871_up.png': None,
            'fake/glide_inpainting_val2017_7_up.png': None,
            'mask/dining table_114871_mask.png': TRUTH * 255,
            'real/dining table_114871.png': None,
        },
        ['glide_inpainting_val2017_114871_up'],
        ['dining table_114871'],
        1,
    ),
}


def script(tool: str) -> str:
    return f'tools/dataset_converters/{tool}.py'


def make_tree(root: Path, files: dict) -> None:
    rng = np.random.default_rng(0)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        else:
            picture = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 100]
            cv2.imwrite(str(path), picture if content is None else content, quality)


@pytest.mark.parametrize('tool', TREES)
def test_a_download_becomes_the_folder_format(tool, tmp_path, run_tool):
    files, tampered, authentic, left_out = TREES[tool]
    make_tree(tmp_path / 'download', files)
    out = tmp_path / 'out'
    printed = run_tool(script(tool), tmp_path / 'download', out)
    assert f'{len(tampered)} tampered, {len(authentic)} authentic, {left_out} left out' in printed
    assert len(re.findall('^left out: ', printed, re.MULTILINE)) == left_out
    load = Compose([dict(type='LoadImageFromFile'), dict(type='LoadTamperingMask')])
    data = IMLDataset(data_root=str(out), pipeline=load.transforms)
    rows = [data[i] for i in range(len(data))]
    names = [Path(row['img_path']).stem for row in rows]
    assert names == sorted(tampered) + sorted(authentic)
    for row in rows[: len(tampered)]:
        # Colours of Columbia's JPEG masks bleed over a boundary.
        wrong = np.count_nonzero(row['gt_seg_map'] != TRUTH)
        assert wrong == 0 if tool != 'columbia' else wrong <= 8
    assert not any(row['gt_seg_map'].any() for row in rows[len(tampered) :])
    # What was read is what was downloaded, byte by byte.
    originals = {p.read_bytes() for p in (tmp_path / 'download').rglob('*') if p.is_file()}
    assert all(Path(row['img_path']).read_bytes() in originals for row in rows)


def test_links_and_qualities(tmp_path, run_tool):
    make_tree(tmp_path / 'download', TREES['autosplice'][0])
    out = tmp_path / 'out'
    run_tool(script('autosplice'), tmp_path / 'download', out, '--link', '--quality', 75)
    assert [path.name for path in (out / 'Tp').iterdir()] == ['40574_2.jpg']
    assert (out / 'Tp/40574_2.jpg').is_symlink()


def test_a_wrong_folder_is_named(tmp_path, run_tool):
    (tmp_path / 'empty').mkdir()
    printed = run_tool(script('columbia'), tmp_path / 'empty', tmp_path / 'out', status=1)
    assert 'nothing found' in printed and '4cam_splc' in printed
    make_tree(tmp_path / 'download', {'Tp/Tp_a.jpg': None, 'gt/Tp_a_gt.png': TRUTH * 255})
    for out in ('download', 'download/out'):
        printed = run_tool(script('casia'), tmp_path / 'download', tmp_path / out, status=1)
        assert 'lies in the download' in printed
    assert (tmp_path / 'download/Tp/Tp_a.jpg').stat().st_size > 0
    printed = run_tool(script('coverage'), tmp_path / 'none', tmp_path / 'out', status=1)
    assert "none' is no folder" in printed
