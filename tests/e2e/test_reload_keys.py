"""Each key of the schema is changed by a reload, and the running proxy then does what the file says.

A row has the key's path, a probe (what the proxy does), what the file says before (`given`, over a common
base) and after (`to`), and what the probe gives then. `...` in place of the first result: the probe would
wait for ever. The rows of a group share a proxy. A key of config/schema.c that has no row fails a test."""

import collections
import contextlib
import json
import os
import pathlib
import select
import subprocess
import threading

import pytest

import harness
import pace
from client import Broken, Client, get, pipelined
from dns import Dns
from fleet import Redis
from harness import CHECK_OFF, accepts, free_port, merged, wait_until
from scripted import Backend, TcpBackend, reset
from test_sni import hello

FACTS = pathlib.Path(os.path.realpath(harness.RINGPROXY)).parent.parent / 'tests' / 'config_facts'
KEYS = [f'k{i}' for i in range(60)]
OFF = {**CHECK_OFF, 'interval': '1h'}

Row = collections.namedtuple('Row', 'key probe gives to given setup')
ROWS = {}  # {group: [Row]}
ELSEWHERE = {}  # {key: the test that has it}


def row(group, key, gives=None, to=None, given=None, setup=None):
    def keep(probe):
        ROWS.setdefault(group, []).append(Row(key, probe, gives, to, given or {}, setup))
        return probe
    return keep


def elsewhere(*keys):
    def keep(test):
        ELSEWHERE.update(dict.fromkeys(keys, test.__name__))
        return test
    return keep


def web(**more):
    return {'web': more}


def p(**more):
    return {'p': more}


# --- the place ----------------------------------------------------------------------------------

