"""Backends by name, asked of the system's own resolver. A name whose addresses change needs a name
server of the test's own; where that can't be had tests/unit/test_control.c shows the same."""

import signal
import time

import pytest

import harness
import pace
from client import Client, get
from dns import Dns
from harness import wait_until
from test_tcp import Conn

NOWHERE = 'no-such-host.invalid:9001'


def by_name(backend):
    return {'name': backend.name, 'address': f'localhost:{backend.port}'}


def test_a_backend_by_name_is_served_and_shown_with_its_address(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([by_name(backend)])
    assert get(proxy.port).text == 'b1'
    server = proxy.server('b1')
    assert server['address'] == f'localhost:{backend.port}'
    assert server['resolved'] == f'127.0.0.1:{backend.port}'
    assert server['state'] == 'up'


def test_a_literal_address_has_nothing_resolved(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend])
    assert 'resolved' not in proxy.server('b1')


def test_the_name_stands_in_the_host_field(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([by_name(backend)])
    with Client(proxy.port) as c:
        assert c.request(host=None, version='HTTP/1.0').status == 200
    assert backend.served()[0].get('Host') == f'localhost:{backend.port}'
    assert {r.get('Host') for r in backend.checks} == {f'localhost:{backend.port}'}


def test_names_do_not_matter_to_the_ring(rig):
    backends = [rig.backend(f'b{i}') for i in (1, 2, 3)]
    named = rig.proxy([by_name(b) for b in backends], listener={'key': 'header:X-Key'})
    literal = rig.proxy(backends, listener={'key': 'header:X-Key'})
    keys = [f'key-{i}' for i in range(200)]
    expected = harness.route(named.config, keys)
    assert harness.route(literal.config, keys) == expected
    with Client(named.port) as c:
        assert {k: c.request(fields={'X-Key': k}).text for k in keys} == expected


@pytest.mark.parametrize('check', ['http', 'off'])
def test_a_name_that_is_not_resolved_starts_down_and_the_others_serve(rig, check):
    health = harness.CHECK_OFF if check == 'off' else {}
    backend = rig.backend('b1')
    standby = rig.backend('s1')
    proxy = rig.proxy([backend, {'name': 'b2', 'address': NOWHERE}], [standby],
                      pool={'health': health, 'resolve': '100ms'},
                      listener={'key': 'header:X-Key'})
    keys = [f'key-{i}' for i in range(100)]
    home = harness.route(proxy.config, keys)
    assert set(home.values()) == {'b1', 'b2'}
    with Client(proxy.port) as c:
        for key in keys:
            answer = c.request(fields={'X-Key': key})
            assert answer.text == ('b1' if home[key] == 'b1' else 's1')
    b2 = proxy.server('b2')
    assert b2['state'] == 'down'
    assert b2['address'] == NOWHERE
    assert b2['resolved'] is None
    assert b2['last_check']['reason'].startswith('resolve: ')
    assert b2['requests'] == 0
    assert proxy.server('s1')['serving'] == ['b2']


def test_a_standby_may_be_by_name(rig):
    backend, standby = rig.backend('b1'), rig.backend('s1')
    proxy = rig.proxy([backend], [by_name(standby)])
    backend.stop()
    proxy.wait_serving('s1', 'b1')
    assert get(proxy.port).text == 's1'


def test_the_backend_stays_while_its_name_is_asked_again_and_again(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([by_name(backend)], pool={'resolve': '1ms'})
    with Client(proxy.port) as c:
        for _ in range(300):
            assert c.request().text == 'b1'
    assert backend.connections == 1  # no change, so the connection was kept


def test_a_stop_does_not_wait_for_names(rig):
    proxy = rig.proxy([rig.backend('b1'), {'name': 'b2', 'address': NOWHERE}],
                      pool={'resolve': '1ms'})
    began = time.monotonic()
    proxy.stop()
    assert time.monotonic() - began < pace.upper(5)


def test_a_stop_at_the_first_lookup_is_clean(rig):
    proxy = rig.proxy([rig.backend('b1'), {'name': 'b2', 'address': NOWHERE}], ready=False)
    harness.wait_until(proxy.alive, 'the admin interface')
    proxy.stop(number=signal.SIGINT)


# --- a name server of our own -----------------------------------------------------------------

@pytest.fixture
def dns(tmp_path):
    try:
        server = Dns(tmp_path)
    except OSError as e:
        pytest.skip(f'no name server of our own: {e}')
    if not server.works():
        server.stop()
        pytest.skip('no namespace with a resolv.conf of our own')
    yield server
    server.stop()


def asking(rig, dns, *arguments, **more):
    """A proxy whose resolver asks `dns`."""
    proxy = rig.proxy(*arguments, start=False, **more)
    proxy.argv = dns.command(proxy.argv)
    return proxy.start()


def two_places(rig):
    """Backends at two addresses with one port, as those of one name have."""
    port = harness.free_port()
    return [rig.backend(f'at-{n}', host=f'127.0.0.{n}', port=port) for n in (1, 2)]


@pytest.mark.threads
def test_a_backend_moves_with_its_name_and_loses_no_request(rig, dns):
    one, two = two_places(rig)
    dns.names['b.test'] = ['127.0.0.1']
    proxy = asking(rig, dns, [{'name': 'b1', 'address': f'b.test:{one.port}'}],
                   pool={'resolve': '50ms'})
    assert get(proxy.port).text == 'at-1'
    load = rig.load(proxy, [f'key-{i}' for i in range(20)])
    load.wait_rounds()
    dns.names['b.test'] = ['127.0.0.2']
    wait_until(lambda: proxy.server('b1')['resolved'] == f'127.0.0.2:{one.port}', 'the move')
    since = load.wait_rounds()
    load.stop()
    assert load.bad() == []
    assert {who for served in load.served(since).values() for who in served} == {'at-2'}
    done = len(one.served())
    assert get(proxy.port).text == 'at-2'
    assert len(one.served()) == done
    assert proxy.server('b1')['state'] == 'up'
    assert 'backend down' not in proxy.err()


def test_streams_that_are_open_stay_where_their_server_was(rig, dns):
    port = harness.free_port()
    for n in (1, 2):
        rig.tcp(f'at-{n}', host=f'127.0.0.{n}', port=port)
    dns.names['b.test'] = ['127.0.0.1']
    proxy = asking(rig, dns, [{'name': 'b1', 'address': f'b.test:{port}'}],
                   pool={'resolve': '50ms', 'health': {'check': 'tcp', 'path': None},
                         'close_moved': 'always'}, listener={'mode': 'tcp', 'key': 'source_ip'})
    with Conn(proxy.port) as before:
        assert before.who == 'at-1'
        dns.names['b.test'] = ['127.0.0.2']
        wait_until(lambda: proxy.server('b1')['resolved'] == f'127.0.0.2:{port}', 'the move')
        with Conn(proxy.port) as after:
            assert after.who == 'at-2'
            assert before.alive() and after.alive()
    assert proxy.server('b1')['errors'] == 0


def test_the_address_stays_when_the_name_server_fails(rig, dns):
    one, _ = two_places(rig)
    dns.names['b.test'] = ['127.0.0.1']
    proxy = asking(rig, dns, [{'name': 'b1', 'address': f'b.test:{one.port}'}],
                   pool={'resolve': '50ms'})
    del dns.names['b.test']
    asked = dns.asked
    wait_until(lambda: dns.asked > asked + 8, 'lookups that fail')
    server = proxy.server('b1')
    assert (server['state'], server['resolved']) == ('up', f'127.0.0.1:{one.port}')
    assert get(proxy.port).text == 'at-1'
    assert proxy.err().count('resolve failed') == 1


def test_of_several_addresses_all_proxies_use_the_first_that_answers(rig, dns):
    one, two = two_places(rig)
    dns.names['b.test'] = ['127.0.0.2', '::1', '127.0.0.1']
    entry = [{'name': 'b1', 'address': f'b.test:{one.port}'}]
    first = asking(rig, dns, entry, pool={'resolve': '100ms'})
    assert get(first.port).text == 'at-1'
    one.stop()
    wait_until(lambda: first.server('b1')['resolved'] == f'127.0.0.2:{one.port}', 'the other one')
    first.wait_state('b1', 'up')
    assert get(first.port).text == 'at-2'
    second = asking(rig, dns, entry, pool={'resolve': '100ms'})  # that has not seen it go
    assert get(second.port).text == 'at-2'
    one.start()
    for proxy in (first, second):
        wait_until(lambda: proxy.server('b1')['resolved'] == f'127.0.0.1:{one.port}', 'the first')
        assert get(proxy.port).text == 'at-1'


def test_a_name_server_that_is_silent_holds_up_neither_start_nor_stop(rig, dns):
    dns.names['b.test'] = None
    backend = rig.backend('b2')
    began, patience = time.monotonic(), pace.stretched(1.0)
    proxy = asking(rig, dns, [{'name': 'b1', 'address': 'b.test:1'}, backend],
                   pool={'health': {'timeout': pace.ms(patience)}}, top={'shutdown_timeout': '2s'})
    assert time.monotonic() - began < pace.upper(4)  # its own patience is 10 s and more
    assert proxy.server('b1')['last_check']['reason'] == \
        f'resolve: no answer after {1000 * patience:.0f} ms'
    assert get(proxy.port).text == 'b2'
    began = time.monotonic()
    proxy.stop()
    assert time.monotonic() - began < pace.upper(4)


def test_a_name_that_is_answered_late_brings_its_server_up(rig, dns):
    one, _ = two_places(rig)
    dns.names['b.test'] = None
    backend = rig.backend('b2')
    proxy = asking(rig, dns, [{'name': 'b1', 'address': f'b.test:{one.port}'}, backend],
                   pool={'resolve': '100ms'})
    assert proxy.server('b1')['state'] == 'down'
    dns.names['b.test'] = ['127.0.0.1']
    proxy.wait_state('b1', 'up', deadline=40)
    assert proxy.server('b1')['resolved'] == f'127.0.0.1:{one.port}'


# --- the file ---------------------------------------------------------------------------------

def check(rig, backend='127.0.0.1:1', listen='127.0.0.1:2', resolve='30s', admin='127.0.0.1:3'):
    path = rig.folder / 'checked.yaml'
    path.write_text(f'admin: {{listen: "{admin}"}}\n'
                    f'listeners: [{{name: web, listen: "{listen}", pool: p}}]\n'
                    f'pools: [{{name: p, resolve: {resolve}, '
                    f'backends: [{{name: b1, address: "{backend}"}}]}}]\n')
    done = harness.run('check', '-c', path)
    return done.returncode, done.stderr


def test_where_names_are_allowed(rig):
    assert check(rig, backend='b-1.example:80') == (0, '')
    assert check(rig, resolve='1ms') == (0, '')
    assert check(rig, resolve='24h') == (0, '')
    for wrong, said in (({'listen': 'localhost:80'}, 'host names are not supported'),
                        ({'admin': 'localhost:80'}, 'host names are not supported'),
                        ({'admin': 'unix:/run/x'}, 'not supported by this version'),
                        ({'backend': 'b-1.example'}, 'is not an address with a port'),
                        ({'backend': 'b 1:80'}, 'is not an address with a port'),
                        ({'resolve': '0s'}, '0s is out of range, allowed 1ms to 24h'),
                        ({'resolve': '25h'}, '25h is out of range, allowed 1ms to 24h')):
        code, text = check(rig, **wrong)
        assert code == 2 and said in text, (wrong, text)
