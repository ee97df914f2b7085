"""A reload meets what is going on: suspicions, stops, uploads, tunnels, logins, pipelines, and
listeners, pools and servers that change what they are."""

import json
import threading

import harness
import pace
from client import Client, get
from harness import accepts, free_port, merged, route, wait_until
from test_identity import Windows, login
from test_issued import Shop, User, shops, visit_all
from test_reload import KEYS, echo
from test_reload_keys import OFF, Site, p, tunnel, web


def site(rig, **pool):
    s = Site(rig)
    s.base['p'] = merged(s.base['p'], pool)
    return s.start()


def gone_from(s, name, **more):
    """The pool without that backend."""
    return p(backends=[e for e in s.base['p']['backends'] if e['name'] != name], **more)


# --- what is going on in the pool ---------------------------------------------------------------

def test_a_suspicion_is_answered_after_a_reload(rig):
    """Only the check that the suspicion asked for can take b1 down."""
    for verdict in ('passed', 'failed'):
        s = site(rig, health={'interval': '1h', 'timeout': '1h', 'fall': 100}, passive={'failures': 1})
        s.b1.go.clear()
        assert s.get('/reset').text == 'b2'
        last = lambda: (s.proxy.server('b1')['suspicion']['last'] or {}).get('check')  # noqa: E731
        wait_until(lambda: last() == 'pending', 'the suspicion')
        s.apply(p(retries=1))
        assert last() == 'pending' and s.state() == 'up'
        s.b1.health_status = 200 if verdict == 'passed' else 503
        s.b1.go.set()
        wait_until(lambda: last() == verdict, 'its check')
        s.proxy.wait_state('b1', 'up' if verdict == 'passed' else 'down')


def test_all_down_and_tried_it_stays(rig):
    s = site(rig, when_all_down='try')
    s.wait_down('b1', 'b2')
    tried = lambda: s.admin.json('/status')['pools'][0]['all_down_routing']  # noqa: E731
    wait_until(tried, 'all to be down')
    load = rig.load(s.proxy, KEYS, pace=0.004)
    home = s.owners()
    for i in range(6):
        s.apply(p(retries=i % 3))
        assert tried() and s.owners() == home
    load.wait_rounds(1)
    assert load.bad() == [] and load.served() == {k: {n} for k, n in home.items()}
    assert s.proxy.err().count('event="all servers down" ') == 1


def test_a_promoted_standby_becomes_a_backend(rig):
    s = Site(rig)
    s.base['p']['standbys'] = [s.entry('s1')]
    s.start()
    s.b1.health_status = 503
    s.proxy.wait_serving('s1', 'b1')
    load = rig.load(s.proxy, KEYS, pace=0.004)
    load.wait_rounds(1)
    s.apply(p(standbys=[], backends=[s.entry(n) for n in ('b1', 'b2', 's1')]))
    assert s.state('b1') == 'down' and s.state('s1') == 'up'
    down = route(s.proxy.config, KEYS, '--pool', 'p', '--down', 'b1')
    wait_until(lambda: s.owners() == down, 'the new owners')
    s.b1.health_status = 200
    s.proxy.wait_state('b1', 'up')
    assert s.owners() == route(s.proxy.config, KEYS, '--pool', 'p')
    load.wait_rounds(1)
    assert load.bad() == []
    wait_until(lambda: 'event="takeover ended"' in s.proxy.err() or 'event=failback' in s.proxy.err(), 'a line')


def test_a_pool_is_renamed(rig):
    """Its servers are others then: they are checked before they get keys."""
    s = site(rig)
    load = rig.load(s.proxy, KEYS, pace=0.004)
    home, checks = s.owners(), len(s.b1.checks)
    with tunnel(s) as t:
        for i in range(6):
            s.apply({'p': {'name': f'p{i}'}, 'web': {'pool': f'p{i}'}})
            assert s.said['added'] == [f'p{i}'] and s.owners() == home
            echo(t.sock, b'still there')
    load.wait_rounds(1)
    assert load.bad() == [] and load.served() == {k: {n} for k, n in home.items()}
    assert len(s.b1.checks) >= checks + 6


