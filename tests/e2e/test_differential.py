"""The requests of cases/table_request.py through nginx and HAProxy, for a second opinion: what both of
them refuse, ringproxy must not let through. Where the three differ is printed, and written to the file
that DIFFERENCES names; docs/http.md explains it."""

import collections
import concurrent.futures
import os
import pathlib
import re

import pytest

import harness
import pace
from cases.recorder import Recorder
from cases.table_request import CASES
from client import Client
from conftest import Rig
from harness import CHECK_OFF, accepts, free_port, programs, wait_until

FORWARDED = re.compile(rb'x-forwarded-for:[^\r\n]*?([0-9.]+)[ \t]*\r\n', re.I)
STATUS = re.compile(rb'HTTP/1\.[01] ([0-9]{3})[ \r\n]')
PATIENCE = 20.0

# Requests that both of them refuse and that we let through, with the reason why that is right.
ALLOWED = {
    'target: absolute-form without a path, OPTIONS':
    'they let it through as it is; for the last proxy it must become "*" (RFC 9112 3.2.4)',
}

HAPROXY, NGINX = programs.find('haproxy'), programs.find('nginx')


def quick():
    return pace.ms(pace.stretched(0.3))


class Peer(harness.Daemon):
    """A proxy before a recorder of its own."""

    def __init__(self, folder, name, command, config, suffix):
        self.port, self.recorder = free_port(), Recorder(old=True)
        path = pathlib.Path(folder) / f'{name}{suffix}'
        path.write_text(config.format(port=self.port, backend=self.recorder.address, folder=folder,
                                      quick=quick(), client=pace.ms(pace.stretched(0.4))))
        super().__init__(command(path), folder, name)

    def start(self):
        super().start()
        wait_until(lambda: accepts(self.port) or not self.running(), self.name)
        assert self.running(), self.err()
        return self

    def stop(self):
        self.kill()
        self.recorder.stop()


# Everything that waits for a client waits shortly: a case is over when its connection is.
HAPROXY_CONFIG = '''global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client {client}
    timeout server 5s
    timeout http-request {quick}
    timeout http-keep-alive {quick}
    option forwardfor
    http-reuse never
    retries 0
frontend web
    bind 127.0.0.1:{port}
    default_backend p
backend p
    server b1 {backend}
'''

NGINX_CONFIG = programs.nginx_main('{folder}', 'crit') + '''master_process off;
events {{ worker_connections 1000; }}
http {{
    access_log off;
''' + programs.nginx_paths('{folder}') + '''
    client_header_timeout {quick};
    client_body_timeout {quick};
    keepalive_timeout {quick};
    lingering_time {quick};
    lingering_timeout {quick};
    large_client_header_buffers 4 16k;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        location / {{
            proxy_pass http://{backend};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_next_upstream off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
'''


class Ours:
    def __init__(self, rig):
        self.recorder = Recorder()
        rig.scripted.append(self.recorder)
        self.port = rig.proxy([self.recorder], top={'workers': 1},
                              pool={'health': CHECK_OFF, 'passive': 'off', 'failback': None},
                              listener={'timeouts': {'request': quick(), 'idle': quick()}}).port


def source(i):
    """The address a case comes from: the proxies pass it on, whatever else they make of a request."""
    return f'127.1.{i // 200}.{i % 200 + 1}'


def statuses(port, i, data):
    """Sends a case; the statuses that came back until the connection ended."""
    out = bytearray()
    with Client(port, source=source(i), timeout=PATIENCE) as c:
        try:
            c.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the end
        try:
            while more := c.sock.recv(65536):
                out += more
        except ConnectionResetError:
            pass
    return tuple(int(s) for s in STATUS.findall(out))


def case_of(entry):
    """Which case a request belongs to; None: nobody sent it as a request."""
    said = FORWARDED.findall(entry.raw.partition(b'\r\n\r\n')[0] + b'\r\n')
    if not said:
        return None
    _, _, high, low = said[-1].decode().split('.')
    return int(high) * 200 + int(low) - 1


