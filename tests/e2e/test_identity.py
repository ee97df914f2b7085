"""Logins that belong to a connection (NTLM, Negotiate, Kerberos): nobody but the client that logs in
uses it, and the login works."""

import contextlib
import random
import threading

import pytest

from client import Client, get
from harness import CHECK_OFF, route, wait_until

# No kept connection ends by itself.
CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off', 'timeouts': {'idle': '1h'}}
BY_KEY = {'key': ['header:X-Key']}
LOGINS = ('ntlm', 'negotiate', 'kerberos')


class Windows:
    """A server that logs connections in: the user is who the connection last said it is."""

    def __init__(self, rig, name='b1', challenges=(('WWW-Authenticate', 'Negotiate'),), status=401):
        self.users = {}
        self.challenges, self.status = list(challenges), status
        self.backend = rig.backend(name, self.handle)

    def handle(self, ex):
        given = ex.request.get('Authorization') or ex.request.get('Proxy-Authorization') or ''
        scheme, _, user = given.partition(' ')
        if scheme.lower() in LOGINS:
            self.users[ex.connection] = user
        user = self.users.get(ex.connection)
        if user or ex.request.target == '/open':
            ex.answer(body=(user or 'nobody').encode(), fields=[('X-Connection', ex.connection)])
        else:
            ex.answer(self.status, b'who?', [*self.challenges, ('X-Connection', ex.connection)])

    def open(self):
        with self.backend.lock:
            return len(self.backend.socks)


def one_server(rig, listener=None, pool=None, **more):
    server = Windows(rig, **more)
    return server, rig.proxy([server.backend], pool={**CALM, **(pool or {})}, listener=listener,
                             top={'workers': 1})


def login(c, user, scheme='Negotiate', field='Authorization', **more):
    return c.request('GET', '/p', {field: f'{scheme} {user}', **more})


@pytest.mark.parametrize('challenges,scheme', [
    ([('WWW-Authenticate', 'Negotiate')], 'Negotiate'),
    ([('WWW-Authenticate', 'NTLM')], 'NTLM'),
    ([('www-authenticate', 'KERBEROS')], 'kerberos'),
    ([('WWW-Authenticate', 'Basic realm="a, b", nEGOTIATE')], 'nEGOTIATE'),
    ([('WWW-Authenticate', 'Negotiate, Basic realm="x"')], 'Negotiate'),
    ([('WWW-Authenticate', 'Basic realm="x"'), ('WWW-Authenticate', 'NTLM')], 'NTLM'),
], ids=['negotiate', 'ntlm', 'kerberos', 'list', 'first', 'lines'])
def test_of_two_one_logs_in_and_the_other_is_asked(rig, challenges, scheme):
    server, proxy = one_server(rig, challenges=challenges)
    with Client(proxy.port) as a, Client(proxy.port) as b:
        first = a.request('GET', '/p')
        assert first.status == 401
        second = login(a, 'ann', scheme)
        assert second.text == 'ann'
        assert second.get('X-Connection') == first.get('X-Connection')
        other = b.request('GET', '/p')
        assert other.status == 401 and other.get('X-Connection') != first.get('X-Connection')
        for _ in range(3):
            assert b.request('GET', '/p').status == 401
            assert a.request('GET', '/p').text == 'ann'
        assert login(b, 'bob', scheme).text == 'bob'
        assert a.request('GET', '/p').text == 'ann' and b.request('GET', '/p').text == 'bob'
    assert server.backend.connections == 2


def test_credentials_alone_tie_the_connection(rig):
    """The first request has them already, and the answer has no challenge."""
    _, proxy = one_server(rig)
    assert get(proxy.port, '/open').text == 'nobody'
    with Client(proxy.port) as a:
        assert login(a, 'ann').text == 'ann'
        assert get(proxy.port, '/open').text == 'nobody'
        assert a.request('GET', '/p').text == 'ann'
    assert get(proxy.port, '/open').text == 'nobody'


@pytest.mark.parametrize('scheme', ['NTLM', 'Negotiate'])
def test_a_login_at_a_proxy_behind_is_one_too(rig, scheme):
    _, proxy = one_server(rig, challenges=[('Proxy-Authenticate', scheme)], status=407)
    with Client(proxy.port) as a:
        assert a.request('GET', '/p').status == 407
        assert login(a, 'ann', scheme, 'Proxy-Authorization').text == 'ann'
        assert get(proxy.port, '/p').status == 407
        assert a.request('GET', '/p').text == 'ann'


def test_a_login_in_three_steps_without_a_key(rig):
    """Several servers take turns; a login has to stay with the one that it began at."""
    servers = [Windows(rig, f'b{i}', [('WWW-Authenticate', 'NTLM')]) for i in range(1, 5)]
    proxy = rig.proxy([s.backend for s in servers], pool=CALM, top={'workers': 1})
    for n in range(6):
        with Client(proxy.port) as c:
            seen = {c.request('GET', '/p').get('X-Backend')}
            for step in range(3):
                answer = c.request('POST', '/p', {'Authorization': f'NTLM user{n}.{step}'},
                                   body=b'' if step == 0 else b'data')
                assert answer.text == f'user{n}.{step}'
                seen.add(answer.get('X-Backend'))
            for _ in range(4):
                answer = c.request('GET', '/p')
                assert answer.text == f'user{n}.2'
                seen.add(answer.get('X-Backend'))
            assert len(seen) == 1
    assert sum(s.backend.connections for s in servers) == 6


