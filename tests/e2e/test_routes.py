"""Routes: which pool a request, or a stream, goes to, and what happens where none takes it."""

import shutil
import socket
import ssl
import subprocess

import pytest

import harness
import pace
from client import Client
from conftest import Rig
from harness import CHECK_OFF, free_port, run, wait_until
from test_sni import TlsServer, hello
from test_proxy_protocol import greeting

ROUTES = [
    {'host': 'API.example.com', 'path': '/v1', 'methods': ['GET', 'HEAD'], 'pool': 'read'},
    {'host': 'api.example.com', 'path': '=/v1/batch', 'pool': 'batch'},
    {'host': 'api.example.com', 'path': '/v1', 'pool': 'api', 'key': 'header:X-User'},
    {'host': 'api.example.com', 'path': '/a%2Fb', 'pool': 'batch'},
    {'host': '*.example.com', 'path': '/files/', 'pool': 'files'},
    {'host': '*.example.com', 'pool': 'tenants', 'key': 'host'},
    {'host': '[::1]', 'pool': 'files'},
    {'host': '127.0.0.9', 'pool': 'files'},
    {'path': '/ws', 'pool': 'ws'},
    {'path': '=/', 'methods': 'OPTIONS', 'pool': 'api'},
    {'host': 'shop.test', 'pool': 'shop'},
    {'methods': ['PURGE', 'OPTIONS'], 'pool': 'purge'},
    {'path': '/flaky', 'pool': 'flaky', 'key': 'header:X-Key'},
]
ONE = ('read', 'batch', 'files', 'tenants', 'shop', 'purge')  # pools of one backend of that name
CALM = {'health': CHECK_OFF, 'passive': 'off'}


def echo(ex):
    """Says 101, then echoes four bytes."""
    if ex.request.get('Upgrade') is None:
        ex.answer()
        return
    ex.send(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
    ex.send(ex.reader.exactly(4))
    ex.close()


def pool(name, *backends, **more):
    return {'name': name, **harness.merged(harness.quick_pool(), {**CALM, **more}),
            'backends': [harness.server_entry(b) for b in backends]}


class World:
    def __init__(self, rig):
        self.rig = rig
        self.flaky = [rig.backend(n) for n in ('f1', 'f2', 'f3')]
        pools = [pool(n, rig.backend(n)) for n in ONE]
        pools += [pool('api', *[rig.backend(n) for n in ('a1', 'a2', 'a3')]),
                  pool('ws', rig.backend('ws', echo)), pool('flaky', *self.flaky)]
        port, admin = free_port(), free_port()
        listener = {'name': 'web', 'listen': f'127.0.0.1:{port}', 'key': 'path', 'routes': ROUTES}
        text = harness.yaml_text({'workers': 2, 'admin': {'listen': f'127.0.0.1:{admin}'}},
                                 [listener], pools)
        self.proxy = rig.proxy_of(text, port, admin)
        self.port = port


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('routes'))
    try:
        yield World(rig)
    finally:
        rig.close()


def codes(world, code):
    return world.proxy.admin.metric('ringproxy_requests_total', listener='web', code=code)


# --- hosts, paths, methods --------------------------------------------------------------------

API, V1 = 'api.example.com', '/v1'

