"""mode: tcp in front of servers and clients that people use: Redis, PostgreSQL; and many streams, and
much in one of them."""

import hashlib
import os
import pathlib
import pwd
import re
import resource
import selectors
import shutil
import signal
import socket
import tempfile
import threading

import pytest

import pace
from chaos import megabytes
from client import Client
from harness import Daemon, accepts, free_port, route, run, wait_until
from test_http import SMALL_BUFFER
from test_tcp import CALM, MIB, SOURCES, Conn, blob, listener_of, source_of, stalled, tcp_proxy

needs_redis = pytest.mark.skipif(
    not all(map(shutil.which, ('redis-server', 'redis-cli', 'redis-benchmark'))),
    reason='redis-server, redis-cli or redis-benchmark is not installed')


# --- Redis ------------------------------------------------------------------------------------

def ping():
    return {'health': {'check': 'tcp', 'path': None, 'send': 'PING\r\n', 'expect': '+PONG',
                       'timeout': pace.ms(pace.stretched(2.0))}}


class Redis(Daemon):
    """A redis-server that keeps nothing on disk unless told to."""

    def __init__(self, folder, name, *arguments):
        self.port = free_port()
        home = pathlib.Path(folder) / f'redis-{name}'
        home.mkdir()
        super().__init__(['redis-server', '--port', str(self.port), '--bind', '127.0.0.1',
                          '--save', '', '--appendonly', 'no', '--dir', str(home),
                          '--enable-debug-command', 'local', *arguments], home, name)

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self):
        super().start()
        wait_until(lambda: accepts(self.port) or not self.running(), f'redis {self.name}')
        assert self.running(), self.out()
        return self

    def ask(self, *words):
        """Past the proxy."""
        return redis_cli(self.port, *words)

    def calls(self, command):
        found = re.search(rf'cmdstat_{command}:calls=(\d+)', self.ask('INFO', 'commandstats'))
        return int(found.group(1)) if found else 0


def redis_cli(port, *words, stdin=None):
    done = run('-h', '127.0.0.1', '-p', port, *words, program='redis-cli', stdin=stdin)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.rstrip('\n')


class RedisConn(Client):
    """A connection of one source that says who serves it, and whether it is the same one still."""

    def ask(self, *words):
        self.send(' '.join(words).encode() + b'\r\n')
        return self.value()

    def value(self):
        line = self.reader.line().decode()
        if line[0] == '$':
            text = self.reader.exactly(int(line[1:]) + 2)
            return text[:-2].decode()
        if line[0] == '*':
            return [self.value() for _ in range(int(line[1:]))]
        assert line[0] in '+:', line
        return line[1:]

    def server(self):
        return int(self.ask('CONFIG', 'GET', 'port')[1])

    def identity(self):
        return self.server(), self.ask('CLIENT', 'ID')


class RedisFleet:
    """Three, a standby, and a connection of each source."""

    def __init__(self, rig, pool=None, **more):
        self.servers = {n: Redis(rig.folder, n) for n in ('b1', 'b2', 'b3', 's1')}
        for s in self.servers.values():
            rig.daemons.append(s)
            s.start()
        *backends, standby = self.servers.values()
        self.proxy = tcp_proxy(rig, backends, [standby], pool={**ping(), **(pool or {})}, **more)
        self.names = {s.port: n for n, s in self.servers.items()}
        self.conns = {}

    def connect(self, sources):
        self.home = route(self.proxy.config, sources)
        assert set(self.home.values()) == {'b1', 'b2', 'b3'}
        self.conns = {s: RedisConn(self.proxy.port, source=s) for s in sources}
        assert {s: self.names[c.server()] for s, c in self.conns.items()} == self.home

    def of(self, name):
        return [s for s, who in self.home.items() if who == name]

    def others_of(self, name):
        """{source: which connection of which server it has}"""
        return {s: self.conns[s].identity() for s, who in self.home.items() if who != name}

    def served(self, source):
        with RedisConn(self.proxy.port, source=source) as c:
            return self.names[c.server()]

    def close(self):
        for c in self.conns.values():
            c.close()


@pytest.fixture
def redis_fleet(rig):
    made = []

    def make(**more):
        made.append(RedisFleet(rig, **more))
        return made[-1]
    yield make
    for f in made:
        f.close()


