"""`key: issued:NAME`: the proxy makes the key of a client that has none, and a cookie brings it back."""

import http.cookiejar
import platform
import re
import secrets
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

import pace
from client import Client, get
from harness import CHECK_OFF, free_port, route, run, wait_until

CALM = {'health': CHECK_OFF, 'passive': 'off', 'failback': None}
NAMES = ('b1', 'b2', 'b3', 'b4', 'b5')
TRAP = ['header:X-Session', 'cookie:sid', 'source_ip']
PLAIN = re.compile(r'rp=([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax\Z')
HOME = 'http://127.0.0.1'


def value_of(answer):
    """The issued key of an answer that sets exactly one cookie, with the attributes of the default."""
    [cookie] = answer.all('Set-Cookie')
    assert answer.all('Cache-Control') == ['private'], answer
    assert PLAIN.match(cookie), cookie
    return PLAIN.match(cookie).group(1)


# --- forty users of five servers that keep sessions in memory ----------------------------------

def cookies(request):
    pairs = [c.split('=', 1) for line in request.all('Cookie') for c in line.split('; ')]
    return dict(p for p in pairs if len(p) == 2)


class Shop:
    """A session server: logs users in, and knows them by the cookie `sid` that it has set."""

    def __init__(self):
        self.sessions, self.lock = {}, threading.Lock()

    def __call__(self, ex):
        ex.read_body()
        with self.lock:
            session = self.sessions.get(cookies(ex.request).get('sid'))
            if ex.request.target == '/login':
                sid = secrets.token_hex(16)
                self.sessions[sid] = {'visits': 0}
                ex.answer(fields=[('Set-Cookie', f'sid={sid}; Path=/; HttpOnly')])
            elif ex.request.target == '/':
                ex.answer()
            elif session is None:
                ex.answer(401)
            else:
                session['visits'] += 1
                ex.answer()


class User:
    """A browser, as far as cookies go."""

    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                                  urllib.request.HTTPCookieProcessor(self.jar))
        self.losses = 0
        self.server = None  # that knows the user

    def ask(self, proxy, path, body=None):
        try:
            with self.opener.open(f'{HOME}:{proxy.port}{path}', body, pace.upper(20)) as answer:
                self.server = answer.read().decode()
                return answer.status
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code

    def login(self, proxy):
        assert self.ask(proxy, '/') == 200
        assert self.ask(proxy, '/login', b'') == 200
        return self

    def visit(self, proxy):
        """Logs in again if the session is lost."""
        status = self.ask(proxy, '/cart')
        if status == 401:
            self.losses += 1
            assert self.ask(proxy, '/login', b'') == 200
        else:
            assert status == 200

    def key(self):
        return next(c.value for c in self.jar if c.name == 'rp')


def shops(rig, key):
    backends = {n: rig.backend(n, Shop()) for n in NAMES}
    # a failed POST is not sent again, so a dead server is to be found by its check
    return backends, rig.proxy(backends.values(), listener={'key': key}, pool={'passive': 'off'})


def visit_all(users, proxy, times=3):
    for _ in range(times):
        for u in users:
            u.visit(proxy)
    return [u.losses for u in users]


def test_forty_users_keep_their_sessions(rig):
    backends, proxy = shops(rig, ['header:X-Session', 'issued:rp'])
    users = [User().login(proxy) for _ in range(40)]
    assert visit_all(users, proxy) == [0] * 40
    homes = {u: u.server for u in users}
    assert len(set(homes.values())) >= 4, homes  # of five: fewer once in 10^6 times
    offline = route(proxy.config, [u.key() for u in users])
    assert all(homes[u] == offline[u.key()] for u in users)
    # one server dies, with the sessions that it had: its users lose theirs once, others none
    dead = users[0].server
    backends[dead].stop()
    proxy.wait_state(dead, 'down')
    once = [int(homes[u] == dead) for u in users]
    assert visit_all(users, proxy) == once
    assert all(u.server == homes[u] or homes[u] == dead for u in users)
    # the key is in the client alone: it survives a restart, and every proxy makes the same of it
    proxy.restart()
    proxy.wait_state(dead, 'down')
    assert visit_all(users, proxy) == once
    port, admin = free_port(), free_port()
    text = proxy.config.read_text().replace(str(proxy.port), str(port))
    other = rig.proxy_of(text.replace(str(proxy.admin.port), str(admin)), port, admin)
    other.wait_state(dead, 'down')
    assert visit_all(users, other) == once
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 0


