"""ringbench and names with several addresses: each is tried, in the order of the resolver."""

import json
import pathlib
import subprocess

import pytest

import harness
from harness import free_port, run

HTTP = ['--requests', 20, '--connections', 2]
TCP = ['--duration', '100ms', '--connections', 2]


@pytest.fixture
def bench(tmp_path):
    """ringbench, where `many.test` has ::1 and 127.0.0.1, and ::1 comes first."""
    hosts = tmp_path / 'hosts'
    hosts.write_text('127.0.0.1 localhost\n::1 many.test\n127.0.0.1 many.test\n')
    wrap = ['-rm', 'sh', '-c', f'mount --bind {hosts} /etc/hosts && exec "$@"', 'sh']
    try:
        order = subprocess.run(['unshare', *wrap, 'getent', 'ahosts', 'many.test'], check=True,
                               capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f'no mount namespace can be made here: {e}')
    if order[0] != '::1' or '127.0.0.1' not in order:
        pytest.skip(f'the resolver gives {order}')
    return lambda *arguments: run(*wrap, harness.RINGBENCH, *arguments, program='unshare')


def test_http_reaches_a_server_at_the_second_address(rig, bench, tmp_path):
    backend, result = rig.serve('b1'), tmp_path / 'result.json'
    url = f'http://many.test:{backend.port}/'
    done = bench('http', url, *HTTP, '--json', result)
    assert done.returncode == 0, done.stderr
    document = json.loads(pathlib.Path(result).read_text())
    assert document['target'] == url
    assert document['answered'] == 20 and document['failed'] == 0
    assert [b['name'] for b in document['backends']] == ['b1']


def test_the_first_address_is_used_if_it_answers(rig, bench):
    other = rig.serve('b-v4')
    rig.backend('b-v6', host='::1', port=other.port)
    done = bench('http', f'http://many.test:{other.port}/', *HTTP)
    assert done.returncode == 0, done.stderr
    assert 'b-v6' in done.stdout and 'b-v4' not in done.stdout


@pytest.mark.parametrize('arguments', [[], ['--mode', 'bulk', '--direction', 'both']])
def test_tcp_reaches_a_server_at_the_second_address(rig, bench, arguments):
    port = rig.tcp('b1', lambda backend, sock: echo(sock)).port
    done = bench('tcp', f'many.test:{port}', *TCP, *arguments)
    assert done.returncode == 0, done.stderr


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


@pytest.mark.parametrize('arguments', [['http', 'http://many.test:PORT/', *HTTP],
                                       ['tcp', 'many.test:PORT', *TCP],
                                       ['tcp', 'many.test:PORT', *TCP, '--mode', 'bulk']])
def test_each_address_is_named_if_none_can_be_reached(bench, arguments):
    port = free_port()
    done = bench(*[str(a).replace('PORT', str(port)) for a in arguments])
    assert done.returncode == 1
    words = done.stderr.lower()
    assert words.count('connection refused') == 2, words
    assert words.index(f'connect [::1]:{port}') < words.index(f'connect 127.0.0.1:{port}')
