"""How image networks divide their work: a 4×4 map, then one stage for each doubling."""


def doublings(shape: tuple[int, ...], smallest: int = 4, least: int = 0) -> int:
    """How often `smallest` doubles to the side of the images [C, H, W].

    Raises ValueError unless they are square with a side of smallest·2^k, where k is `least` or more.
    """
    if len(shape) != 3:
        raise ValueError(
            f"this network makes images [C, H, W], got examples of shape {shape}; choose a recipe that makes points"
        )
    _, height, width = shape
    stages = (height // smallest).bit_length() - 1
    if height != width or stages < least or height != smallest * 2**stages:
        sides = ", ".join(str(smallest * 2**k) for k in range(least, least + 4)) + " …"
        raise ValueError(
            f"images of {height}×{width} do not fit this network, which makes squares of {sides}; "
            "choose one with --resolution"
        )
    return stages