@needs_redis
def test_redis_cli_reads_what_it_wrote(redis_fleet):
    """All of one client at the server route names, and at no other."""
    t = redis_fleet()
    port, value = t.proxy.port, blob('value', MIB).hex()
    assert redis_cli(port, 'SET', 'greeting', 'hello') == 'OK'
    assert redis_cli(port, 'GET', 'greeting') == 'hello'
    assert redis_cli(port, '-x', 'SET', 'large', stdin=value.encode()) == 'OK'
    assert redis_cli(port, 'GET', 'large') == value
    home = route(t.proxy.config, ['127.0.0.1'])['127.0.0.1']
    for name, server in t.servers.items():
        assert server.ask('DBSIZE') == ('2' if name == home else '0')


@needs_redis
def test_redis_cli_pipe_has_an_answer_to_each_command(redis_fleet):
    t = redis_fleet()
    commands = b''.join(b'SET key%d %d\r\n' % (i, i * i) for i in range(20_000))
    said = redis_cli(t.proxy.port, '--pipe', stdin=commands)
    assert said.endswith('errors: 0, replies: 20000')
    assert redis_cli(t.proxy.port, 'DBSIZE') == '20000'
    assert redis_cli(t.proxy.port, 'GET', 'key19999') == str(19999 ** 2)


@needs_redis
def test_redis_benchmark_pipelined_ends_without_an_error(redis_fleet):
    """Keyless, so that its connections are spread over all backends."""
    t = redis_fleet(listener={'key': None})
    done = run('-h', '127.0.0.1', '-p', t.proxy.port, '-t', 'set,get', '-n', 20_000, '-P', 16, '-c', 20,
               '--csv', program='redis-benchmark', deadline=120)
    assert done.returncode == 0 and 'rror' not in done.stdout + done.stderr, (done.stdout, done.stderr)
    assert [line.split(',')[0] for line in done.stdout.splitlines()[-2:]] == ['"SET"', '"GET"']
    calls = {(c, n): t.servers[n].calls(c) for c in ('set', 'get') for n in ('b1', 'b2', 'b3')}
    assert all(calls.values()), calls
    for command in ('set', 'get'):
        assert sum(v for (c, _), v in calls.items() if c == command) >= 20_000
    for name in ('b1', 'b2', 'b3'):
        s = t.proxy.server(name)
        assert s['state'] == 'up' and s['errors'] == 0 and s['active'] == 0, s
    assert t.servers['s1'].calls('set') == 0


@needs_redis
def test_standby_takes_over_for_a_killed_redis_and_others_are_not_touched(redis_fleet):
    """Its clients reconnect, once, and are at the standby; the others have the very connection to
    the very server they had. When it is back its clients are, too."""
    t = redis_fleet(pool={'close_moved': 'always'})
    t.connect(SOURCES[:40])
    before = t.others_of('b1')
    t.servers['b1'].kill()
    for source in t.of('b1'):
        assert t.conns[source].at_end()
        assert t.served(source) == 's1'
    t.proxy.wait_serving('s1', 'b1')
    for source in t.of('b1'):
        t.conns[source].close()
        t.conns[source] = RedisConn(t.proxy.port, source=source)
        assert t.names[t.conns[source].server()] == 's1'
    assert t.others_of('b1') == before

    t.servers['b1'].start()
    t.proxy.wait_serving('b1', 'b1')
    for source in t.of('b1'):
        assert t.conns[source].at_end(), 'it was left at the standby'
        assert t.served(source) == 'b1'
    assert t.others_of('b1') == before
    assert t.proxy.server('b2')['errors'] == t.proxy.server('b3')['errors'] == 0


@needs_redis
def test_hung_redis_is_marked_down_by_its_check(redis_fleet):
    """Its kernel goes on accepting for it."""
    t = redis_fleet()
    t.connect(SOURCES[:40])
    before = t.others_of('b1')
    t.servers['b1'].signal(signal.SIGSTOP)
    t.proxy.wait_state('b1', 'down')
    assert accepts(t.servers['b1'].port)
    t.proxy.wait_serving('s1', 'b1')
    for source in t.of('b1'):
        assert t.conns[source].at_end(), 'it was left at a server that is down'
        assert t.served(source) == 's1'
    assert t.others_of('b1') == before
    t.servers['b1'].signal(signal.SIGCONT)
    t.proxy.wait_serving('b1', 'b1')
    assert {t.served(source) for source in t.of('b1')} == {'b1'}


