"""Photographs and the objects in them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from diffiml_plugin.errors import UserError
from diffiml_plugin.synthesis.joined_source import JoinedSource
from diffiml_plugin.synthesis.sources import PhotographSource

SHAPE = (40, 60)
NAMES = ['a.png', 'b.JPG', 'sub/a.png']


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Three drawn photographs, one of them in a folder below."""
    folder = tmp_path / 'photographs'
    (folder / 'sub').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8))
    (folder / 'notes.txt').write_text('no photograph')
    return folder


def save_mask(path: Path, mask: np.ndarray, **kwargs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, **kwargs)


def drawn(*areas: tuple[slice, slice, int], dtype=np.uint8) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype)
    for rows, columns, value in areas:
        mask[rows, columns] = value
    return mask


SQUARE = (slice(5, 20), slice(10, 30))
OTHER = (slice(25, 35), slice(2, 9))
TOP = (slice(0, 1), slice(None))


def palette_of_voc() -> Image.Image:
    outline = (slice(36, 38), slice(None), 255)
    image = Image.fromarray(drawn((*SQUARE, 1), (*OTHER, 2), outline))
    image.putpalette([(7 * i) % 256 for i in range(768)])
    return image


def soft() -> np.ndarray:
    return cv2.GaussianBlur(drawn((*SQUARE, 255)), (0, 0), 0.8)


def colored() -> np.ndarray:
    mask = np.zeros((*SHAPE, 3), np.uint8)
    mask[SQUARE], mask[OTHER] = (255, 0, 0), (0, 0, 9)
    return mask


@pytest.mark.parametrize(
    'mask, objects',
    [
        (drawn((*SQUARE, 255)), [SQUARE]),
        (drawn((*SQUARE, 1)), [SQUARE]),
        (drawn((*OTHER, 3), (*SQUARE, 7)), [OTHER, SQUARE]),
        (drawn((*OTHER, 3), (*SQUARE, 700), dtype=np.uint16), [OTHER, SQUARE]),
        (drawn((*OTHER, 1), (*SQUARE, 2), (*TOP, 255)), [OTHER, SQUARE, TOP]),
        (soft(), [SQUARE]),
        (colored(), [SQUARE, OTHER]),
        (drawn((*SQUARE, 1)).astype(bool), [SQUARE]),
        (drawn(), []),
    ],
)  # fmt: skip
def test_masks_of_a_folder(photographs, tmp_path, mask, objects):
    masks = tmp_path / 'masks'
    save_mask(masks / 'sub/a.png', mask)
    source = PhotographSource(photographs, masks)
    assert source.names == NAMES and len(source) == 3
    found = source.load(2).objects
    assert len(found) == len(objects)
    for one, expected in zip(found, objects, strict=True):
        assert one.dtype == np.uint8 and one.shape == SHAPE
        assert (one == drawn((*expected, 1))).all()
    assert len(source.load(0).objects) == 0


def test_palettes_hold_numbers(photographs, tmp_path):
    (tmp_path / 'masks').mkdir()
    palette_of_voc().save(tmp_path / 'masks/b.png')
    found = PhotographSource(photographs, tmp_path / 'masks').load(1).objects
    assert len(found) == 2
    assert (found[1] == drawn((*OTHER, 1))).all()


def test_a_jpeg_of_a_mask_is_one_object(photographs, tmp_path):
    save_mask(tmp_path / 'masks/b.jpg', soft(), quality=60)
    (found,) = PhotographSource(photographs, tmp_path / 'masks').load(1).objects
    assert (found != drawn((*SQUARE, 1))).mean() < 0.02


def test_nothing_is_read_before_it_is_needed(photographs, tmp_path):
    (photographs / 'c.png').write_bytes(b'no image')
    save_mask(tmp_path / 'masks/a.png', drawn((*SQUARE, 1)))
    (tmp_path / 'masks/b.png').write_bytes(b'no mask')
    source = PhotographSource(photographs, tmp_path / 'masks')
    with pytest.raises(UserError, match=r'c\.png.*mend or remove'):
        source.load(2)
    photograph = source.load(1)
    assert photograph.image.shape == (*SHAPE, 3)
    with pytest.raises(UserError, match=r'mask .*b\.png.*cannot be read'):
        len(photograph.objects)