# --- requests and connections -------------------------------------------------------------------

def test_an_upload_to_a_server_that_leaves_ends_there(rig):
    s = site(rig)
    body = b'x' * 300_000
    with Client(s.ports[0]) as c:
        c.send(b'POST /up HTTP/1.1\r\nHost: t\r\nX-Key: %s\r\nContent-Length: %d\r\n\r\n'
               % (s.k1.encode(), len(body)) + body[:150_000])
        wait_until(lambda: '/up' in s.b1.targets(), 'the head')
        s.apply(gone_from(s, 'b1'))
        wait_until(lambda: s.get().text == 'b2', 'the new file')
        c.send(body[150_000:])
        assert c.answer().text == 'b1'
        assert c.request(fields={'X-Key': s.k1}).text == 'b2'
    assert s.b1.served()[-1].body == body


def test_keyless_tunnels_stay_with_a_server_that_has_left(rig):
    """Nobody else has a key of theirs; only a server that is out ends them."""
    s = Site(rig)
    s.base['p']['close_moved'] = 'always'
    del s.base['web']['key']
    s.start()
    tunnels = [tunnel(s) for _ in range(8)]
    assert all('/ws' in one.targets() for one in (s.b1, s.b2))
    s.apply(gone_from(s, 'b1'))
    wait_until(lambda: s.get().text == 'b2', 'the new file')
    for t in tunnels:
        echo(t.sock, b'still there')
    s.apply({})
    for t in tunnels:
        echo(t.sock, b'still there')
        t.close()


def test_a_tied_connection_stays_tied(rig):
    server = Windows(rig)
    r = rig.proxy([server.backend], pool={'health': {'check': 'off', 'path': None, 'timeout': None, 'fall': None,
                                                     'rise': None, 'interval': '1m'}, 'passive': 'off'})
    text = r.config.read_text()
    with Client(r.port) as one, Client(r.port) as two:
        for c, user in ((one, 'alice'), (two, 'bob')):
            assert login(c, user).text == user
        ties = [c.request('GET', '/p').get('X-Connection') for c in (one, two)]
        assert len(set(ties)) == 2
        for i in range(4):
            r.config.write_text(text.replace('name: p\n', f'name: p\n    retries: {i % 3}\n', 1))
            assert r.admin.request('POST', '/reload')[0] == 200
            for c, user, tie in zip((one, two), ('alice', 'bob'), ties):
                answer = c.request('GET', '/p')
                assert (answer.text, answer.get('X-Connection')) == (user, tie)
        assert get(r.port, '/p').status == 401


def test_pipelined_requests_at_a_listener_that_goes(rig):
    """The one in flight is answered, with Connection: close; the client may ask again for the others."""
    s = Site(rig)
    s.base['more'] = {'name': 'more', 'listen': f'127.0.0.1:{s.ports[1]}', 'pool': 'q'}
    gate = threading.Event()

    def wait(ex):
        if ex.request.target == '/wait':
            gate.wait(pace.upper(30))
        ex.answer()

    q1 = s.servers['q1']
    q1.handler = wait
    s.start()
    with Client(s.ports[1]) as c:
        c.send(b''.join(b'GET %s HTTP/1.1\r\nHost: t\r\n\r\n' % target for target in (b'/wait', b'/2', b'/3')))
        wait_until(lambda: q1.targets() == ['/wait'], 'the first')
        s.apply({'more': None})
        wait_until(lambda: not accepts(s.ports[1]), 'the listener to close')
        gate.set()
        answer = c.answer()
        assert answer.status == 200 and answer.get('Connection') == 'close'
        assert c.at_end()
    assert q1.targets() == ['/wait']


# --- listeners ----------------------------------------------------------------------------------