# host, target, method, who answers; None: 404
CASES = [
    (API, '/v1', 'GET', 'read'),
    (API, '/v1/', 'GET', 'read'),
    (API, '/v1/x/y', 'GET', 'read'),
    (API, '/v1?a=/b', 'GET', 'read'),
    (API, '/v1/x?y', 'HEAD', 'read'),
    (API, '/v1beta', 'GET', 'tenants'),
    (API, '/v', 'GET', 'tenants'),
    (API, '/V1', 'GET', 'tenants'),
    (API, '//v1', 'GET', 'tenants'),
    (API, '/%761', 'GET', 'tenants'),
    (API, '/v1%2Fx', 'GET', 'tenants'),
    (API, '/x/../v1', 'GET', 'tenants'),
    (API, '/x?/v1', 'GET', 'tenants'),
    ('API.Example.COM', '/v1', 'GET', 'read'),
    (f'{API}:8080', '/v1', 'GET', 'read'),
    (f'{API}.', '/v1', 'GET', 'read'),
    ('Api.example.com.:80', '/v1', 'GET', 'read'),
    (f'{API}:', '/v1', 'GET', 'read'),
    (API, '/v1/batch', 'POST', 'batch'),
    (API, '/v1/batch?x=1', 'POST', 'batch'),
    (API, '/v1/batch/', 'POST', 'a?'),
    (API, '/v1/batch/x', 'POST', 'a?'),
    (API, '/v1/batch', 'GET', 'read'),
    (API, '/v1/x', 'POST', 'a?'),
    (API, '/v1/x', 'get', 'a?'),
    (API, '/a%2Fb', 'GET', 'batch'),
    (API, '/a%2Fb/c', 'GET', 'batch'),
    (API, '/a%2fb', 'GET', 'tenants'),
    (API, '/a/b', 'GET', 'tenants'),
    (API, '/files/x', 'GET', 'files'),
    (API, '/files', 'GET', 'tenants'),
    ('a.b.example.com', '/files/', 'GET', 'files'),
    ('a.b.example.com', '/', 'GET', 'tenants'),
    ('A.B.EXAMPLE.com:1', '/v1', 'GET', 'tenants'),
    ('example.com', '/', 'GET', None),
    ('example.com.', '/v1', 'GET', None),
    ('xexample.com', '/', 'GET', None),
    ('api.example.com.evil.test', '/v1', 'GET', None),
    ('shop.test', '/', 'GET', 'shop'),
    ('www.shop.test', '/', 'GET', None),
    ('shop.test', '/ws', 'GET', 'ws'),
    ('other.test', '/ws/x', 'GET', 'ws'),
    ('other.test', '/wsx', 'GET', None),
    ('[::1]', '/', 'GET', 'files'),
    ('[::1]:8080', '/', 'GET', 'files'),
    ('[::2]', '/', 'GET', None),
    ('127.0.0.9:80', '/', 'GET', 'files'),
    ('127.0.0.8', '/', 'GET', None),
    ('other.test', '/', 'PURGE', 'purge'),
    ('other.test', '/', 'purge', None),
    ('other.test', '/', 'POST', None),
    ('other.test', '*', 'OPTIONS', 'purge'),
    (API, '*', 'OPTIONS', 'tenants'),
    ('other.test', '/', 'OPTIONS', 'a?'),
    # the authority of an absolute form counts, and its empty path is "/"
    (API, f'http://{API}/v1/x', 'GET', 'read'),
    (API, f'http://{API.upper()}:80/v1', 'GET', 'read'),
    ('shop.test', 'http://shop.test', 'GET', 'shop'),
    ('other.test', 'http://other.test', 'OPTIONS', 'a?'),
    ('shop.test', 'http://shop.test?/v1', 'GET', 'shop'),
]


def who(answer):
    return answer.get('X-Backend') if answer.status == 200 else answer.status


@pytest.mark.parametrize('host,target,method,expected', CASES,
                         ids=[f'{m} {h} {t}' for h, t, m, _ in CASES])
def test_a_request_goes_to_the_first_route_that_matches(world, host, target, method, expected):
    with Client(world.port) as c:
        got = who(c.request(method, target, host=host))
    if expected == 'a?':
        assert got in ('a1', 'a2', 'a3')
    else:
        assert got == (expected or 404)
    if '://' in target or target == '*' and host == API:
        return
    # what the commands say of the same request
    arguments = ['--listener', 'web', '--host', host, '--path', target, '--method', method, 'k']
    done = run('route', '-c', world.proxy.config, *arguments)
    path = target.replace('%', '%25').split('?')[0]
    status, _, text = world.proxy.admin.request(
        'GET', f'/route?listener=web&host={host}&path={path}&method={method}&key=k')
    if expected is None:
        assert (done.returncode, status) == (2, 404), (done, text)
        assert done.stderr == 'ringproxy route: no route of listener web matches\n'
    else:
        server = done.stdout.rstrip('\n').split('\t')[1]
        assert server[0] == 'a' if expected == 'a?' else server == expected
        assert status == 200 and f'"server":"{server}"' in text, text


