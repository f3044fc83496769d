"""How bytes come in: cut anywhere, because a network cuts anywhere."""

from random import Random

LONGEST = 40  # bytes; heads and frames are a few times that


def cut(data: bytes, seed: int) -> list[bytes]:
    """Pieces of one to `LONGEST` bytes, the same ones for the same `seed`; 0 is byte by byte."""
    random = Random(seed)
    pieces = []
    while data:
        size = random.randint(1, LONGEST) if seed else 1
        pieces.append(data[:size])
        data = data[size:]
    return pieces
