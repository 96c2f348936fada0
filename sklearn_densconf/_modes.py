"""One rule for the modes of pictures, whoever reads them.

Pictures of more than 8 bits are refused, since nobody knows which of their values is white. What
is transparent lies on white ground, as viewers show it. Orientation in EXIF is followed only where
it is asked for, as torchvision's and timm's own readers do.
"""

from typing import Any

# A picture in colour of 16 bits, which PIL brings to 8: once it is decoded, nothing tells it.
DEEP_TILES = ";16"  # in how the decoder is told to read channels
IS_DEEP = "has more than 8 bits"  # in the info of a decoded picture, where copies have it, too


def mark_deep(picture: Any) -> None:
    """Note in a picture of PIL that was opened, and not yet decoded, whether it has 16 bits."""
    if DEEP_TILES in str(getattr(picture, "tile", "")):
        picture.info[IS_DEEP] = True


def is_deep(picture: Any) -> bool:
    """Tell whether a picture has more than 8 bits, or had them in its file."""
    return picture.getbands()[0] in ("I", "F") or IS_DEEP in picture.info


def converted(picture: Any, mode: str) -> Any:
    """Return a PIL image in grey ("L") or in colour ("RGB").

    Parameters
    ----------
    picture : PIL.Image.Image
        The picture, in any mode.
    mode : str
        "L" or "RGB".

    Returns
    -------
    PIL.Image.Image
        The picture in that mode, without transparency.

    Raises
    ------
    ValueError
        If its pixels have more than 8 bits.
    """
    if picture.getbands()[0] in ("I", "F"):
        raise ValueError(
            f"a picture of mode {picture.mode!r} has pixels outside 0-255, which PIL would "
            "clip: give a preprocessing that scales them"
        )
    if is_deep(picture):
        raise ValueError(
            f"a picture of mode {picture.mode!r} has 16 bits in each channel, of which PIL keeps "
            "the upper 8: give a preprocessing that takes these"
        )
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        ground = opaque.copy()
        ground.paste((255, 255, 255, 255), (0, 0, *ground.size))
        ground.alpha_composite(opaque)
        picture = ground
    if picture.mode == "LAB":  # from which PIL converts to RGB only
        picture = picture.convert("RGB")
    return picture.convert(mode)


def is_grey(picture: Any) -> bool:
    """Tell whether a picture has no colours."""
    return picture.getbands()[0] in ("1", "L") and picture.mode != "LAB"
