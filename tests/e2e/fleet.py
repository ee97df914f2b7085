"""A fleet for the end-to-end tests: a real Redis, members on it, and a relay on every path of theirs.

    def test_x(rig, redis, fleet):
        fleet.backends('b1', 'b2', 'b3', standbys=['s1'])
        a, b, c = fleet.members(3)           # started; each is a harness.Proxy
        fleet.wait_roles()
        a.paths['b1'].refuse()               # a alone can't reach b1
        b.redis.hole()                       # b alone hears nothing of Redis any more
        seen = fleet.sampler().start() ...   # where each member sends the same keys, again and again

The names of the servers are the same in all members, their addresses are not: each member has relays of
its own to Redis and to every server. So any path can be cut without another one, and without a network
namespace. tests/e2e/conftest.py has the fixtures `redis` and `fleet`.
"""

import asyncio
import contextlib
import json
import pathlib
import signal
import socket
import threading
import time
import urllib.parse

import pytest

import harness
import pace
from client import Broken, Client, Reader
from harness import wait_until

# --- Redis ------------------------------------------------------------------------------------


class RedisError(Exception):
    """What Redis answered in place of a result."""


def _reply(reader):
    kind, text = (lambda line: (line[:1], line[1:]))(reader.line())
    if kind == b'-':
        raise RedisError(text.decode())
    if kind == b'+':
        return text.decode()
    if kind == b':':
        return int(text)
    if kind == b'$':
        if int(text) < 0:
            return None
        data = reader.exactly(int(text) + 2)
        return bytes(data[:-2])
    assert kind == b'*', kind
    return None if int(text) < 0 else [_reply(reader) for _ in range(int(text))]