@needs_redis
def test_redis_that_is_loading_is_down_until_it_has_loaded(rig):
    """It accepts and answers, but not with +PONG."""
    servers = [Redis(rig.folder, n) for n in ('b1', 'b2')]
    for s in servers:
        rig.daemons.append(s)
        s.start()
    servers[0].ask('DEBUG', 'POPULATE', '50000')
    assert servers[0].ask('SAVE') == 'OK'
    servers[0].kill()
    # a millisecond a key, and a look at its clients each KiB
    servers[0].argv += ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024']
    servers[0].start()

    proxy = tcp_proxy(rig, servers, pool=ping())
    proxy.wait_state('b1', 'down')
    source = source_of(proxy, 'b1')
    assert 'LOADING' in servers[0].ask('PING')
    with RedisConn(proxy.port, source=source) as c:
        assert c.server() == servers[1].port
    servers[0].ask('CONFIG', 'SET', 'key-load-delay', '0')
    proxy.wait_state('b1', 'up')
    with RedisConn(proxy.port, source=source) as c:
        assert c.server() == servers[0].port
        assert c.ask('DBSIZE') == '50000'


# --- PostgreSQL -------------------------------------------------------------------------------

def postgres_programs():
    """The folder of the newest version; None if there is none."""
    found = [p.parent for p in pathlib.Path('/usr/lib/postgresql').glob('*/bin/initdb')
             if all((p.parent / name).exists() for name in ('postgres', 'psql', 'pgbench'))]
    return max(found, key=lambda p: float(p.parent.name), default=None)


class Postgres(Daemon):
    """Its own cluster in a folder of its own. It refuses to be root, so then it is `postgres`."""

    def __init__(self, folder, name, programs):
        self.port, self.programs, self.as_user = free_port(), programs, []
        self.data = pathlib.Path(folder) / 'data'
        self.data.mkdir(mode=0o700)
        if os.getuid() == 0:
            user = pwd.getpwnam('postgres')
            for path in (folder, self.data):
                os.chown(path, user.pw_uid, user.pw_gid)
            self.as_user = ['setpriv', f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}',
                            '--clear-groups', '--']
        super().__init__([*self.as_user, str(programs / 'postgres'), '-D', str(self.data),
                          '-p', str(self.port), '-c', 'listen_addresses=127.0.0.1',
                          '-c', f'unix_socket_directories={self.data}', '-c', 'fsync=off',
                          '-c', 'max_connections=50', '-c', 'shared_buffers=16MB'], folder, name)

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self):
        first, *rest = [*self.as_user, str(self.programs / 'initdb'), '-D', str(self.data), '-U', 'postgres',
                        '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync']
        done = run(*rest, program=first, cwd=self.folder, deadline=300)
        assert done.returncode == 0, done.stderr
        super().start()
        wait_until(lambda: self.answers() or not self.running(), 'postgres', 60)
        assert self.running(), self.err()
        return self

    def answers(self):
        return run('-q', '-h', '127.0.0.1', '-p', self.port, program='pg_isready').returncode == 0

    def stop(self):
        """At once, but so that it takes its children and its shared memory along."""
        if self.process is not None:
            self.signal(signal.SIGQUIT)
            self.wait()

    def run(self, program, port, *arguments, stdin=None):
        """One of its clients, at any port."""
        done = run('-h', '127.0.0.1', '-p', port, '-U', 'postgres', *arguments, stdin=stdin,
                   program=str(self.programs / program), deadline=120, cwd=self.folder)
        assert done.returncode == 0, (program, arguments, done.stdout, done.stderr)
        return done

    def query(self, port, text):
        return self.run('psql', port, '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', text,
                        'postgres').stdout.rstrip('\n')


@pytest.fixture(scope='module')
def postgres():
    programs = postgres_programs()
    if not programs:
        pytest.skip('no PostgreSQL server with psql and pgbench in /usr/lib/postgresql')
    if os.getuid() == 0 and not any(u.pw_name == 'postgres' for u in pwd.getpwall()):
        pytest.skip('there is no user postgres, and PostgreSQL does not run as root')
    # not in tmp_path, whose parents are for root alone
    folder = tempfile.mkdtemp(prefix='ringproxy-postgres-')
    try:
        server = Postgres(folder, 'postgres', programs)
        try:
            yield server.start()
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def test_psql_gets_its_rows(rig, postgres):
    proxy = tcp_proxy(rig, [postgres])
    assert postgres.query(proxy.port, 'select 6 * 7') == '42'
    many = 'select i, md5(i::text) from generate_series(1, 100000) i'
    direct = postgres.query(postgres.port, many)
    assert direct.count('\n') == 99_999 and postgres.query(proxy.port, many) == direct


def test_psql_copies_in_what_it_copies_out(rig, postgres):
    proxy = tcp_proxy(rig, [postgres])
    rows = ''.join(f'{i}\t{hashlib.sha256(b"%d" % i).hexdigest()}\n' for i in range(50_000))
    postgres.query(proxy.port, 'create table copied (i int, t text)')
    postgres.run('psql', proxy.port, '-X', '-c', 'copy copied from stdin', 'postgres', stdin=rows.encode())
    assert postgres.query(proxy.port, 'copy (select * from copied order by i) to stdout') + '\n' == rows


