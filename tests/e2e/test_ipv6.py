"""IPv6: clients and backends, and the one socket that takes both families."""

import socket

import pytest

import harness
from client import Client, get


def ipv6_is_there():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(('::1', 0))
        return True
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not ipv6_is_there(), reason='this machine has no IPv6')


def request(port, host, fields=()):
    with Client(port, host=host) as c:
        return c.request(fields=fields)


def test_http_goes_over_ipv6_on_both_sides(rig):
    backend = rig.backend('b1', host='::1')
    port = harness.free_port()
    proxy = rig.proxy([backend], listen=f'[::1]:{port}')
    assert request(port, '::1').text == 'b1'
    assert backend.served()[0].get('X-Forwarded-For') == '::1'
    assert proxy.server('b1')['address'] == f'[::1]:{backend.port}'
    assert {r.get('Host') for r in backend.checks} == {f'[::1]:{backend.port}'}
    backend.stop()
    proxy.wait_state('b1', 'down')
    backend.start()
    proxy.wait_state('b1', 'up')
    assert request(port, '::1').text == 'b1'


def test_all_addresses_of_ipv6_take_ipv4_clients_too(rig):
    backend = rig.backend('b1')
    port = harness.free_port()
    rig.proxy([backend], listen=f'[::]:{port}')
    assert request(port, '::1').text == 'b1'
    assert request(port, '127.0.0.1').text == 'b1'
    seen = [r.get('X-Forwarded-For') for r in backend.served()]
    assert seen == ['::1', '127.0.0.1']


def test_a_client_of_ipv4_has_one_key_at_every_listener(rig):
    """Through [::] its address comes as ::ffff:127.0.0.1; the key must be the one of IPv4."""
    backends = [rig.backend(f'b{i}') for i in range(1, 9)]
    six, four = harness.free_port(), harness.free_port()
    first = rig.proxy(backends, listen=f'[::]:{six}', listener={'key': 'source_ip'})
    rig.proxy(backends, listen=f'0.0.0.0:{four}', listener={'key': 'source_ip'})
    sources = [f'127.0.0.{i}' for i in range(2, 34)]
    expected = harness.route(first.config, [*sources, '::1'])
    assert len(set(expected.values())) > 3
    for source in sources:
        for port in (six, four):
            with Client(port, source=source) as c:
                assert c.request().text == expected[source], (source, port)
    assert request(six, '::1').text == expected['::1']


def test_a_port_taken_for_ipv4_is_taken_for_all(rig):
    backend = rig.backend('b1')
    proxy = rig.proxy([backend])
    other = rig.proxy([backend], listen=f'[::]:{proxy.port}', start=False)
    done = harness.run('run', '-c', other.config)
    assert done.returncode == 1
    assert f'bind [::]:{proxy.port}: address already in use' in done.stderr.lower()
    assert get(proxy.port).text == 'b1'
