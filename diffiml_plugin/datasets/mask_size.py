"""Masks and maps whose size differs from their images'."""

# Largest ratio of the two scales: rounding of a resized mask stays below it, another crop does not.
_MAX_STRETCH = 1.05


def size_fault(mask: tuple[int, int], image: tuple[int, int], what: str = 'mask') -> str:
    """Explain why a mask cannot be resized to its image.

    Args:
        mask (tuple[int, int]): (height, width) of the mask.
        image (tuple[int, int]): (height, width) of the image.
        what (str): Name of the mask in the reason. Defaults to 'mask'.

    Returns:
        str: The reason; empty if both show the same crop of the same picture.
    """
    if mask != image and mask == image[::-1]:
        return f'the {what} is turned by 90 degrees, and nothing says which way'
    scales = [long / short for long, short in zip(image, mask, strict=True)]
    if max(scales) > _MAX_STRETCH * min(scales):
        return f'the sides of the {what} have another ratio, so that it shows something else'
    return ''
