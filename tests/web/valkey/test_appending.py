"""What Valkey has written is brought to the disk once."""

from pathlib import Path

from web.valkey.appending import AppendOnlyFile


def test_what_has_grown_is_synced_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "appendonlydir"
    appended = AppendOnlyFile(tmp_path)
    assert appended.sync() == []  # Valkey has not begun
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("what Valkey syncs itself")
    first, second = folder / "appendonly.aof.1.incr.aof", folder / "appendonly.aof.2.incr.aof"
    first.write_text("one")

    assert appended.sync() == [first.name]
    assert appended.sync() == []
    first.write_text("one two")
    second.write_text("three")
    assert sorted(appended.sync()) == [first.name, second.name]
    first.unlink()
    assert appended.sync() == []