def serve(ex):
    """What a request asks for by its target; b1 alone fails."""
    target, is_b1 = ex.request.target, ex.backend.name == 'b1'
    if target == '/hang':
        ex.backend.blocked.release()
        ex.wait_peer_closed()
    elif target == '/reset' and is_b1:
        ex.reset()
    elif target == '/503' and is_b1:
        ex.answer(503)
    elif target == '/stall':
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf')
        ex.wait_peer_closed()
    elif target == '/ws':
        ex.send(b'HTTP/1.1 101 Go\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
        while data := ex.sock.recv(4096):
            ex.sock.sendall(data)
        ex.close()
    else:
        ex.answer()


class Checked(Backend):
    """Its checks can be held up."""

    def __init__(self, name):
        self.go = threading.Event()
        self.go.set()
        super().__init__(name, serve)

    def _status_of_check(self):
        self.go.wait(pace.upper(60))
        return super()._status_of_check()

    def stop(self):
        self.go.set()
        super().stop()


def note_first(backend, sock):
    """Greets, echoes, and keeps the first bytes of each connection."""
    sock.sendall(backend.name.encode() + b'\n')
    first = True
    while data := sock.recv(4096):
        if first:
            backend.first.append(data)
        first = False
        sock.sendall(data)


class Site:
    def __init__(self, rig):
        self.rig, self.proxy, self.said = rig, None, None
        self.servers = {n: Checked(n) for n in ('b1', 'b2', 's1', 'q1', 'other', 'side')}
        for n in ('t1', 't2'):
            self.servers[n] = TcpBackend(n, note_first)
            self.servers[n].first = []
        rig.scripted += self.servers.values()
        self.ports = [free_port() for _ in range(2)]
        self.admin_ports = [free_port() for _ in range(2)]
        self.raw_port = free_port()
        self.b1, self.b2 = self.servers['b1'], self.servers['b2']
        self.base = self.make_base()

    def entry(self, name, of=None, **more):
        return {'name': name, 'address': self.servers[of or name].address, **more}

    def make_base(self):
        slow = pace.stretched(1.0)
        calm = {'health': {'check': 'off', 'interval': '1h'}, 'passive': 'off'}
        return {
            'top': {'workers': 2, 'admin': {'listen': f'127.0.0.1:{self.admin_ports[0]}'}},
            'web': {'name': 'web', 'listen': f'127.0.0.1:{self.ports[0]}', 'pool': 'p', 'key': 'header:X-Key',
                    'timeouts': {'request': pace.ms(30 * slow)}},
            'raw': {'name': 'raw', 'listen': f'127.0.0.1:{self.raw_port}', 'mode': 'tcp', 'pool': 't'},
            'p': {'name': 'p', **harness.quick_pool(), 'backends': [self.entry('b1'), self.entry('b2')]},
            'q': {'name': 'q', **calm, 'backends': [self.entry('q1')]},
            't': {'name': 't', **calm, 'backends': [self.entry('t1')]},
            'u': {'name': 'u', **calm, 'backends': [self.entry('t2')]},
        }

    def text(self, edit):
        c = merged(self.base, edit)
        return harness.yaml_text(c['top'], [c[n] for n in ('web', 'raw', 'more') if n in c],
                                 [c[n] for n in ('p', 'q', 't', 'u', 'more_pool') if n in c])

    def start(self):
        self.proxy = self.rig.proxy_of(self.text({}), self.ports[0], self.admin_ports[0])
        self.admin = self.proxy.admin
        owners = harness.route(self.proxy.config, KEYS, '--pool', 'p')
        self.k1, self.k2 = (next(k for k in KEYS if owners[k] == n) for n in ('b1', 'b2'))
        return self

    def ask(self, edit, query=''):
        """The status of a reload with this file."""
        self.proxy.config.write_text(self.text(edit))
        status, _, text = self.admin.request('POST', f'/reload{query}')
        return status, text

    def apply(self, edit):
        status, text = self.ask(edit, '?force=1')
        assert status == 200, text
        self.said = harness.json.loads(text)
        admin = merged(self.base, edit)['top']['admin']
        self.admin.port = int(admin['listen'].rpartition(':')[2])
        self.admin.token = pathlib.Path(admin['token_file']).read_text() if 'token_file' in admin else None

    def rest(self):
        """Everything as at the start."""
        for s in self.servers.values():
            s.health_status = 200
            if isinstance(s, Checked):
                s.go.set()
            if s.listener is None:
                s.start()
        self.apply({})
        for name in ('b1', 'b2'):
            if self.proxy.server(name)['state'] == 'draining':
                self.proxy.post(name, 'enable')
        for name in ('b1', 'b2'):
            self.proxy.wait_state(name, 'up')

    # probes

    def get(self, target='/', port=None, **fields):
        """Of a key of b1, on a connection of its own."""
        fields = {k.replace('_', '-'): v for k, v in fields.items()}
        return get(port or self.ports[0], target, {'X-Key': self.k1, **fields})

    def seen(self, field, **fields):
        """A field as the server got it."""
        answer = self.get(**fields)
        return self.servers[answer.text].served()[-1].get(field)

    def state(self, name='b1'):
        return self.proxy.server(name)['state']

    def owners(self):
        return pipelined(self.ports[0], KEYS)

    def wait_down(self, *names):
        for name in names:
            self.servers[name].health_status = 503
        for name in names:
            self.proxy.wait_state(name, 'down')

    def returning(self):
        """b1 was down, and s1 promoted; its checks pass again."""
        self.wait_down('b1')
        self.proxy.wait_serving('s1', 'b1')
        self.b1.health_status = 200
        self.proxy.wait_state('b1', 'returning')

    def next_check(self, *names):
        """Who is checked next, and how."""
        def checks(name):
            s = self.servers[name]
            with s.lock:
                return [r for r in s.checks + s.requests
                        if (r.get('User-Agent') or '').startswith('ringproxy/')]

        before = {id(r) for name in names for r in checks(name)}

        def new():
            return next(((name, r) for name in names for r in checks(name) if id(r) not in before), None)
        return wait_until(new, 'a check')

    @contextlib.contextmanager
    def held(self, n=1):
        """Requests of b1's key that hang; who has them, with '' among them if one was answered."""
        clients = [Client(self.ports[0]) for _ in range(n)]
        before = {name: len(s.served()) for name, s in self.servers.items()}

        def new():
            return {name: len(s.served()) - before[name] for name, s in self.servers.items()
                    if len(s.served()) > before[name]}

        def answered():
            return select.select([c.sock for c in clients], [], [], 0)[0]

        def idle():
            servers = self.admin.json('/status')['pools'][0]
            return sum(s['active'] for s in servers['backends'] + servers['standbys']) == 0
        try:
            for c in clients:
                c.send_request(target='/hang', fields={'X-Key': self.k1})
            wait_until(lambda: answered() or sum(new().values()) >= n, 'requests that hang')
            yield set(new()) | ({''} if answered() else set())
        finally:
            for c in clients:
                reset(c.sock)  # the end of what a client sends is not the end of its request
            wait_until(lambda: self.proxy.process is None or idle(), 'the end of what hung')


def drain_b1(s):
    s.proxy.post('b1', 'drain')


# --- the document -------------------------------------------------------------------------------

@row('document', 'workers', ((2, []), (2, ['workers'])), {'top': {'workers': 3}})
def threads(s):
    tasks = pathlib.Path(f'/proc/{s.proxy.process.pid}/task')
    return (sum((t / 'comm').read_text().startswith('worker-') for t in tasks.iterdir()),
            s.said['needs_restart'])


@row('document', 'admin.listen', ([True, False], [False, True]), lambda s: {
    'top': {'admin': {'listen': f'127.0.0.1:{s.admin_ports[1]}'}}})
def admin_is_at(s):
    return [accepts(port) for port in s.admin_ports]


def with_token(s):
    path = s.proxy.config.with_name('token')
    path.write_text('s3cret')
    return {'top': {'admin': {'token_file': str(path)}}}


@row('document', 'admin.token_file', (200, 401), with_token)
def without_token(s):
    return harness.Admin(s.admin.port).request('GET', '/status')[0]


@row('document', 'admin.write', (403, 200), {'top': {'admin': {'write': 'on'}}})
def may_write(s):
    return s.admin.request('PUT', '/config?dry_run=1', body=s.text({}))[0]


@row('document', 'log.level', (True, False), {'top': {'log': {'level': 'error'}}})
def a_line_of_level_info_is_written(s):
    text, refused = s.proxy.config.read_text(), s.proxy.err().count('event="reload refused"')
    generation = harness.json.loads(s.admin.request('POST', '/reload')[2])['generation']
    s.proxy.config.write_text('no configuration')
    assert s.admin.request('POST', '/reload')[0] == 422
    s.proxy.config.write_text(text)
    # whatever was written before this line is there now
    wait_until(lambda: s.proxy.err().count('event="reload refused"') > refused, 'a line of level error')
    return f'event=reloaded generation={generation} ' in s.proxy.err()


@row('document', 'reload.max_move', (200, 422), {'top': {'reload': {'max_move': '0%'}}})
def may_move(s):
    more = {'p': {'backends': [s.entry('b1', weight=2), s.entry('b2')]}}
    text = s.proxy.config.read_text()
    said, _ = s.ask(merged({'top': {'reload': {'max_move': '0%'}}} if 'max_move' in text else {}, more))
    s.proxy.config.write_text(text)
    assert s.admin.request('POST', '/reload?force=1')[0] == 200
    return said


@row('document', 'listeners', (False, True), lambda s: {
    'more': {'name': 'more', 'listen': f'127.0.0.1:{s.ports[1]}', 'pool': 'q'}})
def another_listener(s):
    return accepts(s.ports[1]) and get(s.ports[1]).text == 'q1'


@row('document', 'pools', (['p', 'q', 't', 'u'], ['p', 'q', 't', 'u', 'more']), lambda s: {
    'more_pool': {'name': 'more', 'backends': [s.entry('other')]}})
def pool_names(s):
    return [one['name'] for one in s.admin.json('/status')['pools']]


# There is one value, so a change can only be refused.

@row('document', 'log.access', ([], ['log.access: stdout is not supported']), {'top': {'log': {'access': 'stdout'}}})
@row('document', 'pools[].ring.hash', ([], ['pools[0].ring.hash: md5 is unknown']), p(ring={'hash': 'md5'}))
def refused(lines):
    return [line.split(': ', 1)[1] for line in lines]


@elsewhere('shutdown_timeout')
def test_a_stop_lasts_as_long_as_the_new_file_says(rig):
    s = Site(rig)
    s.base['top']['shutdown_timeout'] = '1h'
    s.start().apply({'top': {'shutdown_timeout': '200ms'}})
    with s.held():
        s.proxy.stop(expect=1)


# --- the fleet ----------------------------------------------------------------------------------

def member(**more):
    """A member at a Redis that nobody can reach, which is alone."""
    return {'top': {'cluster': {'redis': 'unix:/nonexistent/redis.sock', 'name': 'edge', 'node': 'edge-1', **more}}}


@row('document', 'cluster.listen', ([], ['cluster.listen']), member(listen='active'), member())
def needs_restart(s):
    return s.said['needs_restart']


def as_member(s):
    """The object of /status; None: this proxy decides by itself."""
    return s.admin.json('/status').get('cluster')


@row('member', 'cluster', (None, 'alone'), member())
def role(s):
    return (as_member(s) or {}).get('role')


@row('member', 'cluster.name', ('edge', 'other'), member(name='other'), member())
def fleet_name(s):
    return as_member(s)['name']


@row('member', 'cluster.node', ('edge-1', 'edge-2'), member(node='edge-2'), member())
def node(s):
    return as_member(s)['node']


@row('member', 'cluster.priority', (100, 7), member(priority=7), member())
def priority(s):
    return next(m['priority'] for m in as_member(s)['members'] if m['node'] == 'edge-1')


def skip_if_nothing_joins(s):
    if as_member(s) is None:
        pytest.skip('the section is read, and nothing joins yet')


@elsewhere('cluster.lock_ttl', 'cluster.preempt', 'cluster.redis')
def test_what_a_member_says_in_redis_follows_the_new_file(rig, redis, tmp_path):
    s, second = Site(rig), Redis(tmp_path, 'second').start()
    rig.daemons.append(second)
    s.base = merged(s.base, member(redis=redis.url(), lock_ttl='3s'))
    s.start()
    skip_if_nothing_joins(s)

    def term(at):
        """The lock's, by its value: TOKEN TERM NODE/INSTANCE."""
        value = at.call('GET', at.key('lock'))
        return value and value.split()[1]

    def preempts():
        view = redis.call('HGET', redis.key('views'), 'edge-1')
        return view and json.loads(view)['preempt']
    wait_until(lambda: term(redis) == b'3000' and preempts() is True, 'a keeper')
    s.apply({'top': {'cluster': {'preempt': 'false'}}})
    wait_until(lambda: preempts() is False, 'what the new file says')
    assert term(redis) == b'3000'
    s.apply({'top': {'cluster': {'lock_ttl': '4s'}}})
    wait_until(lambda: term(redis) == b'4000', 'a lock of the new length')
    s.apply({'top': {'cluster': {'redis': second.url()}}})
    wait_until(lambda: term(second) == b'3000' and term(redis) is None, 'the lock at the other Redis, none at the first')
    s.apply({'top': {'cluster': None}})
    wait_until(lambda: term(second) is None, 'the lock to be given back')
    assert as_member(s) is None


@elsewhere('cluster.on_active', 'cluster.on_standby')
def test_the_commands_of_a_role_are_those_of_the_new_file(fleet, tmp_path):
    """The second one stands by until the first one ends."""
    ran = tmp_path / 'ran'

    def commands(word):
        return {f'on_{role}': ['sh', '-c', f'echo {word} {role} >> {ran}'] for role in ('active', 'standby')}

    def lines():
        return ran.read_text().splitlines() if ran.exists() else []
    fleet.backends('b1')
    first = fleet.member(cluster={'listen': 'active', 'priority': 200}, ready=False)
    wait_until(first.alive, 'the first one')
    skip_if_nothing_joins(first)
    wait_until(lambda: accepts(first.port), 'the first one to be active')
    second = fleet.member(cluster={'listen': 'active', **commands('old')})
    wait_until(lambda: lines() == ['old standby'], 'the command of a start')  # what an earlier process left is undone
    second.config.write_text(fleet.text(second.parts, cluster={'listen': 'active', **commands('new')}))
    wait_until(lambda: second.admin.request('POST', '/reload')[0] == 200, 'the reload')  # 503 as long as it starts
    first.stop()
    wait_until(lambda: accepts(second.port) and 'new active' in lines(), 'the second one to be active')
    second.stop()
    assert lines() == ['old standby', 'new active', 'new standby']


@elsewhere('pools[].agree')
def test_whose_word_counts_is_as_the_new_file_says(fleet):
    """Two members, and one of them can't reach b1."""
    fleet.backends('b1', 'b2')
    one, other = fleet.members(2, pool={'agree': 'majority'})
    skip_if_nothing_joins(one)
    fleet.wait_roles()
    one.paths['b1'].refuse()
    wait_until(lambda: one.server('b1').get('here') == 'down', 'an exception')
    assert other.server('b1')['state'] == one.server('b1')['state'] == 'up'
    for m in (one, other):
        m.config.write_text(fleet.text(m.parts, pool={'agree': 'all'}))
        assert m.admin.request('POST', '/reload')[0] == 200
    fleet.wait_out('b1')


# --- listeners ----------------------------------------------------------------------------------

@row('listener', 'listeners[].name', ('web', 'site'), web(name='site'))
def listener_name(s):
    return s.admin.json('/status')['listeners'][0]['name']


@row('listener', 'listeners[].listen', ([True, False], [False, True]), lambda s: web(
    listen=f'127.0.0.1:{s.ports[1]}'))
def listens_at(s):
    return [accepts(port) for port in s.ports]


@row('listener', 'listeners[].mode', ('1.1 ringproxy', None), web(mode='tcp', key=None))
@row('listener', 'listeners[].via', ('1.1 ringproxy', None), web(via='off'))
def via(s):
    return s.seen('Via')


@row('listener', 'listeners[].pool', ('b1', 'q1'), web(pool='q'))
def who(s):
    return s.get().text


BY_PATH = [{'path': '/x', 'pool': 'q'}, {'pool': 'p'}]


@row('listener', 'listeners[].routes', ('b1', 'q1'), web(pool=None, routes=BY_PATH))
@row('listener', 'listeners[].routes[].path', ('q1', 'b1'), web(routes=[{**BY_PATH[0], 'path': '/y'}, BY_PATH[1]]),
     web(pool=None, routes=BY_PATH))
@row('listener', 'listeners[].routes[].pool', ('b1', 'q1'), web(routes=[{**BY_PATH[0], 'pool': 'q'}, BY_PATH[1]]),
     web(pool=None, routes=[{**BY_PATH[0], 'pool': 'p'}, BY_PATH[1]]))
@row('listener', 'listeners[].routes[].host', ('q1', 'b1'),
     web(routes=[{'host': 'b.example', 'pool': 'q'}, {'pool': 'p'}]),
     web(pool=None, routes=[{'host': 'test.example', 'pool': 'q'}, {'pool': 'p'}]))
@row('listener', 'listeners[].routes[].methods', ('q1', 'b1'),
     web(routes=[{'methods': 'PUT', 'pool': 'q'}, {'pool': 'p'}]),
     web(pool=None, routes=[{'methods': 'GET', 'pool': 'q'}, {'pool': 'p'}]))
def who_has_x(s):
    return s.get('/x').text


@row('listener', 'listeners[].routes[].sni', (b't1', b't2'),
     {'raw': {'routes': [{'sni': 'b.example', 'pool': 't'}, {'pool': 'u'}]}},
     {'raw': {'pool': None, 'routes': [{'sni': 'a.example', 'pool': 't'}, {'pool': 'u'}]}})
def who_has_a_example(s):
    with Client(s.raw_port) as c:
        c.send(hello('a.example'))
        return c.reader.exactly(3)[:2]


@row('listener', 'listeners[].key', ('b1', 'b2'), web(key='header:X-Other'))
@row('listener', 'listeners[].routes[].key', ('b1', 'b2'), web(routes=[{'pool': 'p', 'key': 'header:X-Other'}]),
     web(pool=None, routes=[{'pool': 'p', 'key': 'header:X-Key'}]))
def who_has_one_of_two_keys(s):
    return s.get(X_Other=s.k2).text


def issued(**more):
    return web(key='issued:rp', issued_cookie=more)


def attribute(name):
    def probe(s):
        parts = [part.partition('=') for part in get(s.ports[0]).get('Set-Cookie').split('; ')]
        return next((value for n, _, value in parts if n == name), None)
    return probe


for word, name, value, results in (('max_age', 'Max-Age', '1h', (None, '3600')),
                                   ('domain', 'Domain', 'shop.example', (None, 'shop.example')),
                                   ('path', 'Path', '/app', ('/', '/app')),
                                   ('same_site', 'SameSite', 'strict', ('Lax', 'Strict'))):
    row('listener', f'listeners[].issued_cookie.{word}', results, issued(**{word: value}), issued())(attribute(name))


@row('listener', 'listeners[].max_connections', ([200, 200], [200, 503]), web(max_connections=1))
def second_client(s):
    with Client(s.ports[0]) as one, Client(s.ports[0]) as two:
        return [c.request(fields={'X-Key': s.k1}).status for c in (one, two)]


@row('listener', 'listeners[].max_header_size', (200, 431), web(max_header_size='1KiB'))
def long_head(s):
    return s.get(X_Long='x' * 2000).status


@row('listener', 'listeners[].proxy_protocol', ((400, None), (200, '192.0.2.9')), web(proxy_protocol='accept'))
def with_proxy_head(s):
    with Client(s.ports[0]) as c:
        c.send(b'PROXY TCP4 192.0.2.9 127.0.0.1 1234 80\r\n')
        c.send_request(fields={'X-Key': s.k1})
        answer = c.answer()
    return answer.status, s.b1.served()[-1].get('X-Forwarded-For') if answer.status == 200 else None


@row('listener', 'listeners[].trusted_proxies', ('http', 'https'), web(trusted_proxies=['127.0.0.0/8']))
def scheme(s):
    return s.seen('X-Forwarded-Proto', X_Forwarded_Proto='https')


def timeout(word):
    return {'to': web(timeouts={word: '200ms'}), 'given': web(timeouts={word: '1h'}), 'gives': (..., True)}


@row('listener', 'listeners[].timeouts.request', **timeout('request'))
def half_a_head_is_refused(s):
    with Client(s.ports[0]) as c:
        c.send(b'GET / HTTP/1.1\r\n')
        return c.answer().status == 408


@row('listener', 'listeners[].timeouts.idle', **timeout('idle'))
def an_idle_client_is_closed(s):
    with Client(s.ports[0]) as c:
        return c.request(fields={'X-Key': s.k1}).status == 200 and c.at_end()


def tunnel(s):
    c = Client(s.ports[0])
    c.send_request(target='/ws', fields={'X-Key': s.k1, 'Upgrade': 'echo', 'Connection': 'Upgrade'})
    assert c.head().status == 101
    return c


@row('listener', 'listeners[].timeouts.tunnel', **timeout('tunnel'))
def a_silent_tunnel_is_closed(s):
    with tunnel(s) as c:
        return c.at_end()


# --- pools: rings, servers, traffic -------------------------------------------------------------

def as_the_file_says(s):
    """The names that stand in the file to the servers that answer there."""
    at = {'c1': 'b1'}
    return {k: at.get(n, n) for k, n in harness.route(s.proxy.config, KEYS, '--pool', 'p').items()}


AS_FILE = (as_the_file_says, as_the_file_says)


@row('pool', 'pools[].ring.vnodes', AS_FILE, p(ring={'vnodes': 3}))
@row('pool', 'pools[].backends', AS_FILE, lambda s: p(backends=[s.entry(n) for n in ('b1', 'b2', 'other')]))
@row('pool', 'pools[].backends[].name', AS_FILE, lambda s: p(backends=[s.entry('c1', 'b1'), s.entry('b2')]))
@row('pool', 'pools[].backends[].weight', AS_FILE, lambda s: p(backends=[s.entry('b1', weight=4), s.entry('b2')]))
def owners(s):
    return s.owners()


@row('pool', 'pools[].backends[].address', ('b1', 'other'), lambda s: p(
    backends=[s.entry('b1', 'other'), s.entry('b2')]))
def who_has_b1s_key(s):
    return s.get().text


@row('pool', 'pools[].name', ('p', 'site'), {'p': {'name': 'site'}, 'web': {'pool': 'site'}})
def pool_name(s):
    return s.admin.json('/status')['pools'][0]['name']


@row('pool', 'pools[].ring.max_load', ({'b1'}, {'b1', 'b2'}), p(ring={'max_load': 1.25}))
def who_has_four_at_once(s):
    with s.held(4) as names:
        return names


@row('pool', 'pools[].backends[].max_connections', ('b1', 'b2'), lambda s: p(
    backends=[s.entry('b1', max_connections=1), s.entry('b2')]))
@row('pool', 'pools[].standbys[].max_connections', ('s1', 'b2'),
     lambda s: p(standbys=[s.entry('s1', max_connections=1)]),
     lambda s: p(standbys=[s.entry('s1')]), drain_b1)
def who_has_the_second(s):
    with s.held() as names:
        second = s.get().text
        return second if names == {'b1' if s.state() == 'up' else 's1'} else names


@row('pool', 'pools[].standbys', ('b2', 's1'), lambda s: p(standbys=[s.entry('s1')]), setup=drain_b1)
@row('pool', 'pools[].standbys[].address', ('s1', 'other'), lambda s: p(standbys=[s.entry('s1', 'other')]),
     lambda s: p(standbys=[s.entry('s1')]), drain_b1)
@row('pool', 'pools[].standbys[].for', ('b2', 's1'), lambda s: p(standbys=[{**s.entry('s1'), 'for': ['b1']}]),
     lambda s: p(standbys=[{**s.entry('s1'), 'for': ['b2']}]), drain_b1)
def who_stands_in(s):
    return s.get().text


@row('pool', 'pools[].standbys[].name', (['s1'], ['s9']), lambda s: p(standbys=[s.entry('s9', 's1')]),
     lambda s: p(standbys=[s.entry('s1')]))
def standby_names(s):
    return [one['name'] for one in s.admin.json('/status')['pools'][0]['standbys']]


@row('pool', 'pools[].when_down', (200, 503), p(when_down='fail'), setup=drain_b1)
@row('pool', 'pools[].when_all_down', (503, 200), p(when_all_down='try'), setup=lambda s: s.wait_down('b1', 'b2'))
def status(s):
    return s.get().status


@row('pool', 'pools[].close_moved', (True, False), p(close_moved='always'), p(close_moved='never'),
     lambda s: setattr(s, 'tunnel', tunnel(s)))
def a_tunnel_whose_key_moves_goes_on(s):
    s.proxy.post('b1', 'drain')
    try:
        s.tunnel.send(b'ping')
        return s.tunnel.reader.exactly(4) == b'ping'
    except (Broken, ConnectionError):
        s.tunnel.close()
        return False
    finally:
        s.proxy.post('b1', 'enable')


@row('pool', 'pools[].retries', (200, 502), p(retries=0))
def what_comes_of_a_reset(s):
    return s.get('/reset').status


@row('pool', 'pools[].retry_statuses', (503, 200), p(retry_statuses='503'))
def what_comes_of_a_503(s):
    return s.get('/503').status


@row('pool', 'pools[].max_idle_connections', (0, 3), p(max_idle_connections=0))
def new_connections_of_three_requests(s):
    with Client(s.ports[0]) as c:
        c.request(fields={'X-Key': s.k1})
        before = s.b1.connections
        for _ in range(3):
            c.request(fields={'X-Key': s.k1})
        return s.b1.connections - before


@row('pool', 'pools[].epoch_header', ('1.1', None), p(epoch_header='X-Ring-Epoch'))
def epoch_of_a_client(s):
    return s.seen('X-Ring-Epoch', X_Ring_Epoch='1.1')


def pool_timeout(word, **more):
    given = p(**merged({'timeouts': {word: '1h'}}, more))
    return {'to': p(timeouts={word: '100ms'}), 'given': given, 'gives': (..., True)}


@row('pool', 'pools[].timeouts.response', **pool_timeout('response'))
def a_silent_server_is_given_up(s):
    return s.get('/hang').status == 504


@row('pool', 'pools[].timeouts.body', **pool_timeout('body'))
def a_stalled_body_is_cut(s):
    try:
        return s.get('/stall') is None
    except (Broken, ConnectionResetError):
        return True


@row('pool', 'pools[].timeouts.idle', **pool_timeout('idle', health=OFF))
def an_idle_connection_is_closed(s):
    """Soon: one that is not needed any more is closed after 5 s in any case."""
    s.get()
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not s.b1.socks, 'the end of the connection', 1.0 / pace.upper(1.0))
    return not s.b1.socks


