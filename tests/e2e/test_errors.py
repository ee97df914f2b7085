"""Bad files, taken ports, missing rights, signals: what it says and how it exits."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import pathlib
import time

import pytest

import harness
import pace
from client import Client, get
from harness import RINGPROXY, free_port, run, wait_until

GOOD = '''listeners:
  - {{name: web, listen: "127.0.0.1:{port}", pool: p}}
pools:
  - name: p
    backends:
      - {{name: b1, address: "127.0.0.1:{backend}"}}
'''


def write(folder, text):
    path = folder / 'ringproxy.yaml'
    path.write_text(text)
    return path


# --- configuration ----------------------------------------------------------------------------

BROKEN = [
    ('unknown key', 'wrokers: 2\n', r':1:1: .*wrokers'),
    ('wrong type', 'workers: many\n', r':1:10: workers: '),
    ('out of range', 'workers: 0\n', r':1:10: workers: 0 is out of range, allowed 1 to 256'),
    ('not yaml', 'workers: [1\n', r':\d+:\d+: '),
    ('cluster', 'cluster: {name: x}\n', r':1:\d+: cluster.redis: missing, it is required'),
    ('redis with TLS', 'cluster: {name: x, redis: "rediss://:secret@h"}\n',
     r':1:\d+: cluster.redis: rediss \(TLS\) is not supported by this version, allowed redis:'),
    ('admin without a token', 'admin: {listen: 0.0.0.0:9900}\n', r':1:\d+: admin.*token_file'),
    ('bad duration', 'shutdown_timeout: 5\n', r':1:19: shutdown_timeout: '),
]


@pytest.mark.parametrize('command', [['run'], ['check'], ['route']], ids=lambda c: c[0])
@pytest.mark.parametrize('name,text,message', BROKEN, ids=[b[0] for b in BROKEN])
def test_broken_configuration_is_exit_2_with_its_place(tmp_path, command, name, text, message):
    path = write(tmp_path, text + GOOD.format(port=free_port(), backend=1))
    done = run(*command, '-c', path)
    assert done.returncode == 2
    assert done.stdout == ''
    lines = [line for line in done.stderr.splitlines() if re.search(message, line)]
    assert lines and lines[0].startswith(f'{path}:'), done.stderr


def test_every_error_is_told_in_order_of_place(tmp_path):
    path = write(tmp_path, '''workers: 999
listeners:
  - {name: web, listen: 127.0.0.1:99999, pool: nowhere}
pools:
  - name: p
    retries: -1
    backends:
      - {name: b1, address: 127.0.0.1:1, weight: 0}
      - {name: b1, address: 127.0.0.1:2}
''')
    done = run('check', '-c', path)
    assert done.returncode == 2
    places = [tuple(map(int, m.groups())) for m in
              re.finditer(r'^.*?ringproxy\.yaml:(\d+):(\d+): ', done.stderr, re.M)]
    assert places == sorted(places)
    assert {line for line, _ in places} == {1, 3, 6, 8, 9}
    assert len([line for line, _ in places if line == 3]) == 2
    assert f'{path}:8:50: pools[0].backends[0].weight: 0 is out of range, allowed 1 to 256\n' \
        in done.stderr


@pytest.mark.parametrize('command', ['run', 'check', 'route'])
def test_unreadable_file_is_exit_2(tmp_path, command):
    done = run(command, '-c', tmp_path / 'missing.yaml')
    assert done.returncode == 2
    assert 'missing.yaml' in done.stderr and 'No such file' in done.stderr
    done = run(command, '-c', tmp_path)
    assert done.returncode == 2 and done.stderr


@pytest.mark.parametrize('arguments', [
    [], ['run'], ['-c'], ['nonsense'], ['run', '--nonsense'], ['check'], ['route'],
    ['run', '-c', 'x', 'y']], ids=' '.join)
def test_bad_usage_is_exit_2(tmp_path, arguments):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


def test_message_to_stderr_only_and_readable(tmp_path):
    done = run('nonsense', cwd=tmp_path)
    assert 'nonsense' in done.stderr


# --- start ------------------------------------------------------------------------------------

def end_of(proxy, expect):
    code = proxy.wait()
    assert not harness.SANITIZER_REPORT.search(proxy.err()), proxy.err()
    assert code == expect, proxy.err()
    return proxy.err()


def test_port_in_use_is_exit_1(rig):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        port, admin = s.getsockname()[1], free_port()
        proxy = rig.proxy_of(rig.text([rig.backend('b1')], port=port, admin=admin), port, admin,
                             start=False)
        text = end_of(proxy.start(ready=False), 1)
        assert 'web' in text and str(port) in text and 'in use' in text


def test_port_of_another_ringproxy_is_in_use_too(rig):
    """Although workers share the port, SO_REUSEPORT must not let two proxies share it."""
    backend = rig.backend('b1')
    first = rig.proxy([backend])
    admin = free_port()
    second = rig.proxy_of(rig.text([backend], port=first.port, admin=admin), first.port, admin,
                          start=False)
    text = end_of(second.start(ready=False), 1)
    assert str(first.port) in text and 'in use' in text
    for _ in range(20):
        assert get(first.port).text == 'b1'


def test_admin_port_in_use_is_exit_1(rig):
    first = rig.proxy([rig.backend('b1')])
    port = free_port()
    second = rig.proxy_of(rig.text([rig.backend('b2')], port=port, admin=first.admin.port), port,
                          first.admin.port, start=False)
    text = end_of(second.start(ready=False), 1)
    assert 'admin' in text and str(first.admin.port) in text


def test_low_port_without_rights_is_exit_1():
    if os.geteuid() != 0 or shutil.which('setpriv') is None:
        pytest.skip('needs root and setpriv')
    with open('/proc/sys/net/ipv4/ip_unprivileged_port_start', encoding='ascii') as f:
        if int(f.read()) <= 81:
            pytest.skip('every user may bind low ports here')
    # a place that the other user can read, whatever the rights of pytest's folder are
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = write(pathlib.Path(folder), GOOD.format(port=81, backend=1))
        program = pathlib.Path(folder) / 'ringproxy'
        shutil.copy(os.path.realpath(RINGPROXY), program)
        os.chmod(program, 0o755)
        done = subprocess.run(
            ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all',
             '--bounding-set=-all', str(program), 'run', '-c', str(path)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=pace.upper(60))
    assert done.returncode == 1, done.stderr
    assert 'permission denied' in done.stderr.lower() and ':81' in done.stderr


def test_token_file_is_read_beside_the_configuration(rig, tmp_path):
    port, admin = free_port(), free_port()
    text = rig.text([rig.backend('b1')], port=port,
                    top={'admin': {'listen': f'127.0.0.1:{admin}', 'token_file': 'admin.token'}})
    proxy = rig.proxy_of(text, port, admin, start=False, token='s3cret')
    text = end_of(proxy.start(ready=False), 2)
    assert 'admin.token' in text
    (tmp_path / 'admin.token').write_text('s3cret\n')
    proxy.start()
    assert proxy.admin.json('/status')


def test_starting_proxy_is_alive_but_not_ready(rig):
    """Admin opens first; listeners wait for the first checks, which here take their time."""
    slow = rig.backend('b1')
    slow.stop()
    with socket.socket() as silent:  # accepts (the kernel does), never answers the check
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        address = f'127.0.0.1:{silent.getsockname()[1]}'
        proxy = rig.proxy([{'name': 'b1', 'address': address}, rig.backend('b2')],
                          pool={'health': {'timeout': pace.ms(pace.stretched(3.0)),
                                           'interval': '10s'}}, ready=False)
        wait_until(proxy.alive, 'the admin interface')
        assert proxy.admin.request('GET', '/readyz')[0] == 503
        assert not harness.accepts(proxy.port)
        wait_until(proxy.ready, 'the first checks to end')
        assert proxy.server('b1')['state'] == 'down'
        assert get(proxy.port).text == 'b2'


# --- the end ----------------------------------------------------------------------------------

@pytest.mark.threads
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=['TERM', 'INT'])
def test_graceful_stop_finishes_what_is_in_flight(rig, number):
    backend = rig.backend('b1', lambda ex: (ex.read_body(), ex.request.target == '/slow' and
                                            ex.hang(), ex.answer()))
    proxy = rig.proxy([backend])
    with Client(proxy.port) as slow, Client(proxy.port) as idle, Client(proxy.port) as upload:
        assert idle.request('GET', '/').status == 200
        slow.send_request('GET', '/slow')
        backend.wait_blocked()
        upload.send(b'POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nha')
        wait_until(lambda: proxy.server('b1')['active'] == 2, 'both to be in flight')
        proxy.signal(number)
        assert idle.at_end()
        wait_until(lambda: not harness.accepts(proxy.port), 'the listener to close')
        assert proxy.admin.request('GET', '/readyz')[0] == 503
        upload.send(b'lf')
        answer = upload.answer()
        assert answer.text == 'b1' and answer.get('Connection').lower() == 'close'
        backend.gate.set()
        answer = slow.answer()
        assert answer.text == 'b1' and answer.get('Connection').lower() == 'close'
        assert slow.at_end()
    proxy.check_end(0)


@pytest.mark.threads
def test_stop_under_load_loses_no_request(rig):
    proxy = rig.proxy([rig.backend('b1'), rig.backend('b2')])
    load = rig.load(proxy, [f'k{i}' for i in range(40)], threads=4, pace=0.005)
    load.wait_rounds(1)
    proxy.stop()
    load.stop()
    # before the stop all is well; after it there is only "connection refused" or a close that the
    # client saw on an idle connection, never an answer that broke off
    for r in load.all():
        assert r.good or r.error and re.search('refused|closed inside a line: b\'\'|reset|Broken pipe',
                                               r.error), r


def test_shutdown_timeout_is_exit_1(rig):
    backend = rig.backend('b1', lambda ex: (ex.hang(), ex.close()))
    proxy = rig.proxy([backend], top={'shutdown_timeout': '700ms'})
    with Client(proxy.port) as c:
        c.send_request('GET', '/')
        backend.wait_blocked()
        since = time.monotonic()
        proxy.stop(expect=1)
        assert 0.6 <= time.monotonic() - since <= pace.upper(10)


def test_second_signal_exits_at_once_with_1(rig):
    backend = rig.backend('b1', lambda ex: (ex.hang(), ex.close()))
    proxy = rig.proxy([backend])
    with Client(proxy.port) as c:
        c.send_request('GET', '/')
        backend.wait_blocked()
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: not harness.accepts(proxy.port), 'the first signal to be seen')
        since = time.monotonic()
        proxy.stop(expect=1)
        assert time.monotonic() - since < pace.upper(10)


def test_stop_during_the_first_checks(rig):
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        proxy = rig.proxy([{'name': 'b1', 'address': f'127.0.0.1:{silent.getsockname()[1]}'}],
                          pool={'health': {'timeout': '1h', 'interval': '2h'}}, ready=False)
        wait_until(proxy.alive, 'the admin interface')
        since = time.monotonic()
        proxy.stop()
        assert time.monotonic() - since < pace.upper(15)


def test_sigpipe_is_ignored(rig):
    proxy = rig.proxy([rig.backend('b1')])
    proxy.signal(signal.SIGPIPE)
    for _ in range(5):
        assert get(proxy.port).text == 'b1'


def test_sigusr1_is_harmless(rig):
    proxy = rig.proxy([rig.backend('b1')])
    proxy.signal(signal.SIGUSR1)
    assert get(proxy.port).text == 'b1'


def test_events_are_logged_to_stderr_as_logfmt(rig):
    b1 = rig.backend('b1')
    proxy = rig.proxy([b1], [rig.backend('s1')])
    b1.health_status = 500
    proxy.wait_state('b1', 'down')
    wait_until(lambda: 'b1' in proxy.err(), 'the event in the log')
    for line in proxy.err().splitlines():
        assert re.match(r'time=\S+ level=(debug|info|warn|error) event=', line), line
    assert proxy.out() == ''


def test_short_form_without_run(rig):
    proxy = rig.proxy([rig.backend('b1')], start=False)
    proxy.argv = [RINGPROXY, '-c', str(proxy.config)]
    proxy.start()
    assert get(proxy.port).text == 'b1'