def test_http_1_0_without_a_host_has_none(world):
    with Client(world.port) as c:
        assert who(c.request('GET', '/ws', version='HTTP/1.0', host=None)) == 'ws'
    with Client(world.port) as c:
        answer = c.request('GET', V1, version='HTTP/1.0', host=None)
        assert answer.status == 404 and c.at_end()


# --- no route ---------------------------------------------------------------------------------

def test_no_route_is_a_404_on_a_connection_that_stays(world):
    before = codes(world, 404)
    with Client(world.port) as c:
        for _ in range(3):
            answer = c.request('GET', '/', host='nobody.test')
            assert answer.status == 404 and answer.text == '404 Not Found\n'
            assert answer.get('Connection') is None
            assert who(c.request('GET', '/', host='shop.test')) == 'shop'
        answer = c.request('HEAD', '/', host='nobody.test')
        assert answer.status == 404 and answer.get('Content-Length') == '14'
        assert who(c.request('GET', '/', host='shop.test')) == 'shop'
    assert codes(world, 404) == before + 4


@pytest.mark.parametrize('body', [b'x' * 10, b'x' * 1000000])
def test_a_404_before_the_body_ends_the_connection(world, body):
    with Client(world.port) as c:
        c.send_request('POST', '/', host='nobody.test', fields=[('Content-Length', len(body))])
        answer = c.answer()
        assert answer.status == 404 and answer.get('Connection') == 'close'
        try:
            c.send(body)
        except OSError:
            pass
        assert c.at_end()


def test_max_forwards_comes_before_routes(world):
    with Client(world.port) as c:
        answer = c.request('OPTIONS', '/none', host='nobody.test', fields=[('Max-Forwards', '0')])
        assert answer.status == 200 and answer.get('X-Backend') is None


# --- one connection, several pools ------------------------------------------------------------

def test_one_connection_goes_to_many_pools(world):
    with Client(world.port) as c:
        for _ in range(5):
            for host, target, method, expected in CASES[:40]:
                if expected in ONE:
                    assert who(c.request(method, target, host=host)) == expected, (host, target)


def test_pipelined_requests_are_answered_in_order(world):
    picked = [(h, t, e) for h, t, m, e in CASES if m == 'GET' and e != 'a?' and ':/' not in t] * 3
    with Client(world.port) as c:
        c.send(b''.join(f'GET {t} HTTP/1.1\r\nHost: {h}\r\n\r\n'.encode() for h, t, _ in picked))
        for h, t, expected in picked:
            assert who(c.answer()) == (expected or 404), (h, t)


def test_a_route_has_a_key_of_its_own(world):
    users = [f'u{i}' for i in range(20)]
    owners = harness.route(world.proxy.config, users, '--pool', 'api')
    assert len(set(owners.values())) == 3
    before = world.proxy.admin.metric('ringproxy_keyless_total', listener='web')
    with Client(world.port) as c:
        for user, owner in owners.items():
            answer = c.request('PUT', f'/v1/{user}x', host=API, fields=[('X-User', user)])
            assert who(answer) == owner
        assert world.proxy.admin.metric('ringproxy_keyless_total', listener='web') == before
        # the listener's key, `path`, is no fallback of the route's
        c.request('PUT', '/v1/x', host=API)
        assert world.proxy.admin.metric('ringproxy_keyless_total', listener='web') == before + 1


def test_an_upgrade_goes_by_its_route(world):
    with Client(world.port) as c:
        c.send_request('GET', '/ws/chat', fields={'Connection': 'upgrade', 'Upgrade': 'echo'})
        assert c.head().status == 101
        c.send(b'ping')
        assert c.reader.exactly(4) == b'ping' and c.at_end()


def test_retries_stay_in_the_pool_of_the_route(world):
    keys = [f'k{i}' for i in range(12)]
    owners = harness.route(world.proxy.config, keys, '--pool', 'flaky')
    without = harness.route(world.proxy.config, keys, '--pool', 'flaky', '--down', 'f1')
    assert 'f1' in owners.values()
    before = world.proxy.admin.metric('ringproxy_retries_total', pool='flaky')
    world.flaky[0].stop()
    with Client(world.port) as c:
        for key in keys:
            assert who(c.request('GET', '/flaky', fields=[('X-Key', key)])) == without[key]
    assert world.proxy.admin.metric('ringproxy_retries_total', pool='flaky') > before
    world.flaky[0].start()
    with Client(world.port) as c:
        for key in keys:
            assert who(c.request('GET', '/flaky', fields=[('X-Key', key)])) == owners[key]