@row('pool', 'pools[].proxy_protocol', (b'hello', b'PROXY'), {'t': {'proxy_protocol': 'v1'}})
def first_bytes(s):
    with Client(s.raw_port) as c:
        c.reader.exactly(3)
        c.send(b'hello')
        c.reader.exactly(5)
        return s.servers['t1'].first[-1][:5]


@elsewhere('pools[].timeouts.connect')
def test_a_server_that_does_not_connect_is_given_up_as_the_new_file_says(rig):
    s, deaf = Site(rig), rig.deaf('d1')
    s.base['p'] = merged(s.base['p'], {'health': OFF, 'passive': 'off', 'retries': 0, 'timeouts': {'connect': '1h'},
                                       'backends': [harness.server_entry(deaf)]})
    del s.base['web']['key']
    s.proxy = rig.proxy_of(s.text({}), s.ports[0], s.admin_ports[0])
    s.admin = s.proxy.admin
    s.apply(p(timeouts={'connect': '100ms'}))
    wait_until(lambda: s.admin.json('/status')['generation'] == 2, 'the reload')
    assert get(s.ports[0]).status in (502, 504)


@elsewhere('pools[].resolve')
def test_names_are_looked_up_as_often_as_the_new_file_says(rig, tmp_path):
    try:
        dns = Dns(tmp_path)
    except OSError as e:
        pytest.skip(f'no name server of our own: {e}')
    try:
        if not dns.works():
            pytest.skip('no namespace with a resolv.conf of our own')
        dns.names['b1.test'] = ['127.0.0.1']
        s = Site(rig)
        s.base['p'] = merged(s.base['p'], {'backends': [{'name': 'b1', 'address': f'b1.test:{s.b1.port}'}],
                                           'resolve': '1h'})
        s.proxy = rig.proxy_of(s.text({}), s.ports[0], s.admin_ports[0], start=False)
        s.proxy.argv = dns.command(s.proxy.argv)
        s.admin = s.proxy.start().admin
        s.apply({})
        before = dns.asked
        s.apply(p(resolve='100ms'))
        wait_until(lambda: dns.asked >= before + 6, 'lookups')  # two each, A and AAAA
    finally:
        dns.stop()