def command_bytes(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


class RedisClient:
    """One connection; bulk strings come as bytes, an error as RedisError."""

    def __init__(self, port, password=None):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=pace.upper(10))
        self.reader = Reader(self.sock)
        if password:
            self.call('AUTH', password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def call(self, *words):
        self.sock.sendall(command_bytes(*words))
        return _reply(self.reader)

    def next(self):
        """What comes unasked: messages of a subscription, lines of MONITOR."""
        return _reply(self.reader)


class Redis(harness.Daemon):
    """A redis-server on a free port and a unix socket. Without `persist` it forgets all when it ends."""

    def __init__(self, folder, name='redis', password=None, persist=False, replica_of=None, arguments=()):
        self.port, self.password = harness.free_port(), password
        home = pathlib.Path(folder) / name
        home.mkdir(parents=True)
        self.path = str(home / 's')
        argv = ['redis-server', '--port', self.port, '--bind', '127.0.0.1', '--unixsocket', self.path,
                '--dir', home, '--save', '', '--daemonize', 'no',
                '--appendonly', 'yes' if persist else 'no', '--appendfsync', 'always',
                '--repl-diskless-sync-delay', 0, *arguments]
        if password:
            argv += ['--requirepass', password, '--masterauth', password]
        if replica_of:
            argv += ['--replicaof', '127.0.0.1', replica_of.port]
        super().__init__([str(a) for a in argv], home, name)

    def start(self):
        super().start()
        wait_until(lambda: self.answers() or not self.running(), self.name)
        assert self.running(), self.out()
        return self

    def answers(self):
        try:
            return self.call('PING') == 'PONG'
        except (OSError, RedisError, AssertionError):
            return False

    def stop(self):
        """In order; what it has to keep is on the disk."""
        self.signal(signal.SIGTERM)
        self.wait()

    def restart(self):
        """kill -9 and a new process: empty, unless it persists."""
        self.kill()
        return self.start()

    def pause(self):
        """Connections stay and new ones are taken by the kernel; no answer comes until resume()."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def connect(self):
        return RedisClient(self.port, self.password)

    def call(self, *words):
        """One command on a connection of its own."""
        with self.connect() as c:
            return c.call(*words)

    def flush(self):
        self.call('FLUSHALL')

    def promote(self):
        self.call('REPLICAOF', 'NO', 'ONE')

    def wait_replica(self):
        """Until this replica has what its master has."""
        wait_until(lambda: b'master_link_status:up' in self.call('INFO', 'replication'), 'the replica')

    def url(self, port=None, db=0):
        """port: of a relay in front of it."""
        user = f':{urllib.parse.quote(self.password)}@' if self.password else ''
        return f'redis://{user}127.0.0.1:{port or self.port}/{db}'

    # what a fleet keeps there

    def key(self, what, name='edge'):
        return f'{{ringproxy:{name}}}:{what}'

    def state(self, name='edge'):
        """{'epoch', 'by', 'seq', 'body'}, numbers as such and the body decoded; None: there is none."""
        flat = self.call('HGETALL', self.key('state', name))
        if not flat:
            return None
        out = {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2])}
        return out | {'epoch': int(out['epoch']), 'seq': int(out['seq']), 'body': json.loads(out['body'])}

    def holder(self, name='edge'):
        """The NODE/INSTANCE that has the lock, None if it is free."""
        value = self.call('GET', self.key('lock', name))
        return value and value.decode().split(' ', 2)[2]


# --- relays -----------------------------------------------------------------------------------

class Loop:
    """One thread with an asyncio loop, for all relays."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(pace.upper(30))

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class _Half(asyncio.Protocol):
    """One side of a relayed connection."""

    def __init__(self, relay, other=None):
        self.relay, self.other, self.of_client = relay, other, other is None
        self.transport, self.early, self.ended = None, [], False

    def connection_made(self, transport):
        self.transport = transport
        self.relay.halves.add(self)
        if self.relay.mode == 'hole':
            transport.pause_reading()
        if self.other is None:
            if self.relay.mode != 'hole':
                self.relay.loop.loop.create_task(self.connect())
        else:
            self.other.other = self
            for data in self.other.early:
                transport.write(data)
            if self.other.ended:
                transport.write_eof()

    async def connect(self):
        where = self.relay.target
        try:
            if isinstance(where, str):
                await self.relay.loop.loop.create_unix_connection(lambda: _Half(self.relay, self), where)
            else:
                await self.relay.loop.loop.create_connection(lambda: _Half(self.relay, self),
                                                             '127.0.0.1', where)
        except OSError:
            self.transport.abort()

    def data_received(self, data):
        self.relay.passed += len(data)
        if self.of_client and self.relay.record is not None:
            self.relay.record.setdefault(self, bytearray()).extend(data)
        if self.relay.delay:
            self.relay.loop.loop.call_later(self.relay.delay, self.give, data)
        else:
            self.give(data)

    def give(self, data):
        if self.relay.mode == 'hole':  # lost on the way; the sender's kernel has seen it acknowledged
            return
        if self.other is None:
            self.early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def eof_received(self):
        self.ended = True
        if self.other is not None and self.other.transport.can_write_eof():
            if self.relay.delay:
                self.relay.loop.loop.call_later(self.relay.delay, self.pass_eof)
            else:
                self.pass_eof()
        return True  # the other direction goes on

    def pass_eof(self):
        if not self.other.transport.is_closing():
            self.other.transport.write_eof()
            if self.other.ended:
                self.other.transport.close()
                self.transport.close()

    def connection_lost(self, error):
        self.relay.halves.discard(self)
        if self.other is not None and not self.other.transport.is_closing():
            if error is None:
                self.other.transport.close()
            else:
                self.other.transport.abort()


class Relay:
    """127.0.0.1:port -> target (a port of 127.0.0.1, or the path of a unix socket). What happens to
    connections, old and new, is said at any time:

        passes()    bytes go through (how it begins); .delay seconds later each way, if set
        refuse()    open ones are reset, new ones refused
        reset()     open ones are reset, new ones go through (or do what the mode says)
        hole()      open ones hear nothing more; new ones are taken, and never hear anything
    """

    def __init__(self, loop, target, port=None):
        self.loop, self.target, self.port = loop, target, port or harness.free_port()
        self.mode, self.delay, self.passed = 'pass', 0.0, 0
        self.record = None  # a mapping: gets what clients send, a bytearray for each connection
        self.halves, self.server = set(), None
        loop.do(self._listen())

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    async def _listen(self):
        if self.server is None:
            self.server = await self.loop.loop.create_server(lambda: _Half(self), '127.0.0.1', self.port,
                                                             backlog=1024)

    async def _deaf(self):
        if self.server is not None:
            self.server.close()
            self.server = None
            await asyncio.sleep(0)  # the loop forgets the socket

    async def _abort(self):
        for half in list(self.halves):
            half.transport.abort()

    async def _set(self, mode):
        was, self.mode = self.mode, mode
        if mode == 'refuse':
            await self._deaf()
            await self._abort()
            return
        if was == 'hole':  # what was lost does not come again, so these connections are of no use
            await self._abort()
        await self._listen()
        for half in self.halves:
            if mode == 'hole':
                half.transport.pause_reading()

    def passes(self):
        self.loop.do(self._set('pass'))

    def refuse(self):
        self.loop.do(self._set('refuse'))

    def hole(self):
        self.loop.do(self._set('hole'))

    def reset(self):
        self.loop.do(self._abort())

    @property
    def open(self):
        """Connections that clients have through it now."""
        return len(self.halves) // 2

    def close(self):
        self.loop.do(self._set('refuse'))


# --- where the keys go ------------------------------------------------------------------------

class Sampler:
    """Asks members, all at once, where they send keys, each `every` seconds. What it finds is in `differ`: a
    list of (time of the question, time of the last answer, key, {member: server}) for every key that two
    members would have sent to different servers, and in `moves`: (time, member, key, from, to)."""

    def __init__(self, members, keys, pool='p', every=0.1):
        self.members, self.keys, self.pool, self.every = list(members), list(keys), pool, every
        self.question = ''.join(f'{k}\n' for k in self.keys).encode()
        self.differ, self.moves, self.rounds, self.failures = [], [], 0, []
        self.texts, self.last, self.slowest = {}, {}, 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.thread.join(pace.upper(60))
        assert not self.thread.is_alive(), 'the sampler hangs'
        assert not self.failures, self.failures
        return self

    def wait_rounds(self, n=1):
        """Until all keys were asked for n times from now on; returns when that began."""
        begin, goal = time.monotonic(), self.rounds + n + 1
        wait_until(lambda: self.rounds >= goal or self.failures, f'{n} rounds of samples', 60)
        assert not self.failures, self.failures
        return begin

    def wait_alike(self, since, deadline=60.0):
        """Until some samples in a row, begun since then, showed no difference; returns how long after
        `since` the last difference was seen, 0.0 if there was none."""
        end = pace.Deadline(deadline)
        while True:
            begin = self.wait_rounds(3)
            times = self.times(since)
            if not times or times[1] < begin:
                return times[1] - since if times else 0.0
            assert not end.passed(), f'they differ still: {self.differ[-1]}'

    def times(self, since=0.0):
        """(first, last) time of a question that showed a difference; None: there was none."""
        found = [(asked, told) for asked, told, _, _ in self.differ if asked >= since]
        return (min(f[0] for f in found), max(f[1] for f in found)) if found else None

    def span(self, since=0.0):
        """For how long, in seconds, a difference was seen."""
        times = self.times(since)
        return times[1] - times[0] if times else 0.0

    def differing(self, since=0.0):
        """The keys that two members would have sent to different servers."""
        return {key for asked, _, key, _ in self.differ if asked >= since}

    def moved(self, since=0.0, member=None):
        return [m for m in self.moves if m[0] >= since and member in (None, m[1])]

    def _run(self):
        try:
            while not self.stopping.is_set():
                begin = time.monotonic()
                self._once(begin)
                self.rounds += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.stopping.wait(max(0.0, begin + self.every - time.monotonic()))
        except BaseException as e:  # a fault of the test itself must not pass unseen
            self.failures.append(repr(e))
            raise

    def _once(self, begin):
        asked = [(m.name, RouteQuestion(m, self.keys, self.pool, self.question))
                 for m in self.members if m.running()]
        found = {name: q for name, q in asked if q.body() is not None}  # else it ended meanwhile
        end = time.monotonic()
        if (len({q.text for q in found.values()}) <= 1
                and all(self.texts.get(name) == q.text for name, q in found.items())):
            return  # nothing has moved
        servers = {name: q.answers() for name, q in found.items()}
        for name, here in servers.items():
            before = self.last.get(name, here)
            if before != here:
                self.moves += [(end, name, key, a, b) for key, a, b in zip(self.keys, before, here) if a != b]
            self.last[name], self.texts[name] = here, found[name].text
        for key, *who in zip(self.keys, *servers.values()):
            if len(set(who)) > 1:
                self.differ.append((begin, end, key, dict(zip(servers, who))))


class RouteQuestion:
    """`POST /route` for many keys, 16384 at most. The question is on its way when this is made, so several
    members can be asked at the same time."""

    def __init__(self, member, keys, pool='p', body=None):
        self.keys, self.client, self.text = keys, None, None
        body = body or ''.join(f'{k}\n' for k in keys).encode()
        try:
            self.client = Client(member.admin.port)
            self.client.send_request('POST', f'/route?pool={urllib.parse.quote(pool)}', body=body)
        except OSError:
            pass  # told by the answer that is missing

    def body(self):
        """The answer as it came; None if the member went away."""
        if self.client is not None:
            try:
                answer = self.client.answer()
                assert answer.status == 200, (answer, answer.text)
                self.text = answer.text
            except (OSError, Broken):
                pass
            self.client.close()
            self.client = None
        return self.text

    def columns(self):
        """For each key [server by the agreement] or, if this member sends it elsewhere, [server, here]."""
        text = self.body()
        if text is None:
            return None
        lines = [line.split('\t') for line in text.splitlines()]
        assert [line[0] for line in lines] == list(self.keys)
        return [line[1:] for line in lines]

    def answers(self):
        """Where it sends each key itself."""
        found = self.columns()
        return found and [c[-1] for c in found]


def routes(member, keys, pool='p'):
    """{key: server that this member sends it to}"""
    keys = list(keys)
    found = RouteQuestion(member, keys, pool).answers()
    assert found is not None, f'{member.name} does not answer'
    return dict(zip(keys, found))


def agreed_routes(member, keys, pool='p'):
    """{key: server that the agreement gives}"""
    keys = list(keys)
    found = RouteQuestion(member, keys, pool).columns()
    assert found is not None, f'{member.name} does not answer'
    return {k: c[0] for k, c in zip(keys, found)}


# --- members ----------------------------------------------------------------------------------

class Member(harness.Proxy):
    """A proxy with its relays: `redis` (the first of them), `redises`, `paths` by a server's name."""

    redises, paths, listen = (), {}, 'always'

    @property
    def redis(self):
        return self.redises[0]

    def cluster(self):
        """The object of /status; None: there is none, or no answer."""
        try:
            return self.admin.json('/status').get('cluster')
        except OSError:
            return None

    def role(self):
        found = self.cluster()
        return found and found['role']

    def version(self):
        found = self.cluster()
        return found and (found['epoch'], found['seq'])

    def routes(self, keys, pool='p'):
        return routes(self, keys, pool)

    def cut(self):
        """From Redis: silence, as when a cable is pulled."""
        for relay in self.redises:
            relay.hole()

    def join(self):
        for relay in self.redises:
            relay.passes()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def ready(self):
        """A standby proxy is never ready; that it is up is all that can be waited for."""
        return self.alive() if self.listen == 'active' else super().ready()


class Fleet:
    """Servers, relays and members; `ttl` is the lock_ttl of the configuration, longer on a slow machine."""

    def __init__(self, rig, redises, folder):
        self.rig, self.redises, self.folder = rig, redises, folder
        self.loop = Loop()
        self.relays, self.servers, self.standbys, self.all = [], {}, {}, []
        self.ttl = pace.stretched(1.5)

    def close(self):
        for relay in self.relays:
            relay.close()
        self.loop.close()

    def relay(self, target):
        self.relays.append(Relay(self.loop, target))
        return self.relays[-1]

    def backends(self, *names, standbys=()):
        """Starts a server (`ringbench serve`: its name at any path) for each name."""
        for names_of, into in ((names, self.servers), (standbys, self.standbys)):
            into |= {name: self.rig.serve(name) for name in names_of}
        return self.servers

    def add(self, name, server, standby=False):
        """One that a test has made: anything with a port."""
        (self.standbys if standby else self.servers)[name] = server

    def text(self, member, cluster=None, pool=None, listener=None, top=None):
        """A member's configuration; its relays must be there."""
        here = {'redis': [r.url(relay.port) for r, relay in zip(self.redises, member['redises'])],
                'name': 'edge', 'node': member['name'], 'lock_ttl': pace.ms(self.ttl), **(cluster or {})}
        entries = [[{'name': n, 'address': member['paths'][n].address} for n in group]
                   for group in (self.servers, self.standbys)]
        return self.rig.text(*entries, pool, listener, {'cluster': here, **(top or {})}, member['port'],
                             member['admin'])

    def member(self, name=None, start=True, ready=True, **more):
        """One more. more: cluster, pool, listener, top, merged over what is usual."""
        name = name or f'edge-{len(self.all) + 1}'
        parts = {'name': name, 'port': harness.free_port(), 'admin': harness.free_port(),
                 'redises': [self.relay(r.port) for r in self.redises],
                 'paths': {n: self.relay(s.port) for n, s in (self.servers | self.standbys).items()}}
        proxy = Member(self.rig.folder, name, self.text(parts, **more), parts['port'], parts['admin'])
        proxy.parts = parts
        proxy.redises, proxy.paths = parts['redises'], parts['paths']
        proxy.listen = (more.get('cluster') or {}).get('listen', 'always')
        self.rig.proxies.append(proxy)
        self.all.append(proxy)
        return proxy.start(ready) if start else proxy

    def members(self, n, **more):
        """n members, started one beside the other."""
        out = [self.member(start=False, **more) for _ in range(n)]
        for m in out:
            m.start(ready=False)
        for m in out:
            wait_until(lambda m=m: m.ready() or not m.running(), f'{m.name} to be ready', 30)
            assert m.running(), m.err()
        return out

    def living(self):
        return [m for m in self.all if m.running()]

    def keeper(self):
        """The one member that says so; None: there is none, or there are two."""
        found = [m for m in self.living() if m.role() == 'keeper']
        return found[0] if len(found) == 1 else None

    def wait_keeper(self, among=None, deadline=30.0):
        return wait_until(lambda: (k := self.keeper()) and (among is None or k in among) and k, 'a keeper',
                          deadline)

    def settled(self):
        """One keeper, all others follow, all route by the same version."""
        found = [(m.role(), m.version()) for m in self.living()]
        roles = sorted(str(role) for role, _ in found)
        return (roles == ['follower'] * (len(found) - 1) + ['keeper']
                and len({v for _, v in found}) == 1 and found[0][1] is not None
                and found[0][1][0] is not None and found[0][1])

    def wait_roles(self, deadline=30.0):
        """Until settled(); returns (keeper, [followers])."""
        wait_until(self.settled, 'one keeper, the others followers, and one version', deadline)
        keeper = self.wait_keeper()
        return keeper, [m for m in self.living() if m is not keeper]

    def wait_out(self, *names, members=None, deadline=30.0):
        """Until exactly these servers are out by the state that each of the members shows."""
        def out_of(m):
            servers = m.admin.json('/status')['pools'][0]
            return {s['name'] for s in servers['backends'] + servers['standbys']
                    if s['state'] in ('down', 'draining')}
        wait_until(lambda: all(out_of(m) == set(names) for m in members or self.living()),
                   f'{sorted(names)} to be out everywhere', deadline)

    def sampler(self, n=10_000, members=None, **more):
        return Sampler(members or self.all, [f'key-{i}' for i in range(n)], **more)


# --- fixtures ---------------------------------------------------------------------------------

@pytest.fixture
def redis(rig):
    server = Redis(rig.folder).start()
    rig.daemons.append(server)
    return server


@pytest.fixture
def relays():
    """Makes relays: relays(port)."""
    loop, made = Loop(), []

    def make(target):
        made.append(Relay(loop, target))
        return made[-1]
    yield make
    for relay in made:
        relay.close()
    loop.close()


@contextlib.contextmanager
def closing(f):
    """A fleet on other than one Redis: with closing(Fleet(rig, [one, two], tmp_path)) as fleet: ..."""
    try:
        yield f
    finally:
        # the members end first: without their Redis they would have something to say
        problems = []
        for one in f.rig.proxies + f.rig.daemons:
            if one.running():
                one.signal(signal.SIGCONT)
        f.rig._each(f.rig.proxies, f.rig._end_proxy, problems)
        f.close()
        if problems:
            raise problems[0]


@pytest.fixture
def fleet(rig, redis, tmp_path):
    with closing(Fleet(rig, [redis], tmp_path)) as f:
        yield f
