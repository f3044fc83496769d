"""Lines from pipes and files, while everything else goes on."""

import os

import gevent
import pytest

from chat.client.lines import CHUNK, lines


def test_lines_come_one_by_one_however_they_were_written() -> None:
    ear, mouth = os.pipe()
    found: list[str] = []
    reading = gevent.spawn(lambda: found.extend(lines(ear)))
    for part in (b"one\ntw", b"o\r\n", "zwölf".encode()[:3], "zwölf".encode()[3:] + b"\n\n", b"\xff\n", b"the end"):
        os.write(mouth, part)
        gevent.idle()
    os.close(mouth)
    reading.get(timeout=5)
    os.close(ear)

    assert found == ["one", "two", "zwölf", "", "\ufffd", "the end"]


def test_others_have_their_turn_while_it_waits() -> None:
    ear, mouth = os.pipe()
    reading = gevent.spawn(lambda: list(lines(ear)))
    gevent.spawn(os.close, mouth)

    assert reading.get(timeout=5) == []
    os.close(ear)


@pytest.mark.parametrize("size", [0, 10, 3 * CHUNK])
def test_a_file_is_read_to_its_end(tmp_path, size: int) -> None:
    (tmp_path / "file").write_text("x" * size + "\nlast")
    with (tmp_path / "file").open() as file:
        assert list(lines(file.fileno())) == ["x" * size, "last"]
