from __future__ import annotations

import pytest

from mrpc_service import settings
from mrpc_service.documents import DaemonSpec
from mrpc_service.errors import StartupError
from mrpc_service.settings import Settings


def merged(*flags: str, **spec: object) -> Settings:
    return settings.merge(settings.parser().parse_args(flags), DaemonSpec(**spec))


def test_no_flag_and_no_document_give_a_daemon_for_this_host_alone() -> None:
    found = merged()
    assert (found.listen, found.metrics, found.registry, found.peers) == ("", "", "", ())
    assert found.node and found.shards >= 1
    assert found.message_bytes_max == 64 << 20


def test_a_flag_wins_over_the_document_and_the_document_over_the_default() -> None:
    found = merged("--node", "flag", "--peer", "a:1", "--peer", "b:2", node="document", drain_timeout_s=3, log_level="debug")
    assert (found.node, found.drain_timeout_s, found.log_level, found.peers) == ("flag", 3, "debug", ("a:1", "b:2"))


def test_metrics_alone_means_the_documented_address() -> None:
    assert merged("--metrics").metrics == settings.METRICS_ADDRESS
    assert merged("--metrics", "127.0.0.1:9000").metrics == "127.0.0.1:9000"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--listen", "127.0.0.1:7700"], "--listen needs --insecure: TLS between daemons is not in this release"),
        (["--insecure"], "--insecure without --listen"),
        (["--peer", "hostalone"], "--peer hostalone: write HOST:PORT"),
        (["--peer", "host:99999"], "--peer host:99999: write HOST:PORT"),
        (["--metrics", "9464"], "--metrics 9464: write HOST:PORT"),
        (["--shards", "0"], "--shards 0 is out of range"),
        (["--drain-timeout", "-1"], "--drain-timeout -1 is out of range"),
        (["--listen", "0.0.0.0:1", "--insecure", "--registry", "redis://h"], "add --advertise"),
    ],
)
def test_a_contradiction_is_one_line(flags: list[str], reason: str) -> None:
    with pytest.raises(StartupError) as caught:
        merged(*flags)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_addresses_split() -> None:
    assert settings.split_address("--listen", "127.0.0.1:7700") == ("127.0.0.1", 7700)
    assert settings.split_address("--listen", "[::1]:0") == ("::1", 0)


def test_shards_grow_with_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, shards in ((1, 1), (7, 1), (8, 2)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert settings.default_shards() == shards


def test_changes_that_must_wait_for_a_start_are_named() -> None:
    before, after = merged("--shards", "1"), merged("--shards", "2", "--log-level", "debug")
    assert settings.changed_at_start_only(before, after) == ["shards"]