# --- pools: health and failback -----------------------------------------------------------------

def health(**more):
    return p(health=more)


def b1_fails(s):
    s.b1.health_status = 503


TCP = {'check': 'tcp', 'path': None}


@row('health', 'pools[].health.check', ('down', 'up'), health(**TCP), setup=b1_fails)
@row('health', 'pools[].health.expect', ('down', 'up'), health(expect='200, 503'), setup=b1_fails)
@row('health', 'pools[].health.fall', ('up', 'down'), health(fall=1), health(fall=100), b1_fails)
@row('health', 'pools[].health.rise', ('down', 'up'), health(rise=1), health(rise=100),
     lambda s: (s.wait_down('b1'), setattr(s.b1, 'health_status', 200)))
@row('health', 'pools[].health.timeout', ('up', 'down'), health(timeout='50ms'), health(timeout='1h'),
     lambda s: s.b1.go.clear())
@row('health', 'pools[].failback.mode', ('returning', 'up'), p(failback={'mode': 'auto'}),
     lambda s: p(failback={'mode': 'manual'}, standbys=[s.entry('s1')]), Site.returning)
@row('health', 'pools[].failback.ramp', ('returning', 'up'), p(failback={'ramp': '0s'}),
     lambda s: p(failback={'ramp': '1h'}, standbys=[s.entry('s1')]), Site.returning)
