"""One suite for both directories, the Redis one against a real server; and what the joiner makes of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from mrpc_service.discovery import DirectoryError, Joiner, NodeDirectory, SqliteDirectory, open_directory
from mrpc_service.errors import StartupError

LEASE_S = 60.0


@pytest.fixture(params=["sqlite", "redis"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> NodeDirectory:
    if request.param == "sqlite":
        return open_directory(f"sqlite:///{tmp_path}/nodes.db".replace("////", "///"))
    import redis

    from mrpc_service.discovery import RedisDirectory

    url = request.getfixturevalue("redis_url")
    redis.Redis.from_url(url).flushall()
    return RedisDirectory(url)


def test_a_lease_is_seen_renewed_and_given_back(directory: NodeDirectory) -> None:
    assert directory.nodes() == {}
    assert directory.publish("a", "h:1", LEASE_S) is None
    assert directory.publish("b", "h:2", LEASE_S) is None
    assert directory.publish("a", "h:1", LEASE_S) is None
    assert directory.nodes() == {"a": "h:1", "b": "h:2"}
    directory.withdraw("a")
    assert directory.nodes() == {"b": "h:2"}


def test_a_name_that_another_holds_is_not_taken_from_it(directory: NodeDirectory) -> None:
    directory.publish("a", "h:1", LEASE_S)
    assert directory.publish("a", "h:9", LEASE_S) == "h:1"
    assert directory.nodes() == {"a": "h:1"}


def test_a_lease_ends_by_itself(directory: NodeDirectory) -> None:
    directory.publish("a", "h:1", 0.001)
    while directory.nodes():  # a millisecond, by the directory's own clock
        pass
    assert directory.publish("a", "h:9", LEASE_S) is None
    assert directory.nodes() == {"a": "h:9"}


def test_a_row_of_an_earlier_boot_is_void(tmp_path: Path) -> None:
    directory = SqliteDirectory(tmp_path / "nodes.db")
    directory._boot = "before"
    directory.publish("a", "h:1", LEASE_S)
    again = SqliteDirectory(tmp_path / "nodes.db")
    assert again.nodes() == {}
    assert again.publish("a", "h:9", LEASE_S) is None


@pytest.mark.parametrize("url", ["mysql://h/d", "nodes.db", "sqlite://nodes.db", "sqlite:////no/such/dir/nodes.db"])
def test_a_url_that_cannot_be_used_is_told(url: str) -> None:
    with pytest.raises(StartupError, match="--registry"):
        open_directory(url)


class Peers:
    """The two methods of the data plane that a joiner uses, remembering what stands."""

    def __init__(self) -> None:
        self.addresses: dict[int, str] = {}
        self._next_id = 0

    def add_peer(self, address: str) -> int:
        if ":" not in address:
            raise ValueError("no address")
        self._next_id += 1
        self.addresses[self._next_id] = address
        return self._next_id

    def remove_peer(self, peer_id: int) -> None:
        del self.addresses[peer_id]


JoinerOf = Callable[[str, str], tuple[Joiner, Peers]]


@pytest.fixture
def joiner_of(directory: NodeDirectory) -> JoinerOf:
    def make(node: str, address: str) -> tuple[Joiner, Peers]:
        peers = Peers()
        return Joiner(directory, peers, node, address), peers  # type: ignore[arg-type]

    return make


def test_daemons_find_each_other_and_see_each_other_leave(joiner_of: JoinerOf) -> None:
    async def scenario() -> None:
        (a, peers_a), (b, peers_b), (watcher, peers_w) = joiner_of("a", "h:1"), joiner_of("b", "h:2"), joiner_of("w", "")
        for joiner in (a, b, a, watcher):
            await joiner.turn()
        assert list(peers_a.addresses.values()) == ["h:2"]
        assert list(peers_b.addresses.values()) == ["h:1"]
        assert sorted(peers_w.addresses.values()) == ["h:1", "h:2"]
        await b.leave()
        await a.turn()
        assert peers_a.addresses == {}

    asyncio.run(scenario())


def test_a_node_that_moves_is_dialled_at_its_new_address(joiner_of: JoinerOf) -> None:
    joiner, peers = joiner_of("a", "h:1")
    joiner.follow({"b": "h:2", "c": "h:3"})
    joiner.follow({"b": "h:9", "c": "h:3"})
    assert sorted(peers.addresses.values()) == ["h:3", "h:9"]


def test_what_is_no_address_is_told_once_and_left(joiner_of: JoinerOf, caplog: pytest.LogCaptureFixture) -> None:
    joiner, peers = joiner_of("a", "h:1")
    for _ in range(3):
        joiner.follow({"b": "nonsense", "c": "h:3"})
    joiner.follow({})
    assert peers.addresses == {}
    assert sum("said to be at 'nonsense'" in record.getMessage() for record in caplog.records) == 1


def test_a_second_node_of_one_name_says_so_and_does_not_publish(joiner_of: JoinerOf, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        (first, _), (second, _) = joiner_of("a", "h:1"), joiner_of("a", "h:9")
        await first.turn()
        await second.turn()
        await second.turn()
        await second.leave()
        await first.turn()

    asyncio.run(scenario())
    complaints = [r.getMessage() for r in caplog.records if "held by the daemon at h:1" in r.getMessage()]
    assert len(complaints) == 1


def test_peers_stay_while_the_directory_is_away(caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        def publish(self, node: str, address: str, lease_s: float) -> str | None:
            raise DirectoryError(f"gone {uuid.UUID(int=0)}")

    peers = Peers()
    joiner = Joiner(Away(), peers, "a", "h:1")  # type: ignore[arg-type]
    joiner.follow({"b": "h:2"})
    asyncio.run(joiner.turn())
    asyncio.run(joiner.turn())
    assert list(peers.addresses.values()) == ["h:2"]
    assert sum("known peers are kept" in record.getMessage() for record in caplog.records) == 1
