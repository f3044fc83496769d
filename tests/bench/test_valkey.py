"""The Valkey of a benchmark."""

import os
from pathlib import Path

import pytest
from redis import Redis

from bench import valkey as module
from bench.valkey import ValkeyFailed, events_in_a_publish, valkey

CORE = min(os.sched_getaffinity(0))


def test_it_appends_as_the_embedded_one_does_and_runs_on_its_core(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey", core=CORE) as it, Redis.from_url(it.url) as client:
        settings = [client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")]
        cores = os.sched_getaffinity(it.pid)

    assert settings == ["yes", "no", "noeviction"]
    assert cores == {CORE}
    assert not Path(f"/proc/{it.pid}").exists()


def test_one_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPTIONS", {"no-such-option": "1"})

    with pytest.raises(ValkeyFailed, match="no-such-option"), valkey(tmp_path / "valkey", core=CORE):
        pass


def test_events_are_counted_by_their_logs_and_publishes_by_the_appends(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey", core=CORE) as it, Redis.from_url(it.url) as client:
        nothing = events_in_a_publish(tmp_path / "valkey")
        for log, events in (("one", (3, 5)), ("other", (7,))):  # the offset of the last one in each publish
            for offset in events:
                client.xadd(f"chat:{{{log}}}:stream", {"1": "lines"}, id=f"{offset}-0")
            client.hset(f"chat:{{{log}}}:meta", "offset", events[-1])

        assert (nothing, events_in_a_publish(tmp_path / "valkey")) == (0.0, 4.0)