def state(s):
    return s.state()


def short_waits(s):
    return p(failback={'after': '10ms', 'max_after': '10ms'}, standbys=[s.entry('s1')])


@row('health', 'pools[].failback.after', ('10ms', '20ms'),
     p(failback={'after': '20ms', 'max_after': '20ms'}), short_waits)
@row('health', 'pools[].failback.max_after', ('10ms', '20ms'), p(failback={'max_after': '1h'}), short_waits)
def next_wait(s):
    """Twice as long as the one before, if b1 goes down again within max_after."""
    s.wait_down('b1')
    s.b1.health_status = 200
    s.proxy.wait_state('b1', 'up')
    s.proxy.post('b1', 'drain')  # whatever was written before that line is there with it
    s.proxy.says(' event=drained pool=p backend=b1')
    s.proxy.post('b1', 'enable')
    waits = [line for line in s.proxy.err().splitlines() if 'event="failback waits"' in line and 'backend=b1' in line]
    return waits[-1].rpartition(' for=')[2]


@row('health', 'pools[].health.port', ('b1', 'side'), lambda s: health(port=s.servers['side'].port))
def who_is_checked(s):
    return s.next_check('b1', 'side')[0]


@row('health', 'pools[].health.method', ('GET', 'HEAD'), health(method='HEAD'))
def method_of_checks(s):
    return s.next_check('b1')[1].method