def short(message):
    """A request as something to compare."""
    target = message.target
    if target.lower().startswith(('http://', 'https://')):  # absolute-form means the same
        target = '/' + target.split('/', 3)[3] if target.count('/') > 2 else '/'
    return message.method, target, message.body


class Outcome:
    """What one proxy made of all cases."""

    def __init__(self, peer):
        with concurrent.futures.ThreadPoolExecutor(96) as pool:
            self.statuses = list(pool.map(lambda i: statuses(peer.port, i, CASES[i].send),
                                          range(len(CASES))))
        self.passed = collections.defaultdict(list)  # case -> requests, None for malformed ones
        self.nobodys = []
        for entry in peer.recorder.take():
            if entry.kind == 'cut':
                continue
            i = case_of(entry)
            if i is None:
                self.nobodys.append(entry)
            else:
                self.passed[i].append(short(entry.message) if entry.kind == 'whole' else None)

    def text(self, i):
        went = len(self.passed[i])
        odd = ' malformed' if None in self.passed[i] else ''
        return f'{",".join(map(str, self.statuses[i])) or "-"} ({went} passed{odd})'


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    if not (HAPROXY and NGINX):
        pytest.skip('haproxy and nginx are needed for a second opinion')
    folder = tmp_path_factory.mktemp('differential')
    rig, peers = Rig(folder), []
    try:
        ours = Ours(rig)
        peers.append(Peer(folder, 'nginx', lambda path: programs.nginx_command(NGINX, folder, path),
                          NGINX_CONFIG, '.conf'))
        peers.append(Peer(folder, 'haproxy', lambda path: [HAPROXY, '-db', '-f', str(path)],
                          HAPROXY_CONFIG, '.cfg'))
        for peer in peers:
            peer.start()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            yield list(pool.map(Outcome, [ours] + peers))
    finally:
        for peer in peers:
            peer.stop()
        rig.close()


def differences(outcomes):
    lines = []
    for i, case in enumerate(CASES):
        texts = [o.text(i) for o in outcomes]
        if len({len(o.passed[i]) for o in outcomes}) > 1 or None in sum((o.passed[i] for o in outcomes), []):
            lines.append(f'{case.name} [{case.section}]: ringproxy {texts[0]}; nginx {texts[1]}; '
                         f'haproxy {texts[2]}')
    return lines


def test_what_both_refuse_is_not_let_through(outcomes):
    ours, nginx, haproxy = outcomes
    lines = differences(outcomes)
    print('\n'.join(lines))
    if path := os.environ.get('DIFFERENCES'):
        pathlib.Path(path).write_text('\n'.join(lines) + '\n')
    wrong = []
    for i, case in enumerate(CASES):
        theirs = collections.Counter(nginx.passed[i]) | collections.Counter(haproxy.passed[i])
        extra = collections.Counter(ours.passed[i]) - theirs
        if extra and case.name not in ALLOWED:
            wrong.append((case.name, dict(extra), nginx.text(i), haproxy.text(i)))
    assert not wrong, '\n'.join(map(str, wrong))


def test_nothing_malformed_and_nothing_unasked_goes_through(outcomes):
    ours = outcomes[0]
    assert not ours.nobodys
    assert not [CASES[i].name for i, passed in ours.passed.items() if None in passed]


def test_second_opinions_are_there(outcomes):
    """That the others pass what is plainly right shows that they were asked."""
    plain = {'length: 5': 1, 'coding: chunked': 1, 'pipeline: two': 2, 'target: query passes': 1}
    for o in outcomes:
        assert {c.name: len(o.passed[i]) for i, c in enumerate(CASES) if c.name in plain} == plain
        assert sum(bool(passed) for passed in o.passed.values()) > 100


def test_exceptions_still_exist():
    assert set(ALLOWED) <= {c.name for c in CASES}