# --- what operators see -----------------------------------------------------------------------

def test_status_tells_the_routes(world):
    listener, = world.proxy.admin.json('/status')['listeners']
    assert listener['pool'] is None and len(listener['routes']) == len(ROUTES)
    assert listener['routes'][0] == {'pool': 'read', 'host': 'api.example.com', 'path': '/v1',
                                     'methods': ['GET', 'HEAD']}
    assert listener['routes'][1]['path'] == '=/v1/batch'
    assert listener['routes'][9] == {'pool': 'api', 'path': '=/', 'methods': ['OPTIONS']}


def test_metrics_count_the_requests_of_each_route(world):
    def counted():
        return {k: v for k, v in world.proxy.admin.metrics().items()
                if k.startswith('ringproxy_route_requests_total')}
    before = counted()
    assert len(before) == len(ROUTES)
    with Client(world.port) as c:
        for _ in range(3):
            c.request('GET', '/v1/x', host=API)
        c.request('PURGE', '/', host='other.test')
        c.request('GET', '/', host='nobody.test')
    more = {k: v - before[k] for k, v in counted().items() if v > before[k]}
    name = 'ringproxy_route_requests_total{listener="web",route='
    assert more == {name + '"api.example.com/v1 GET,HEAD",pool="read"}': 3,
                    name + '"PURGE,OPTIONS",pool="purge"}': 1}


def test_check_prints_the_routes(world):
    done = run('check', '-c', world.proxy.config)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert f'listener web: http on 127.0.0.1:{world.port}, 13 routes' in lines
    assert '  api.example.com/v1 GET,HEAD -> pool read' in lines
    assert '  api.example.com=/v1/batch -> pool batch' in lines
    assert '  PURGE,OPTIONS -> pool purge' in lines


@pytest.mark.parametrize('arguments,message', [
    (['--host', 'a', 'k'], '--host, --path, --method and --sni need --listener, whose routes they '
                           'choose from'),
    (['--listener', 'web', '--pool', 'api', 'k'], '--pool and --listener exclude each other'),
    (['--listener', 'web', '--sni', 'a', 'k'],
     'listener web has mode: http, --sni means nothing there'),
    (['--listener', 'web', '--path', 'v1', 'k'], "--path v1 does not begin with '/'"),
])
def test_route_refuses_what_means_nothing(world, arguments, message):
    done = run('route', '-c', world.proxy.config, *arguments)
    assert done.returncode == 2 and done.stderr.startswith(f'ringproxy route: {message}\n')


def test_route_knows_its_listeners(world):
    done = run('route', '-c', world.proxy.config, '--listener', 'none', 'k')
    assert done.returncode == 2 and 'has no listener none' in done.stderr
    admin = world.proxy.admin
    assert admin.json('/route?listener=none&key=k', expect=404)['error'] == 'no such listener'
    assert admin.json('/route?listener=web&key=k', expect=404)['error'] == \
        'no route of this listener matches'
    for target in ('/route?listener=web', '/route?key=k', '/route?listener=web&pool=api&key=k'):
        assert 'required' in admin.json(target, expect=400)['error']


# --- PROXY heads ------------------------------------------------------------------------------

def test_each_pool_gets_the_head_that_it_asks_for(rig):
    plain, told = rig.backend('plain'), rig.tcp('told')
    port, admin = free_port(), free_port()
    routes = [{'path': '/told', 'pool': 'told'}, {'pool': 'plain'}]
    listener = {'name': 'web', 'listen': f'127.0.0.1:{port}', 'routes': routes}
    text = harness.yaml_text({'admin': {'listen': f'127.0.0.1:{admin}'}}, [listener],
                             [pool('plain', plain), pool('told', told, proxy_protocol='v1')])
    rig.proxy_of(text, port, admin)
    with Client(port) as c:
        assert who(c.request('GET', '/')) == 'plain'
        c.send_request('GET', '/told')
        wait_until(lambda: told.connections, 'a connection to told')
    with Client(port) as c:
        assert who(c.request('GET', '/')) == 'plain'