def test_photographs_are_read_as_stored(tmp_path):
    image = np.zeros((8, 12, 3), np.uint8)
    image[:4, :, 0] = 200
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(image).save(tmp_path / 'a.png', exif=exif)
    assert (PhotographSource(tmp_path).load(0).image == image[..., ::-1]).all()


def test_masks_below_the_photographs_are_no_photographs(photographs):
    save_mask(photographs / 'masks/a.png', drawn((*SQUARE, 1)))
    assert PhotographSource(photographs, photographs / 'masks').names == NAMES


def test_sources_are_joined(photographs, tmp_path):
    (tmp_path / 'more').mkdir()
    cv2.imwrite(str(tmp_path / 'more/z.png'), np.full((9, 9, 3), 7, np.uint8))
    parts = [PhotographSource(tmp_path / 'more'), PhotographSource(photographs)]
    joined = JoinedSource(parts)
    assert len(joined) == 4
    expected = [parts[0].load(0), *(parts[1].load(i) for i in range(3))]
    for index, one in enumerate(expected):
        assert (joined.load(index).image == one.image).all()


@pytest.mark.parametrize(
    'make, words',
    [
        (lambda p, m: (p / 'gone', None), 'does not exist'),
        (lambda p, m: (p.parent / 'empty', None), 'holds no image'),
        (lambda p, m: (p, p.parent / 'empty'), "folder of masks .* holds no image"),
        (lambda p, m: (p, m / 'gone.json'), 'gone.json.* do not exist'),
        (lambda p, m: (p, m), "no photograph of .* has a mask .*such as 'a.png'"),
    ],
)  # fmt: skip
def test_wrong_folders(photographs, tmp_path, make, words):
    (tmp_path / 'empty').mkdir()
    save_mask(tmp_path / 'masks/other.png', drawn())
    with pytest.raises(UserError, match=words):
        PhotographSource(*make(photographs, tmp_path / 'masks'))


def test_wrong_masks(photographs, tmp_path):
    save_mask(tmp_path / 'masks/a.png', np.zeros((4, 5), np.uint8))
    with pytest.raises(UserError, match=r'a\.png.* is 5x4, but its photograph 60x40'):
        len(PhotographSource(photographs, tmp_path / 'masks').load(0).objects)
    # As a tool makes it that shows a phone's photograph upright.
    save_mask(tmp_path / 'masks/a.png', np.zeros(SHAPE[::-1], np.uint8))
    with pytest.raises(UserError, match='60x40 as stored, before a viewer turns it: both must'):
        len(PhotographSource(photographs, tmp_path / 'masks').load(0).objects)
    save_mask(tmp_path / 'masks/a.tif', np.zeros(SHAPE, np.float32))
    with pytest.raises(UserError, match=r"'a.png' and 'a.tif': a photograph has one mask"):
        PhotographSource(photographs, tmp_path / 'masks')
    (tmp_path / 'masks/a.png').unlink()
    with pytest.raises(UserError, match='not object numbers'):
        len(PhotographSource(photographs, tmp_path / 'masks').load(0).objects)


TRIANGLE = [10.0, 5.0, 40.0, 8.0, 20.0, 30.0]
RLE = coco.encode(np.asfortranarray(drawn((*OTHER, 1))))
COUNTS = [0, 1, SHAPE[0] * SHAPE[1] - 1]


def annotated(*segmentations: object, **changes: object) -> dict:
    image = dict(id=7, file_name='sub/a.png', height=SHAPE[0], width=SHAPE[1]) | changes
    return dict(
        images=[image],
        annotations=[dict(image_id=7, segmentation=one) for one in segmentations],
    )


@pytest.fixture
def load_objects(photographs, tmp_path):
    """Return a function that loads the objects of sub/a.png from a JSON of this content."""

    def _load(content: object) -> list[np.ndarray]:
        file = tmp_path / 'instances.json'
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text)
        return list(PhotographSource(photographs, file).load(2).objects)

    return _load