def test_a_kept_listener_becomes_one_of_mode_tcp_and_back(rig):
    s = site(rig)
    gate = threading.Event()

    def wait(ex):
        if ex.request.target == '/wait':
            gate.wait(pace.upper(30))
        ex.answer()
    s.b1.handler = s.b2.handler = wait
    with Client(s.ports[0]) as idle, Client(s.ports[0]) as busy:
        assert idle.request().status == 200
        busy.send_request(target='/wait', fields={'X-Key': s.k1})
        wait_until(lambda: '/wait' in s.b1.targets(), 'the request')
        s.apply(web(mode='tcp', key=None))
        wait_until(lambda: s.get().get('Via') is None, 'mode tcp')
        last = idle.request()
        assert last.get('Connection') == 'close' and last.get('Via') and idle.at_end()
        gate.set()
        answer = busy.answer()
        assert answer.get('Connection') == 'close' and answer.get('Via') and busy.at_end()
    with Client(s.ports[0]) as stream:
        assert stream.request().get('Via') is None
        s.apply({})
        wait_until(lambda: s.get().get('Via'), 'mode http')
        assert stream.request().get('Via') is None  # it is still what it was
    assert 'event="listener closed"' not in s.proxy.err()


def test_a_kept_listener_wants_proxy_heads_of_new_connections(rig):
    s = site(rig)
    head = b'PROXY TCP4 192.0.2.9 127.0.0.1 1234 80\r\n'
    with Client(s.ports[0]) as old:
        assert old.request(fields={'X-Key': s.k1}).status == 200
        s.apply(web(proxy_protocol='accept'))

        def new():
            with Client(s.ports[0]) as c:
                c.send(head)
                c.send_request(fields={'X-Key': s.k1})
                return c.answer().status
        wait_until(lambda: new() == 200, 'the new file')
        assert s.b1.served()[-1].get('X-Forwarded-For') == '192.0.2.9'
        assert old.request(fields={'X-Key': s.k1}).status == 200
        assert s.b1.served()[-1].get('X-Forwarded-For') == '127.0.0.1'
        with Client(s.ports[0]) as bare:
            bare.send_request()
            assert bare.at_end()
        s.apply({})
        wait_until(lambda: s.get().status == 200, 'the old file')


def test_two_listeners_swap_names_and_addresses(rig):
    """A socket goes by its address: what is swapped is what is served there."""
    s = Site(rig)
    s.base['more'] = {'name': 'more', 'listen': f'127.0.0.1:{s.ports[1]}', 'pool': 'q'}
    s.start()
    load = rig.load(s.proxy, KEYS, pace=0.004)
    swapped = {'web': {'listen': f'127.0.0.1:{s.ports[1]}'}, 'more': {'listen': f'127.0.0.1:{s.ports[0]}'}}
    names = {'web': {'name': 'more'}, 'more': {'name': 'web'}}
    with Client(s.ports[0]) as kept:
        for _ in range(4):
            s.apply(swapped)
            wait_until(lambda: s.get().text == 'q1' and s.get(port=s.ports[1]).text == 'b1', 'the swap')
            assert kept.request(fields={'X-Key': s.k1}).text == 'q1'
            s.apply(names)
            wait_until(lambda: s.get().text == 'b1' and s.get(port=s.ports[1]).text == 'q1', 'the other')
            assert kept.request(fields={'X-Key': s.k1}).text == 'b1'
            assert {one['name']: one['listen'] for one in s.admin.json('/status')['listeners']}['more'].endswith(
                str(s.ports[0]))
    load.wait_rounds(1)
    assert load.bad() == [] and 'event="listener closed"' not in s.proxy.err()


def test_unix_listeners_come_go_and_swap_paths(rig):
    s = Site(rig)
    paths = [rig.folder / n for n in ('one', 'two')]

    def unix(path, pool):
        return {'more': {'name': 'more', 'listen': f'unix:{path}', 'pool': pool}}
    s.start()
    for turn in range(6):
        here, gone = paths[turn % 2], paths[1 - turn % 2]
        s.apply(unix(here, 'q'))
        wait_until(lambda: get(str(here)).text == 'q1', 'the listener')
        assert not gone.exists()
        with Client(str(here)) as kept:
            assert kept.request().text == 'q1'
            s.apply(unix(here, 'p'))
            wait_until(lambda: kept.request(fields={'X-Key': s.k1}).text == 'b1', 'the pool')
        if turn % 3 == 2:
            s.apply({})
            wait_until(lambda: not here.exists(), 'the file to go')