@row('health', 'pools[].health.path', ('/healthz', '/other'), health(path='/other'))
def path_of_checks(s):
    return s.next_check('b1')[1].target


@row('health', 'pools[].health.host', (lambda s: s.b1.address, 'probe.example'), health(host='probe.example'))
def host_of_checks(s):
    return s.next_check('b1')[1].get('Host')


@row('health', 'pools[].health.interval', (..., True), health(interval='50ms'), health(interval='1h'))
def two_checks_come(s):
    before = len(s.b1.checks)
    return wait_until(lambda: len(s.b1.checks) >= before + 2, 'two checks')


def t(**more):
    return {'t': {'health': {'check': 'tcp', 'interval': '100ms', **more}}}


@row('health', 'pools[].health.send', (b'one', b'two'), t(send='two'), t(send='one'))
def bytes_of_checks(s):
    s.servers['t1'].first.clear()
    return wait_until(lambda: s.servers['t1'].first, 'a check')[-1]


@row('health', 'pools[].passive', ('up', 'down'), p(passive={'failures': 1}), p(health=OFF, passive='off'),
     lambda s: s.b1.stop())
@row('health', 'pools[].passive.failures', ('up', 'down'), p(passive={'failures': 1}),
     p(health=OFF, passive={'failures': 100}), lambda s: s.b1.stop())
