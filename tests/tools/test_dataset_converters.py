"""Every converter on a small folder with the names of the download."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image, ImageOps

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
# Both are bright next to the boundary.
GREEN_AND_RED[2, :][TRUTH[3] == 1] = (0, 0, 255)
GREEN_AND_RED[3, :][TRUTH[3] == 1] = (0, 255, 0)
THREE_LEVELS = TRUTH * 255
THREE_LEVELS[4][TRUTH[4] == 1] = 127

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
    'dso1': (
        {
            'DSO-1/splicing-01.png': None,
            'DSO-1/splicing-02.png': None,
            'DSO-1/normal-01.png': None,
            'DSO-1/other.png': None,
            'DSO-1-Fake-Images-Masks/splicing-01.png': 255 - TRUTH * 255,
        },
        ['splicing-01'],
        ['normal-01'],
        2,
    ),
    'korus': (
        {
            'Canon_60D/tampered-realistic/DPP0012.TIF': None,
            'Canon_60D/ground-truth/DPP0012.PNG': TRUTH * 127,
            'Canon_60D/pristine/DPP0012.TIF': None,
            'Nikon_D90/tampered-realistic/DPP0012.TIF': None,
            'Nikon_D90/ground-truth/DPP0012.PNG': THREE_LEVELS,
            'Nikon_D90/pristine/DPP0012.TIF': None,
            'Sony_A57/tampered-realistic/1.TIF': None,
            'readme.md': 'text',
        },
        ['Canon_60D_DPP0012', 'Nikon_D90_DPP0012'],
        ['Canon_60D_DPP0012', 'Nikon_D90_DPP0012'],
        1,
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


# Files that archives and file managers leave in every folder.
HIDDEN = ('.DS_Store', 'Thumbs.db', '__MACOSX/._a.png')


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
    for name in (
        f'{folder}/{name}' for folder in {'.', *map(os.path.dirname, files)} for name in HIDDEN
    ):
        (tmp_path / 'download' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'download' / name).write_bytes(b'left behind')
    for image in list((tmp_path / 'download').rglob('*')):
        if image.is_file():
            image.with_name(f'._{image.name}').write_bytes(b'AppleDouble')
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
        # Colors of Columbia's JPEG masks bleed over boundaries.
        wrong = np.count_nonzero(row['gt_seg_map'] != TRUTH)
        assert wrong == 0 if tool != 'columbia' else wrong <= 8
    assert not any(row['gt_seg_map'].any() for row in rows[len(tampered) :])
    # The files are copied byte by byte.
    originals = {p.read_bytes() for p in (tmp_path / 'download').rglob('*') if p.is_file()}
    assert all(Path(row['img_path']).read_bytes() in originals for row in rows)


# Size of the image, size of the mask, and the message; some are from CASIA v2.
@pytest.mark.parametrize(
    'image, mask, words',
    [
        (
            (256, 384),
            (384, 256),
            'is 384x256, but its mask 256x384: the mask is turned by',
        ),
        ((475, 600), (600, 600), 'is 600x475, but its mask 600x600: the sides of the mask have'),
        ((384, 255), (384, 256), 'is 255x384, but its mask 256x384'),
        ((800, 600), (600, 450), 'is 600x800, but its mask 450x600'),
    ],
)
def test_masks_that_do_not_fit_are_left_out(image, mask, words, tmp_path, run_tool):
    shape = dict(image=image, mask=mask)
    make_tree(tmp_path / 'download', TREES['casia'][0])
    victim = tmp_path / 'download/CASIA2/Tp/Tp_D_CND_M_N_ani00018_sec00096_00138.tif'
    cv2.imwrite(str(victim), np.zeros((*shape['image'], 3), np.uint8))
    victims_mask = tmp_path / f'download/CASIA2/CASIA 2 Groundtruth/{victim.stem}_gt.png'
    cv2.imwrite(str(victims_mask), np.eye(*shape['mask'], dtype=np.uint8) * 255)
    printed = run_tool(script('casia'), tmp_path / 'download', tmp_path / 'out')
    assert f'left out: {victim} {words}' in printed and '1 tampered, 1 authentic, 2 left' in printed
    assert not list((tmp_path / 'out').rglob(f'{victim.stem}*'))


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.tif', '.png'])
def test_a_mask_of_the_upright_photograph_is_turned_as_exif_says(
    orientation, suffix, tmp_path, run_tool
):
    """The oracle is Pillow: rotated upright like the image, the mask equals the given one."""
    tree = tmp_path / 'download/folder'
    tree.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(tree / f'a{suffix}', exif=exif)
    upright = np.zeros((16, 12) if orientation > 4 else (12, 16), np.uint8)
    upright[1:4, 2:9] = 255
    cv2.imwrite(str(tree / 'a_mask.png'), upright)
    printed = run_tool(script('imd2020'), tmp_path / 'download', tmp_path / 'out')
    assert '1 tampered, 0 authentic, 0 left out' in printed
    # OpenCV always rotates TIFF by its orientation.
    turned = orientation > 4 and suffix != '.tif'
    assert ('mask turned as EXIF says' in printed) == turned
    stored = Image.open(tmp_path / 'out/Gt/folder_a.png')
    load = Compose([dict(type='LoadImageFromFile', color_type='color_ignore_orientation')])
    image = load(dict(img_path=str(next((tmp_path / 'out/Tp').iterdir()))))['img']
    assert stored.size == image.shape[1::-1]
    if turned:
        stored.getexif()[0x0112] = orientation
        stored = ImageOps.exif_transpose(stored)
    assert np.array_equal(np.asarray(stored), upright)


def test_two_masks_of_an_image_are_not_guessed(tmp_path, run_tool):
    stem = 'Tp_D_CND_M_N_ani00018_sec00096_00138'
    make_tree(tmp_path / 'a', TREES['casia'][0])
    make_tree(tmp_path / 'a', {f'same/{stem}_gt.png': TRUTH * 255})
    assert '2 tampered' in run_tool(script('casia'), tmp_path / 'a', tmp_path / 'out')
    make_tree(tmp_path / 'a', {f'revised/{stem}_gt.png': 255 - TRUTH * 255})
    printed = run_tool(script('casia'), tmp_path / 'a', tmp_path / 'other')
    assert f'{stem}.tif has 3 masks' in printed and '1 tampered' in printed


def test_damaged_references_are_refused(tmp_path, run_tool):
    make_tree(tmp_path, {'secret.jpg': None})
    rows = f"""TaskID|ProbeFileID|ProbeFileName|IsTarget|ProbeMaskFileName
manipulation|a|../secret.jpg|N|
manipulation|b|{tmp_path}/secret.jpg|N|
manipulation|c|probe/NC2016_0002.jpg|y|
manipulation|d
"""
    files = TREES['nist16'][0] | {'reference/manipulation/NC2016-manipulation-ref.csv': rows}
    make_tree(tmp_path / 'nist', files)
    printed = run_tool(script('nist16'), tmp_path / 'nist', tmp_path / 'out', status=1)
    assert printed.count('does not exist there') == 3 and "IsTarget 'y', neither Y nor N" in printed
    (tmp_path / 'nist/reference/manipulation/NC2016-manipulation-ref.csv').write_text('a|b\n1|2\n')
    printed = run_tool(script('nist16'), tmp_path / 'nist', tmp_path / 'out', status=1)
    assert 'has no column IsTarget, ProbeFileName, ProbeMaskFileName' in printed


def test_files_of_another_run_stay(tmp_path, run_tool):
    make_tree(tmp_path / 'download', TREES['coverage'][0])
    args = script('coverage'), tmp_path / 'download', tmp_path / 'out'
    run_tool(*args)
    assert 'holds a data set: write to another folder' in run_tool(*args, status=1)


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
    assert "none' is not a folder" in printed
