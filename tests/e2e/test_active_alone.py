"""The only member of its fleet, with `listen: active`: it is the active one, whatever becomes of Redis, of
its configuration and of its program."""

import time

import pytest

import harness
import pace
from client import get
from harness import wait_until
from upgraded import Upgraded, orphans


@pytest.fixture
def active(fleet, tmp_path):
    """Makes one: active(...) -> Member; .roles() are what its commands were told."""
    roles = tmp_path / 'roles'
    command = ['/bin/sh', '-c', f'echo $RINGPROXY_ROLE $RINGPROXY_EPOCH >>{roles}']
    if not fleet.servers:
        fleet.backends('b1', 'b2')

    def make(**more):
        member = fleet.member(cluster={'listen': 'active', 'on_active': command, 'on_standby': command}, **more)
        member.roles = lambda: [line.split() for line in roles.read_text().splitlines()]
        return member
    return make


def wait_active(member):
    wait_until(lambda: harness.accepts(member.port), f'{member.name} to be active')
    wait_until(lambda: member.admin.request('GET', '/readyz')[0] == 200, 'readyz')


def test_it_takes_the_role_and_goes_in_order(active, redis):
    member = active()
    wait_active(member)
    wait_until(lambda: len(member.roles()) == 2, 'the commands')
    assert [r[0] for r in member.roles()] == ['standby', 'active'] and int(member.roles()[1][1]) > 0
    assert redis.holder().startswith('edge-1/')
    member.stop()
    assert [r[0] for r in member.roles()] == ['standby', 'active', 'standby']
    assert redis.holder() is None


def test_it_stays_active_without_redis(active, redis, rig, fleet):
    member = active()
    wait_active(member)
    load = rig.load(member, [f'k{i}' for i in range(30)], threads=3)
    redis.kill()
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 3 * fleet.ttl, 'three times the ttl', 60)
    redis.start()
    wait_until(lambda: redis.holder(), 'it to hold the lock again')
    load.wait_rounds(1)
    load.stop()
    assert load.bad() == []
    assert [r[0] for r in member.roles()].count('standby') == 1


def test_without_redis_at_the_start_it_waits_twice_the_ttl(active, redis, fleet):
    redis.kill()
    begun = time.monotonic()
    member = active()
    wait_active(member)
    assert 2 * fleet.ttl <= time.monotonic() - begun < pace.upper(2 * fleet.ttl + 3)


def test_a_listener_that_a_reload_brings_listens(active):
    member = active()
    wait_active(member)
    port, text = harness.free_port(), member.config.read_text()
    line = next(one for one in text.splitlines() if 'name: web' in one)
    more = line.replace('name: web', 'name: more').replace(f'127.0.0.1:{member.port}', f'127.0.0.1:{port}')
    member.config.write_text(text.replace(line, f'{line}\n{more}'))
    assert member.admin.request('POST', '/reload')[0] == 200
    assert get(port).status == get(member.port).status == 200


def test_its_new_program_goes_on_without_a_gap(active, rig):
    with orphans():
        u = Upgraded(rig, lambda: active(start=False))
        u.proxy.start(ready=False)
        wait_until(u.proxy.alive, 'the member')
        wait_active(u.proxy)
        load = rig.load(u.proxy, [f'k{i}' for i in range(30)], threads=3)
        load.wait_rounds(1)
        for _ in range(2):
            u.install()
            u.upgrade()
            load.wait_rounds(1)
        load.stop()
        assert load.bad() == []
        u.wait_old()
        assert u.proxy.admin.request('GET', '/readyz')[0] == 200
        assert [r[0] for r in u.proxy.roles()].count('standby') == 1
        u.proxy.stop()
