"""Cutting a server's WebSocket frames out of what was read."""


def cut_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first frame's opcode and payload, and what is behind it; None while it is not whole.

    Servers do not mask, and ours sends whole messages.
    """
    if len(data) < 2:
        return None
    start, size = 2, data[1]
    if size > 125:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0] & 0xF, data[start : start + size], data[start + size :]