def test_objects_of_coco(load_objects):
    rle = dict(size=list(SHAPE), counts=RLE['counts'].decode())
    two = [TRIANGLE, [50.0, 1.0, 59.0, 1.0, 59.0, 9.0, 50.0, 9.0]]
    found = load_objects(annotated(two, rle, dict(size=list(SHAPE), counts=COUNTS), []))
    assert len(found) == 3 and all(one.dtype == np.uint8 for one in found)
    corners = [np.reshape(one, (-1, 2))[:, ::-1] for one in two]
    oracle = polygon2mask(SHAPE, corners[0]) | polygon2mask(SHAPE, corners[1])
    # Both fill; what they do with the pixels of the outline differs.
    assert (found[0] != oracle).mean() < 0.03 and found[0].any()
    assert (found[1] == drawn((*OTHER, 1))).all()
    assert found[2].sum() == 1 and found[2][0, 0] == 1
    # Points outside are brought to the border.
    (far,) = load_objects(annotated([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]))
    assert far.all()


@pytest.mark.parametrize('seed', range(4))
def test_compressed_counts_are_read_as_pycocotools_writes_them(load_objects, seed):
    rng = np.random.default_rng(seed)
    mask = (rng.random(SHAPE) < 0.1 + 0.25 * seed).astype(np.uint8)
    counts = coco.encode(np.asfortranarray(mask))['counts'].decode()
    (found,) = load_objects(annotated(dict(size=list(SHAPE), counts=counts)))
    assert (found == mask).all()


@pytest.mark.parametrize(
    'content, words',
    [
        ('{', 'is not JSON'),
        ('[' * 100_000, 'is not JSON'),
        ([], 'is not an object with the lists'),
        (dict(images=[], annotations=3), 'is not an object with the lists'),
        (dict(images=[3], annotations=[]), 'image 1: it is not an object'),
        (annotated(id='7'), 'whole number "id"'),
        (annotated(file_name=None), 'no "file_name"'),
        (annotated(height=-1), 'not positive whole numbers'),
        (annotated(width=1e99), 'not positive whole numbers'),
        *((annotated(file_name=name), 'leads out of the folder')
          for name in ('/etc/a.png', '../a.png', 'sub/../../a.png', 'C:\\a.png', '..\\a.png')),
        (annotated(file_name='other.png'), 'has a mask'),
        (annotated('text'), 'neither a list of polygons nor RLE'),
        (dict(annotated(), annotations=[dict(image_id=[1])]), 'not among the images'),
        (dict(annotated(), annotations=[None]), 'annotation 1: it is not an object'),
        (dict(annotated(), images=annotated()['images'] * 2), 'was there before'),
        (annotated(TRIANGLE, height=41), '"height" and "width" are 41 and 60'),
        (annotated(TRIANGLE), 'at least three points'),
        (annotated([TRIANGLE[:5]]), 'at least three points'),
        (annotated([['a', 'b', 'c', 'd', 'e', 'f']]), 'is damaged'),
        (annotated([[[1], 2, 3, 4, 5, 6]]), 'is damaged'),
        (annotated([[float('nan')] * 6]), 'at least three points'),
        *((annotated(dict(size=size, counts=counts)), words) for size, counts, words in [
            ([2**31, 2**31], COUNTS, '"size" must be'),
            (None, COUNTS, '"size" must be'),
            (list(SHAPE), None, 'not whole numbers'),
            (list(SHAPE), [1, -1, 2400], 'not whole numbers'),
            (list(SHAPE), [2.5], 'not whole numbers'),
            (list(SHAPE), [9], 'do not add up'),
            (list(SHAPE), [2**40], 'do not add up'),
            (list(SHAPE), '2', 'do not add up'),
            (list(SHAPE), 'o' * 40, 'not a string of COCO'),
            (list(SHAPE), 'ooo', 'cut off'),
            (list(SHAPE), '\u00ff', 'not a string of COCO'),
        ]),
    ],
)  # fmt: skip
def test_hostile_json_is_one_sentence(load_objects, content, words):
    with pytest.raises(UserError, match=words) as caught:
        load_objects(content)
    assert 'instances.json' in str(caught.value) and '\n' not in str(caught.value)


def test_without_pycocotools(photographs, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pycocotools', None)
    (tmp_path / 'a.json').write_text('{}')
    with pytest.raises(UserError, match=r'pip install "diffiml_plugin\[coco\]"'):
        PhotographSource(photographs, tmp_path / 'a.json')
