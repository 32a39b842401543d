"""The Redis fixture does what its page says."""
import socket
import time

import pytest

from redis_server import RedisServer, is_installed
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_installed(), reason="redis-server is not installed")


def through_link(redis, words=b"PING\r\n", timeout=SECONDS):
    with socket.create_connection((redis.address, redis.port), timeout=timeout) as link:
        link.sendall(words)
        return link.recv(100)


def test_it_starts_dies_and_comes_back_empty():
    with RedisServer() as redis:
        port = redis.port
        assert redis.ask("SET", "a", 1) == b"OK"
        redis.kill()
        redis.start()
        assert redis.port == port
        assert redis.ask("DBSIZE") == b"0"


def test_it_can_be_emptied_paused_and_slow():
    with RedisServer() as redis:
        redis.ask("SET", "a", 1)
        redis.flush()
        assert redis.ask("DBSIZE") == b"0"
        redis.pause()
        with pytest.raises(TimeoutError):
            through_link(redis, timeout=0.2)
        redis.resume()
        assert through_link(redis) == b"+PONG\r\n"
        redis.link.delay_s = 0.3
        began = time.monotonic()
        through_link(redis)
        assert time.monotonic() - began >= 0.3
        redis.link.garbage = b"?!"
        assert through_link(redis) == b"?!"