def test_a_tied_connection_goes_with_its_client(rig):
    server, proxy = one_server(rig)
    for end in ('close', 'last'):
        with Client(proxy.port) as c:
            assert login(c, 'ann').text == 'ann'
            assert server.open() == 1
            if end == 'last':
                assert c.request('GET', '/p', {'Connection': 'close'}).text == 'ann'
                wait_until(lambda: server.open() == 0, 'the end of the connection')
        wait_until(lambda: server.open() == 0, 'the end of the connection')


def test_the_server_may_close_it(rig):
    """Then the client logs in anew; it is no failure."""
    server, proxy = one_server(rig)
    with Client(proxy.port) as a:
        assert login(a, 'ann').text == 'ann'
        connection = server.backend.connections
        with server.backend.lock:
            socks = list(server.backend.socks)
        for s in socks:
            s.shutdown(2)
        wait_until(lambda: server.open() == 0, 'the end of the connection')
        assert a.request('GET', '/p').status == 401
        assert login(a, 'ann').text == 'ann'
        assert server.backend.connections == connection + 1
        assert get(proxy.port, '/p').status == 401
    assert proxy.server('b1')['errors'] == 0


def test_keys_may_lead_to_several_servers(rig):
    """A client is logged in at a few at a time; what it used longest ago is closed."""
    servers = {f'b{i}': Windows(rig, f'b{i}') for i in range(1, 7)}
    proxy = rig.proxy([s.backend for s in servers.values()], pool=CALM, listener=BY_KEY,
                      top={'workers': 1})
    keys = {}
    for key, name in route(proxy.config, [f'k{i}' for i in range(200)]).items():
        keys.setdefault(name, key)
    assert len(keys) == 6
    order = sorted(keys)
    with Client(proxy.port) as c:
        for name in order:
            answer = login(c, 'ann', **{'X-Key': keys[name]})
            assert answer.get('X-Backend') == name and answer.text == 'ann'
        wait_until(lambda: [servers[n].open() for n in order] == [0, 0, 1, 1, 1, 1],
                   'the ends of the connections used longest ago')
        for name in order[2:]:
            assert c.request('GET', '/p', {'X-Key': keys[name]}).text == 'ann'
        assert c.request('GET', '/p', {'X-Key': keys[order[0]]}).status == 401
        assert [servers[n].backend.connections for n in order] == [2, 1, 1, 1, 1, 1]


def test_many_at_once_never_meet(rig):
    """Clients that log in, some of them, and go: each sees itself or nobody."""
    servers = [Windows(rig, f'b{i}', [('WWW-Authenticate', 'Basic realm="x", NTLM')]) for i in (1, 2)]
    proxy = rig.proxy([s.backend for s in servers], pool=CALM, listener=BY_KEY, top={'workers': 1})
    wrong = []

    def client(number):
        dice = random.Random(number)
        for life in range(4):
            user, logged = f'user{number}.{life}', set()
            with Client(proxy.port) as c:
                for _ in range(10):
                    fields = {'X-Key': f'k{dice.randrange(4)}'}
                    if number % 3 and dice.random() < 0.4:
                        fields['Authorization'] = f'NTLM {user}'
                    answer = c.request('GET', dice.choice(['/p', '/open']), fields)
                    name = answer.get('X-Backend')
                    if 'Authorization' in fields:
                        logged.add(name)
                    allowed = (user,) if name in logged else ('who?', 'nobody')
                    if answer.text not in allowed:
                        wrong.append((user, answer.text))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_tied_connections_keep_no_client_out(rig):
    """A few clients that log in at every server use up the descriptors, and then ask for nothing."""
    servers = [Windows(rig, f'b{i}') for i in range(1, 5)]
    proxy = rig.proxy([s.backend for s in servers], pool=CALM, listener=BY_KEY, top={'workers': 1},
                      start=False)
    proxy.argv = ['prlimit', '--nofile=100:100', *proxy.argv]
    proxy.start()
    home = route(proxy.config, [f'k{i}' for i in range(100)])
    keys = [next(k for k, name in home.items() if name == s.backend.name) for s in servers]
    with contextlib.ExitStack() as stack:
        def client():
            return stack.enter_context(Client(proxy.port))
        greedy = [client() for _ in range(11)]
        for c in greedy:
            for key in keys:
                assert login(c, 'ann', **{'X-Key': key}).text == 'ann'
        for _ in range(30):
            assert client().request('GET', '/open', {'X-Key': keys[0]}).text == 'nobody'
        # Only as many as it took, those that were unused for longest first.
        known = [c.request('GET', '/p', {'X-Key': keys[0]}).status == 200 for c in greedy]
        assert not known[0] and known[-1]
    assert 'out of descriptors' not in proxy.err()
