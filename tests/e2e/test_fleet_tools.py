"""The tools that tests of a fleet stand on do what they say: Redis, relays, samples."""

import socket
import time

import pytest

import fleet as tools
import harness
import pace
from client import Broken, get
from harness import wait_until


def test_a_redis_answers_and_forgets(redis):
    assert redis.call('SET', 'a', 'b') == 'OK'
    assert redis.call('GET', 'a') == b'b'
    assert redis.call('EVAL', 'return {1, "x", false}', 0) == [1, b'x', None]
    with pytest.raises(tools.RedisError):
        redis.call('EVAL', 'nonsense', 0)
    assert redis.state() is None and redis.holder() is None
    redis.restart()
    assert redis.call('GET', 'a') is None


def test_a_redis_keeps_what_it_is_told_to_keep_and_has_replicas(rig):
    one = tools.Redis(rig.folder, 'one', persist=True, password='p w').start()
    two = tools.Redis(rig.folder, 'two', password='p w', replica_of=one).start()
    rig.daemons += [one, two]
    one.call('SET', 'a', 'b')
    two.wait_replica()
    wait_until(lambda: two.call('GET', 'a') == b'b', 'the replica')
    one.restart()
    assert one.call('GET', 'a') == b'b'
    two.promote()
    assert two.call('ROLE')[0] == b'master'


def test_a_stopped_redis_takes_connections_and_is_silent(redis):
    with redis.connect() as c:
        redis.pause()
        c.sock.sendall(tools.command_bytes('PING'))
        c.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            c.next()
        redis.resume()
        c.sock.settimeout(pace.upper(5))
        assert c.next() == 'PONG'


def test_a_relay_passes_refuses_resets_and_swallows(redis, relays):
    relay = relays(redis.port)
    one = tools.RedisClient(relay.port)
    assert one.call('PING') == 'PONG' and relay.open == 1
    relay.reset()
    with pytest.raises((OSError, Broken)):
        one.call('PING')
    two = tools.RedisClient(relay.port)
    assert two.call('PING') == 'PONG'
    relay.hole()
    two.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        two.call('PING')
    with socket.create_connection(('127.0.0.1', relay.port)) as third:
        third.sendall(b'PING\r\n')
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
    relay.refuse()
    assert not harness.accepts(relay.port)
    relay.passes()
    assert tools.RedisClient(relay.port).call('PING') == 'PONG'


def test_a_relay_delays_each_way(redis, relays):
    relay = relays(redis.path)
    with tools.RedisClient(relay.port) as c:
        relay.delay = 0.1
        begin = time.monotonic()
        assert c.call('PING') == 'PONG'
        assert time.monotonic() - begin >= 0.2


def test_http_goes_through_a_relay(rig, relays):
    server = rig.serve('b1')
    relay = relays(server.port)
    assert all(get(relay.port, '/').text == 'b1' for _ in range(20))
    wait_until(lambda: relay.open == 0, 'the relay to forget closed connections')


def test_samples_show_where_members_differ(rig):
    """Two proxies without a fleet, and a server that is drained at one of them."""
    servers = [rig.serve(n) for n in ('b1', 'b2', 'b3')]
    members = [rig.proxy(servers, top={'workers': 1}) for _ in range(2)]
    sampler = tools.Sampler(members, [f'k{i}' for i in range(500)]).start()
    sampler.wait_rounds()
    assert not sampler.differ and not sampler.moves
    members[0].post('b1', 'drain')
    since = sampler.wait_rounds()
    sampler.stop()
    assert sampler.span(since) > 0 and {name for _, name, *_ in sampler.moves} == {members[0].name}
    assert all(who[members[1].name] == 'b1' for *_, who in sampler.differ)
    assert tools.routes(members[1], ['k1']) == tools.agreed_routes(members[1], ['k1'])