def state_after_a_failure(s):
    assert s.get().text == 'b2'
    return s.state()


@row('health', 'pools[].passive.statuses', (False, True), p(passive={'statuses': '503'}))
def a_status_is_suspect(s):
    count = lambda: s.proxy.server('b1')['suspicion']['suspected']  # noqa: E731
    before = count()
    assert s.get('/503').status == 503
    return count() > before


# --- the test -----------------------------------------------------------------------------------

def made(edit, s):
    return edit(s) if callable(edit) else edit


def expect(r, s, wanted):
    """Workers take up the new file in their own time."""
    last = []

    def same():
        last[:] = [r.probe(s)]
        return last[0] == (wanted(s) if callable(wanted) else wanted)
    try:
        wait_until(same, r.key)
    except AssertionError:
        pytest.fail(f'{r.key}: {r.probe.__name__} gives {last}, not {wanted}')
    return last[0]


def check_refused(r, s):
    status, text = s.ask(r.to)
    lines = refused(harness.json.loads(text)['errors'])
    assert status == 422 and len(lines) == 1, (r.key, text)
    assert lines[0].startswith(r.gives[1][0]), (r.key, lines)


def check(r, s):
    """The change shows, and can be told from what was before."""
    s.rest()
    if r.probe is refused:
        check_refused(r, s)
        return
    given = made(r.given, s)
    if given:
        s.apply(given)
    if r.setup:
        r.setup(s)
    before = ... if r.gives[0] is ... else expect(r, s, r.gives[0])
    s.apply(merged(given, made(r.to, s)))
    assert expect(r, s, r.gives[1]) != before, r.key


@pytest.mark.parametrize('group', sorted(ROWS))
def test_a_key_means_after_a_reload_what_the_file_says(rig, group):
    s = Site(rig).start()
    if group == 'member':
        s.apply(member())
        skip_if_nothing_joins(s)
    for r in ROWS[group]:
        print(f'--- {r.key}', flush=True)
        check(r, s)


@pytest.mark.skipif(not FACTS.exists(), reason='config_facts was not built, only ringproxy')
def test_each_key_of_the_schema_has_a_row():
    done = subprocess.run([FACTS, 'keys'], capture_output=True, text=True, check=True)
    rows = [r.key for group in ROWS.values() for r in group] + list(ELSEWHERE)
    assert sorted(rows) == sorted(done.stdout.split())