def test_pgbench_loses_no_transaction(rig, postgres):
    proxy = tcp_proxy(rig, [postgres])
    postgres.run('pgbench', proxy.port, '-i', '-s', 1, '-q', 'postgres')
    done = postgres.run('pgbench', proxy.port, '-n', '-c', 8, '-t', 200, 'postgres')
    assert 'number of transactions actually processed: 1600/1600' in done.stdout, done.stdout
    assert 'number of failed transactions: 0 ' in done.stdout, done.stdout
    sums = postgres.query(postgres.port, '''select (select count(*) from pgbench_history),
        (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts),
        (select sum(delta) from pgbench_history) = (select sum(bbalance) from pgbench_branches)''')
    assert sums == '1600|t|t'
    s = proxy.server('postgres')
    assert s['state'] == 'up' and s['errors'] == 0, s
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone')


# --- many, and much ---------------------------------------------------------------------------

@pytest.fixture
def descriptors():
    """The soft limit up to the hard one, which is returned."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def echo_all(conns):
    """A byte on each of them before any is read; {number: the byte that came back}."""
    selector = selectors.DefaultSelector()
    got = {}
    with selector:
        for i, c in enumerate(conns):
            c.send(bytes([i % 251]))
            selector.register(c.sock, selectors.EVENT_READ, i)
        while len(got) < len(conns):
            events = selector.select(pace.upper(30))
            assert events, f'{len(conns) - len(got)} of {len(conns)} got nothing back'
            for key, _ in events:
                got[key.data] = key.fileobj.recv(2)
                selector.unregister(key.fileobj)
    return got


def test_thousands_of_streams_are_held_open_at_once(rig, descriptors):
    """As many as the limit lets the proxy have, two sockets each and a share in reserve; E2E_STREAMS (2000)
    at most."""
    n = min(int(os.environ.get('E2E_STREAMS', '2000')), (descriptors - 200) * 15 // 32)
    proxy = tcp_proxy(rig, [rig.serve('b1', '--mode', 'echo')], pool=CALM,
                      listener={'timeouts': {'tunnel': '10m'}})
    conns = []
    try:
        for i in range(n):  # from several addresses, as one has ports for fewer on some systems
            conns.append(Client(proxy.port, source=SOURCES[i % 8], timeout=60))
        assert echo_all(conns) == {i: bytes([i % 251]) for i in range(n)}
        assert listener_of(proxy)['connections'] == proxy.server('b1')['active'] == n
        assert echo_all(conns) == {i: bytes([i % 251]) for i in range(n)}
    finally:
        for c in conns:
            c.close()
    wait_until(lambda: listener_of(proxy)['connections'] == 0, 'all to be gone', 60)
    assert proxy.server('b1')['errors'] == 0


def test_much_comes_whole_each_way_past_a_reader_that_pauses(rig):
    """And what waits in the proxy for the reader stays small. E2E_MIB (256) each way."""
    size = int(os.environ.get('E2E_MIB', '256')) * MIB
    written, sums, received = [], {}, hashlib.sha256()
    proxy = tcp_proxy(rig, [rig.serve('b1', '--mode', 'echo')], pool=CALM)
    before = megabytes(proxy)

    def write(sock):
        data, h = blob('much', 8 * MIB), hashlib.sha256()
        for i in range(size // len(data)):
            part = b'%08d' % i + data[8:]  # no two alike, so that none can stand for another
            h.update(part)
            for at in range(0, len(part), MIB):
                sock.sendall(part[at:at + MIB])
                written.append(MIB)
        sock.shutdown(socket.SHUT_WR)
        sums['sent'] = h.hexdigest()

    def read(sock, amount):
        """Until that much came or the end is reached; how much it was."""
        n = 0
        while n < amount and (data := sock.recv(min(1 << 18, amount - n))):
            received.update(data)
            n += len(data)
        return n

    with Conn(proxy.port, greeted=False, timeout=120, receive_buffer=SMALL_BUFFER) as c:
        writer = threading.Thread(target=write, args=(c.sock,))
        writer.start()
        came = 0
        for _ in range(2):  # reads some, then pauses until nothing moves any more
            came += read(c.sock, 32 * MIB)
            stalled(written)
            assert sum(written) <= came + size / 2, 'it was not held back'  # the rest is the kernel's
        came += read(c.sock, size)
        writer.join()
    assert came == size and received.hexdigest() == sums['sent']
    assert megabytes(proxy, 'VmHWM') < before + 64 * pace.SANITIZED