def test_the_old_list_loses_most_of_them(rig):
    _, proxy = shops(rig, TRAP)
    users = [User().login(proxy) for _ in range(40)]
    assert len({u.server for u in users}) == 1  # they share an address
    # 32 of 40 on average; fewer than 20 once in 10^6 times
    assert sum(visit_all(users, proxy, 1)) >= 20


def test_the_jar_of_curl(rig):
    curl = shutil.which('curl')
    if not curl:
        pytest.skip('no curl')
    _, proxy = shops(rig, 'issued:rp')
    jar = rig.folder / 'jar'
    names = set()
    for _ in range(5):
        done = subprocess.run([curl, '-sS', '--noproxy', '*', '-c', jar, '-b', jar,
                               f'{HOME}:{proxy.port}/'], capture_output=True, check=True,
                              timeout=pace.upper(20))
        names.add(done.stdout.decode())
    lines = [line.split('\t') for line in jar.read_text().splitlines() if '\trp\t' in line]
    assert len(lines) == 1 and lines[0][:4] == ['#HttpOnly_127.0.0.1', 'FALSE', '/', 'FALSE'], lines
    assert names == {route(proxy.config, [lines[0][-1]])[lines[0][-1]]}


# --- the value, and who gets one ---------------------------------------------------------------

def three(rig, handler=None, pool=None, **listener):
    backends = [rig.backend(n, handler) for n in ('b1', 'b2', 'b3')]
    return rig.proxy(backends, pool={**CALM, **(pool or {})}, listener={'key': 'issued:rp', **listener})


def test_each_first_request_has_a_key_of_its_own_and_goes_by_it(rig):
    proxy = three(rig)
    served = {}
    for _ in range(4):  # the workers' stocks are renewed meanwhile: they hold 256 each
        with Client(proxy.port) as c:
            for _ in range(4):  # pipelined: each is a first request
                for _ in range(50):
                    c.send_request()
                for _ in range(50):
                    answer = c.answer()
                    served[value_of(answer)] = answer.text
    assert len(served) == 800
    assert served == route(proxy.config, list(served))
    ones = sum(bin(int(v, 16)).count('1') for v in served)
    assert abs(ones - 800 * 64) < 7 * 160, ones  # half of 102,400 bits, which scatters by 160
    # the key comes back: the same server, and no cookie
    with Client(proxy.port) as c:
        for value, name in list(served.items())[:50]:
            answer = c.request(fields={'Cookie': f'a=b; rp={value}'})
            assert (answer.text, answer.all('Set-Cookie'), answer.get('Cache-Control')) == (name, [], None)
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 0


def test_who_has_a_key_gets_none(rig):
    proxy = three(rig, key=['header:X-Session', 'issued:rp'])
    keys = [f'k{n}' for n in range(20)]
    homes = route(proxy.config, keys + ['x' * 3000, '"%00 ,x"'])
    with Client(proxy.port) as c:
        for k in homes:
            for fields in ([('X-Session', k)], [('Cookie', f'rp={k}')],
                           [('Cookie', f'RP=no; rpx=no; rp={k}; rp=no'), ('Cookie', 'rp=no')],
                           [('X-Session', ''), ('Cookie', f'rp={k}')],
                           [('X-Session', k), ('Cookie', 'rp=')]):
                answer = c.request(fields=fields)
                assert (answer.text, answer.all('Set-Cookie')) == (homes[k], []), fields
        # an empty value is none, and the first cookie of the name counts
        served = {}
        for fields in ({'X-Session': ''}, {'Cookie': 'rp='}, {'Cookie': 'rp=; rp=k1'},
                       {'Cookie': 'RP=k1'}, {'rp': 'k1'}, {'Cookie': 'sid=1'}):
            answer = c.request(fields=fields)
            served[value_of(answer)] = answer.text
        assert len(served) == 6 and served == route(proxy.config, list(served))


def test_the_server_hears_of_the_key_from_the_client_alone(rig):
    seen = []

    def tell(ex):
        seen.append(ex.request.all('Cookie'))
        ex.answer()

    proxy = three(rig, tell)
    with Client(proxy.port) as c:
        value = value_of(c.request(fields={'Cookie': 'a=b'}))
        c.request(fields={'Cookie': f'a=b; rp={value}'})
    assert seen == [['a=b'], [f'a=b; rp={value}']]


