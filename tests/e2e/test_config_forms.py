"""The forms in which a configuration may be written: a byte order mark, parts used several times,
addresses that need quotes, link-local addresses."""

import pathlib
import socket
import subprocess
import sys

import pytest

import harness
import pace
from client import Client, Reader, get
from scripted import Backend

TAIL = '''pools:
  - name: p
    backends: [{name: b1, address: 127.0.0.1:9001}]
'''


@pytest.mark.parametrize('listen, column, says', [
    ('[::1]:80', 13, 'has to be quoted: "[::1]:80"'),
    ('[2001:db8::1]:80', 13, 'has to be quoted: "[2001:db8::1]:80"'),
    ('[::1]', 13, 'has to be quoted: "[::1]:PORT"'),
    ('[fe80::1%eth0]:80', 13, 'has to be quoted: "[fe80::1%eth0]:80"'),
    ('*:80', 13, '0.0.0.0:PORT'),
    ('"*:80"', 13, '0.0.0.0:PORT'),
    ('80', 13, '0.0.0.0:PORT'),
    ('@web:80', 13, "begins with '@' has to be quoted"),
    ('"::1:80"', 13, 'written "[IPV6]:PORT"'),
    ('"[fe80::1]:80"', 13, 'names no interface, as in "[fe80::1%eth0]:80"'),
    ('"[fe80::1%no-such-one]:80"', 13, 'names no interface of this host'),
    ('"[2001:db8::1%lo]:80"', 13, 'only a link-local address'),
])
def test_an_address_that_is_not_one_is_answered_with_what_was_meant(tmp_path, listen, column, says):
    file = tmp_path / 'f.yaml'
    file.write_text(f'listeners:\n  - name: web\n    listen: {listen}\n    pool: p\n' + TAIL)
    done = harness.run('check', '-c', file)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f'{file}:3:{column}: '), lines
    assert says in lines[0]


def test_parts_are_used_several_times_and_a_byte_order_mark_is_no_text(rig):
    b1, b2 = rig.backend('b1'), rig.backend('b2')
    ports, admin = [harness.free_port(), harness.free_port()], harness.free_port()
    slow = pace.ms(pace.stretched(1.0))
    text = f'''\ufeff# with a byte order mark
x-pool: &pool
  health: &health {{check: http, path: /healthz, interval: 200ms, timeout: {slow}, rise: 7}}
  backends: [{{name: b1, address: "{b1.address}"}}]
x-more: &more {{backends: [], retries: 9}}
admin: {{listen: 127.0.0.1:{admin}}}
listeners:
  - &web {{name: web, listen: 127.0.0.1:{ports[0]}, pool: p}}
  - {{<<: *web, name: other, listen: 127.0.0.1:{ports[1]}, pool: q}}
pools:
  - {{<<: *pool, name: p}}
  - <<: [*pool, *more]
    name: q
    backends: [{{name: b2, address: "{b2.address}"}}]
    health: {{<<: *health, rise: 1}}
'''
    rig.proxy_of(text, ports[0], admin)
    assert get(ports[0]).text == 'b1'
    assert get(ports[1]).text == 'b2'


def test_a_merged_value_that_is_wrong_is_named_where_it_is_written(tmp_path):
    file = tmp_path / 'f.yaml'
    file.write_text('x-a: &a\n  retries: 99\nlisteners: [{name: w, listen: 127.0.0.1:80, pool: p}]\n'
                    + TAIL + '    <<: *a\n')
    done = harness.run('check', '-c', file)
    assert done.returncode == 2
    assert done.stderr == f'{file}:2:12: pools[0].retries: 99 is out of range, allowed 0 to 10\n'


def test_utf_16_is_refused_in_words(tmp_path):
    file = tmp_path / 'f.yaml'
    file.write_bytes(TAIL.encode('utf-16'))
    done = harness.run('check', '-c', file)
    assert done.returncode == 2
    assert done.stderr == f'{file}:1:1: (document): not valid YAML: UTF-16, allowed UTF-8 text\n'


# --- link-local, in a network of the test's own -------------------------------------------------

LOCAL = 'fe80::1%lo'


class ScopedSocket(socket.socket):
    """Takes the number of the interface from HOST%INTERFACE; Python forgets it in (host, port)."""

    def bind(self, address):
        super().bind(socket.getaddrinfo(*address)[0][4])


class LocalBackend(Backend):
    def _new_listener(self):
        s = ScopedSocket(socket.AF_INET6)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return s


class LocalClient(Client):
    def __init__(self, port):
        self.sock = socket.create_connection((LOCAL, port), timeout=pace.upper(20))
        self.reader = Reader(self.sock)


def link_local(rig):
    """Runs in the namespace."""
    b1, b2 = LocalBackend('b1', host=LOCAL), LocalBackend('b2', host=LOCAL)
    rig.scripted += [b1, b2]
    port = harness.free_port()
    proxy = rig.proxy([b1, {'name': 'b2', 'address': b2.address.replace('%lo', '%1')}],
                      listen=f'[{LOCAL}]:{port}', listener={'key': 'source_ip'})
    home = harness.route(proxy.config, ['fe80::1'])['fe80::1']
    with LocalClient(port) as c:
        assert c.request(host=None, version='HTTP/1.0').text == home
    served = {'b1': b1, 'b2': b2}[home]
    assert served.served()[0].get('Host') == f'[fe80::1]:{served.port}'
    assert served.served()[0].get('X-Forwarded-For') == 'fe80::1'
    assert {r.get('Host') for r in b1.checks} == {f'[fe80::1]:{b1.port}'}
    assert proxy.server('b1')['address'] == f'[{LOCAL}]:{b1.port}'
    for url in (f'http://[{LOCAL}]:{port}/', f'http://[{LOCAL.replace("%", "%25")}]:{port}/'):
        done = harness.run('http', url, '--requests', 4, '--connections', 1, program=harness.RINGBENCH)
        assert done.returncode == 0, done.stderr
    assert {r.get('Host') for r in served.served()[1:]} == {f'[fe80::1]:{port}'}
    taken = rig.proxy([b1], listen=f'[{LOCAL}]:{port}', start=False)
    taken.start(ready=False)
    harness.wait_until(lambda: not taken.running(), 'the end')
    assert taken.wait() == 1
    assert f'[{LOCAL}]:{port}' in taken.err()


def test_link_local_addresses_have_their_interface(tmp_path):
    inside = ['sh', '-c', 'ip link set lo up && ip addr add fe80::1/64 dev lo nodad && exec "$@"', 'sh']
    try:
        subprocess.run(['unshare', '-rn', *inside, 'true'], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f'no network namespace can be made here: {e}')
    done = harness.run('-rn', *inside, sys.executable, '-B', __file__, tmp_path, program='unshare',
                       deadline=120)
    assert done.returncode == 0, done.stdout + done.stderr


def in_namespace(folder):
    from conftest import Rig
    rig = Rig(pathlib.Path(folder))
    try:
        link_local(rig)
    finally:
        rig.close()


if __name__ == '__main__':
    in_namespace(sys.argv[1])