# --- routes and keys ----------------------------------------------------------------------------

def issued_route(key):
    return web(pool=None, routes=[{'path': '/shop', 'pool': 'p', 'key': key}, {'pool': 'q'}])


def test_a_key_is_issued_by_a_route_over_reloads(rig):
    s = site(rig)
    s.apply(issued_route('issued:rp'))
    first = wait_until(lambda: (a := get(s.ports[0], '/shop')).get('Set-Cookie') and a, 'a key')
    cookie = first.get('Set-Cookie').split(';')[0]
    for edit in (p(retries=1), web(via='off'), p(timeouts={'body': '61s'})):
        s.apply(merged(issued_route('issued:rp'), edit))
        again = get(s.ports[0], '/shop/x', {'Cookie': cookie})
        assert (again.text, again.get('Set-Cookie')) == (first.text, None)
        assert get(s.ports[0], '/other').get('Set-Cookie') is None
    s.apply(issued_route('header:X-Key'))
    assert s.said['moved']['p'] == 1.0  # other keys are all keys
    wait_until(lambda: get(s.ports[0], '/shop').get('Set-Cookie') is None, 'the new file')


def test_a_plan_knows_the_keys_of_routes(rig, tmp_path):
    s = site(rig)
    before, after = tmp_path / 'before.yaml', tmp_path / 'after.yaml'
    edits = issued_route('issued:rp'), issued_route('header:X-Key')
    for path, edit in zip((before, after), edits):
        path.write_text(s.text(edit))
    done = harness.run('plan', before, after, '--json')
    offline = {one['name']: (one['change'], one['moved']) for one in json.loads(done.stdout)['pools']}
    assert offline['p'] == ('all_keys', 1.0) and offline['q'] == ('same', 0)
    s.apply(merged(edits[0], {'top': {'admin': {'write': 'on'}}}))
    status, _, text = s.admin.request('PUT', '/config?dry_run=1', body=after.read_text())
    assert status == 200
    assert {one['name']: (one['change'], one['moved']) for one in json.loads(text)['pools']} == offline


def test_forty_users_of_a_pool_that_grows(rig):
    """Whose key a new server gets loses the session, once; nobody else does."""
    backends, proxy = shops(rig, 'issued:rp')
    users = [User().login(proxy) for _ in range(40)]
    assert visit_all(users, proxy) == [0] * 40
    homes = {u: u.server for u in users}
    more = rig.backend('new', Shop())
    proxy.config.write_text(proxy.config.read_text() + f'      - {{name: new, address: {more.address}}}\n')
    assert proxy.admin.request('POST', '/reload')[0] == 200
    offline = route(proxy.config, [u.key() for u in users])
    moves = next(u for u in users if offline[u.key()] == 'new')
    wait_until(lambda: (moves.visit(proxy), moves.server)[1] == 'new', 'the new file')
    once = [int(offline[u.key()] == 'new') for u in users]
    assert 0 < sum(once) < 30
    assert visit_all(users, proxy) == once
    assert all(u.server == (homes[u] if not lost else 'new') for u, lost in zip(users, once))


# --- a stop -------------------------------------------------------------------------------------

def test_a_stop_while_a_file_is_read(rig):
    """Rings of four million points take their time; nobody waits for them."""
    s = site(rig, health=OFF)
    heavy = [s.entry(n, weight=256) for n in ('b1', 'b2', 's1', 'other')]
    s.proxy.config.write_text(s.text(p(health=OFF, ring={'vnodes': 4096}, backends=heavy)))
    said = []
    t = threading.Thread(target=lambda: said.append(s.admin.request('POST', '/reload')[0]))
    t.start()
    wait_until(lambda: s.admin.request('GET', '/healthz')[0] == 200, 'the interface')
    s.proxy.stop()
    t.join(pace.upper(20))
    assert said in ([503], [200]), said