def say(ex):
    """As the target says."""
    kind = ex.request.target.strip('/')
    if kind == 'early':
        ex.send(b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
        ex.answer()
    elif kind == 'upgrade':
        ex.send(b'HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
        ex.send(ex.reader.exactly(4))
        ex.close()
    elif kind == 'close':
        ex.read_body()
        ex.send(b'HTTP/1.0 200 OK\r\n\r\nto the end')
        ex.close()
    elif kind == 'cached':
        ex.answer(fields=[('Cache-Control', 'public, max-age=60')])
    else:
        ex.answer(int(kind or 200))


def test_every_answer_of_a_server_brings_it(rig):
    proxy = three(rig, say)
    for status in (200, 204, 302, 304, 404, 500, 503):
        for version in ('HTTP/1.1', 'HTTP/1.0'):
            for method in ('GET', 'HEAD', 'POST', 'OPTIONS'):
                with Client(proxy.port) as c:
                    answer = c.request(method, f'/{status}', version=version)
                    assert answer.status == status
                    value_of(answer)


def test_final_answers_bring_it_and_interim_ones_do_not(rig):
    proxy = three(rig, say)
    interim = []
    with Client(proxy.port) as c:
        c.send_request('GET', '/early')
        value_of(c.answer('GET', interim))
        assert [a.status for a in interim] == [100, 103]
        assert [a.all('Set-Cookie') + a.all('Cache-Control') for a in interim] == [[], []]
        answer = c.request('GET', '/cached')
        assert PLAIN.match(answer.get('Set-Cookie'))
        assert answer.all('Cache-Control') == ['public, max-age=60', 'private']
        answer = c.request('GET', '/close')
        assert answer.text == 'to the end' and value_of(answer)
        answer = c.request('GET', '/upgrade', {'Connection': 'Upgrade', 'Upgrade': 'echo'})
        assert answer.status == 101 and PLAIN.match(answer.get('Set-Cookie')), answer
        c.send(b'ping')
        assert c.reader.exactly(4) == b'ping'


def test_answers_of_the_proxy_bring_none(rig):
    proxy = rig.proxy([{'name': 'b1', 'address': f'127.0.0.1:{free_port()}'}],
                      pool={**CALM, 'retries': 0}, listener={'key': 'issued:rp'})
    for status, more in ((502, {}), (200, {'method': 'OPTIONS', 'fields': {'Max-Forwards': '0'}}),
                         (400, {'host': None})):
        with Client(proxy.port) as c:
            answer = c.request(**more)
            assert (answer.status, answer.all('Set-Cookie')) == (status, []), answer
    proxy.post('b1', 'drain')
    answer = get(proxy.port)
    assert (answer.status, answer.all('Set-Cookie')) == (503, [])


def test_a_retry_keeps_the_key(rig):
    def reset_all(ex):
        ex.reset()

    backends = [rig.backend('b1', reset_all), rig.backend('b2'), rig.backend('b3')]
    proxy = rig.proxy(backends, pool=CALM, listener={'key': 'issued:rp'})
    served = {}
    for _ in range(60):
        answer = get(proxy.port)
        served[value_of(answer)] = answer.text
    homes = route(proxy.config, list(served))
    assert served == route(proxy.config, list(served), '--down', 'b1')
    assert len([v for v in homes if homes[v] == 'b1']) >= 5  # of 20 on average
    assert len(backends[0].served()) == len([v for v in homes if homes[v] == 'b1'])


def test_a_login_by_connection_stays_where_it_began(rig):
    proxy = three(rig, lambda ex: ex.answer(401, fields=[('WWW-Authenticate', 'NTLM')]))
    with Client(proxy.port) as c:  # no cookies
        first = c.request()
        value_of(first)
        for _ in range(10):
            answer = c.request()
            assert (answer.text, answer.all('Set-Cookie')) == (first.text, [])


# Runs a program to which getrandom() says EAGAIN, as it does early after a boot (seccomp).
WITHOUT_RANDOMNESS = """
import ctypes, os, struct, sys
getrandom, argv = int(sys.argv[1]), sys.argv[2:]
code = struct.pack('HBBI' * 4, 0x20, 0, 0, 0, 0x15, 0, 1, getrandom, 6, 0, 0, 0x5000b, 6, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(code)
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 4, ctypes.addressof(code)))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, filter) == 0
os.execv(argv[0], argv)
"""


def test_without_random_bytes_requests_are_keyless(rig):
    number = {'x86_64': 318, 'aarch64': 278}.get(platform.machine())
    if not number:
        pytest.skip('the number of getrandom() is not known')
    proxy = rig.proxy([rig.backend(n) for n in NAMES], pool=CALM, listener={'key': 'issued:rp'}, start=False)
    proxy.argv = [sys.executable, '-c', WITHOUT_RANDOMNESS, str(number), *proxy.argv]
    proxy.start()
    with Client(proxy.port) as c:
        for n in range(5):
            answer = c.request()
            assert (answer.status, answer.all('Set-Cookie')) == (200, [])
        answer = c.request(fields={'Cookie': 'rp=k1'})
        assert answer.text == route(proxy.config, ['k1'])['k1']
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 5
    event = 'level=warn event="no key issued" listener=web reason="getrandom: '
    wait_until(lambda: event in proxy.err(), 'the log to tell')


# --- attributes --------------------------------------------------------------------------------

def attributes(answer):
    [cookie] = answer.all('Set-Cookie')
    return cookie.split('; ')[1:]


def test_attributes_are_those_of_the_configuration(rig):
    proxy = three(rig, issued_cookie={'max_age': '720h', 'domain': 'shop.example', 'path': '/a',
                                      'same_site': 'strict'})
    assert attributes(get(proxy.port)) == ['Path=/a', 'Domain=shop.example', 'Max-Age=2592000',
                                           'HttpOnly', 'SameSite=Strict']


@pytest.mark.parametrize('listener', [{'issued_cookie': {'same_site': 'none'}},
                                      {'key': 'issued:__Host-rp'}], ids=str)
def test_what_browsers_take_with_secure_alone_is_secure(rig, listener):
    answer = get(three(rig, **listener).port)
    same_site = 'None' if 'issued_cookie' in listener else 'Lax'
    assert attributes(answer) == ['Path=/', 'HttpOnly', f'SameSite={same_site}', 'Secure']


def test_a_client_that_came_by_https_gets_a_secure_one(rig):
    proxy = three(rig, trusted_proxies=['127.0.0.1'])
    plain = ['Path=/', 'HttpOnly', 'SameSite=Lax']

    def ask(proto, **more):
        with Client(proxy.port, **more) as c:
            return attributes(c.request(fields={'X-Forwarded-Proto': proto} if proto else {}))

    assert ask('https') == ask('HTTPS') == ask('wss') == ask('https, http') == [*plain, 'Secure']
    assert ask('http') == ask('http, https') == ask('') == ask(None) == plain
    assert ask('https', source='127.0.0.2') == plain  # whom nobody trusts


# --- mistakes ----------------------------------------------------------------------------------

def test_a_server_that_sets_the_cookie_itself_is_told_of(rig):
    def own(ex):
        ex.answer(fields=[('set-cookie', 'rp=mine; Path=/'), ('Set-Cookie', 'b=1')])

    proxy = three(rig, own)
    for fields in ({}, {'Cookie': 'rp=k1'}, {}):
        answer = get(proxy.port, fields=fields)
        assert answer.all('Set-Cookie') == ['rp=mine; Path=/', 'b=1'] and not answer.get('Cache-Control')
    event = 'event="servers set the cookie of an issued key" listener=web cookie=rp server=b'
    wait_until(lambda: event in proxy.err(), 'the log to tell')
    assert proxy.err().count(event) <= 2  # once a worker


def test_check_and_the_log_warn_of_keys_that_change(rig):
    proxy = rig.proxy([rig.backend('b1')], listener={'key': TRAP})
    done = run('check', '-c', proxy.config)
    assert done.returncode == 0 and 'valid, 1 listener, 1 pool' in done.stdout
    place, _, text = done.stderr.partition(': listeners[0].key[2]: ')
    assert re.fullmatch(re.escape(str(proxy.config)) + r':\d+:\d+', place), done.stderr
    assert text.startswith('warning: a client that begins to send header:X-Session or cookie:sid, ')
    assert text.endswith('with issued:NAME alone it stays where it began\n')
    wait_until(lambda: f'level=warn event=configuration reason="{place}' in proxy.err(), 'the log to warn')
    better = rig.proxy([rig.backend('b2')], listener={'key': ['header:X-Session', 'issued:rp']})
    done = run('check', '-c', better.config)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'event=configuration' not in better.err()
