"""A proxy that starts while servers hang: listeners open after one `health.timeout`, however many pools,
servers and names there are, and whatever they hang in."""

import datetime
import re

import pytest

import harness
import pace
from client import get
from dns import Dns

POOLS = 4  # of each kind of check


def hang(backend, sock):
    """Takes the check and never answers it."""
    backend.gate.wait(pace.upper(120))


@pytest.fixture
def dns(tmp_path):
    """A name server that says nothing to some names; None where there can't be one."""
    try:
        server = Dns(tmp_path)
    except OSError:
        yield None
        return
    yield server if server.works() else None
    server.stop()


def logged_at(proxy, event):
    """When the proxy logged it, in seconds of its own clock."""
    found = re.search(rf'^time=(\S+)Z level=\w+ event="?{event}', proxy.err(), re.MULTILINE)
    assert found, proxy.err()
    return datetime.datetime.fromisoformat(found[1]).timestamp()


CHECKS = {
    'http': {'check': 'http', 'path': '/healthz'},
    'tcp': {'check': 'tcp', 'path': None},
    'script': {'check': 'tcp', 'path': None, 'send': 'PING', 'expect': 'echo'},
}


def test_servers_that_hang_hold_up_a_start_for_one_timeout(rig, dns):
    timeout = pace.stretched(1.0)
    good = {'http': rig.backend('good'), 'tcp': rig.tcp('echo'), 'script': rig.tcp('echo')}
    silent, deaf = rig.tcp('silent', hang), rig.deaf('deaf')
    hung = [silent, deaf]
    if dns:
        dns.names['silent.test'] = None
        hung.append({'name': 'nowhere', 'address': 'silent.test:80'})
    pools = []
    for check, settings in CHECKS.items():
        health = {**settings, 'timeout': pace.ms(timeout), 'interval': '60s'}
        pools += [{'name': f'{check}{i}', **harness.merged(harness.quick_pool(), {'health': health}),
                   'backends': [harness.server_entry(s) for s in (good[check], *hung)]}
                  for i in range(POOLS)]
    port, admin = harness.free_port(), harness.free_port()
    text = harness.yaml_text({'workers': 2, 'admin': {'listen': f'127.0.0.1:{admin}'}},
                             [{'name': 'web', 'listen': f'127.0.0.1:{port}', 'pool': 'http0'}], pools)
    proxy = rig.proxy_of(text, port, admin, start=False)
    if dns:
        proxy.argv = dns.command(proxy.argv)
    proxy.start()
    took = logged_at(proxy, 'listening') - logged_at(proxy, 'start')
    assert timeout - 0.01 <= took < timeout + pace.upper(0.5)
    for check in CHECKS:
        for i in range(POOLS):
            assert proxy.server(good[check].name, f'{check}{i}')['state'] == 'up'
            for name in ['deaf'] + ['silent'] * (check != 'tcp') + ['nowhere'] * bool(dns):
                server = proxy.server(name, f'{check}{i}')
                assert server['state'] == 'down'
                assert re.search('timed out|no answer', server['last_check']['reason'])
    assert get(port).text == 'good'