# --- mode tcp ---------------------------------------------------------------------------------

def tcp_proxy(rig, routes, pools, **listener):
    port, admin = free_port(), free_port()
    entry = {'name': 'tls', 'listen': f'127.0.0.1:{port}', 'mode': 'tcp', 'routes': routes,
             **listener}
    text = harness.yaml_text({'workers': 2, 'admin': {'listen': f'127.0.0.1:{admin}'}}, [entry],
                             pools)
    proxy = rig.proxy_of(text, None, admin)
    proxy.port = port
    return proxy


SNI = [{'sni': 'Shop.example', 'pool': 'p1'}, {'sni': '*.shop.example', 'pool': 'p2'}]


def greeted(port, data):
    with Client(port) as c:
        c.send(data)
        return greeting(c.reader)


def test_streams_go_by_server_name(rig):
    proxy = tcp_proxy(rig, [*SNI, {'pool': 'p3'}],
                      [pool(f'p{i}', rig.tcp(f'b{i}')) for i in (1, 2, 3)])
    for name, expected in [('shop.example', 'b1'), ('SHOP.example', 'b1'),
                           ('a.shop.example', 'b2'), ('a.b.Shop.Example', 'b2'),
                           ('xshop.example', 'b3'), ('example', 'b3'), (None, 'b3')]:
        assert greeted(proxy.port, hello(name)) == expected, name
        if name:
            done = run('route', '-c', proxy.config, '--listener', 'tls', '--sni', name, 'k')
            assert done.stdout == f'k\t{expected}\n'
            assert proxy.admin.json(f'/route?listener=tls&sni={name}&key=k')['server'] == expected
    assert greeted(proxy.port, b'SSH-2.0-x\r\n') == 'b3'
    done = run('route', '-c', proxy.config, '--listener', 'tls', '--path', '/', 'k')
    assert done.returncode == 2 and '--sni alone chooses a route' in done.stderr


def test_a_stream_without_a_route_is_closed(rig):
    proxy = tcp_proxy(rig, SNI, [pool(f'p{i}', rig.tcp(f'b{i}')) for i in (1, 2)],
                      timeouts={'request': pace.ms(pace.stretched(0.5))})
    for data in (hello('other.example'), hello(None), b'SSH-2.0-x\r\n', b''):
        with Client(proxy.port) as c:
            c.send(data)  # nothing: until the time for a ClientHello is over
            assert c.at_end()
    assert greeted(proxy.port, hello('shop.example')) == 'b1'


@pytest.mark.skipif(not shutil.which('openssl') or not shutil.which('curl'),
                    reason='needs openssl and curl')
def test_real_tls_clients_go_by_server_name(rig):
    servers = {n: TlsServer(rig.folder, n) for n in ('b1', 'b2')}
    for one in servers.values():
        rig.daemons.append(one.start())
    for one in servers.values():
        wait_until(lambda one=one: harness.accepts(one.port), one.name)
    routes = [{'sni': 'a.shop.example', 'pool': 'p1'}, {'sni': '*.shop.example', 'pool': 'p2'}]
    proxy = tcp_proxy(rig, routes, [pool('p1', servers['b1']), pool('p2', servers['b2'])])
    for name, owner in (('a.shop.example', 'b1'), ('b.shop.example', 'b2')):
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{proxy.port}',
                               '-servername', name, '-verify_hostname', name,
                               '-verify_return_error', '-CAfile', str(servers[owner].certificate)],
                              input=b'', capture_output=True, timeout=pace.upper(60), check=False)
        assert done.returncode == 0, done.stderr
        assert f'CN = {owner}'.encode() in done.stdout + done.stderr
        done = subprocess.run(['curl', '-sS', '--cacert', str(servers[owner].certificate),
                               '--connect-to', f'{name}:443:127.0.0.1:{proxy.port}',
                               f'https://{name}/'], capture_output=True, timeout=pace.upper(60),
                              check=False)
        assert done.returncode == 0 and b'Ciphers supported' in done.stdout, done.stderr
    context = ssl.create_default_context()
    with socket.create_connection(('127.0.0.1', proxy.port), timeout=pace.upper(10)) as s:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(s, server_hostname='other.example')
