"""Who is to blame for a try that failed: a page that breaks on every server takes none of them down,
and a server that breaks whatever it is asked for goes down as fast as ever."""

import contextlib
import threading
import time

import pytest

import pace
from client import Broken, Client, Reader, get
from harness import CHECK_OFF, wait_until
from scripted import reset
from test_failover import Trio
from test_http import UPGRADE, tunnel
from test_tcp import Conn, source_of, tcp_proxy

FAILURES = 3
SCRIPT = {'check': 'tcp', 'path': None, 'expect': 'HTTP/1.1 200',
          'send': 'GET /healthz HTTP/1.0\r\nUser-Agent: ringproxy/\r\n\r\n'}
# Only live traffic, and checks that it asks for, can take a server down.
CHECKS = {
    'http': {'interval': '1s', 'fall': 100},
    'script': {**SCRIPT, 'interval': '1s', 'fall': 100},
    'tcp': {'check': 'tcp', 'path': None, 'interval': '1h', 'fall': 100},
    'off': {**CHECK_OFF, 'interval': '1h'},
}
LOOKS = ('http', 'script')  # at the answer
BLIND = ('tcp', 'off')
OK = b'HTTP/1.1 200 OK\r\n'


def pool(check, health=None, **more):
    return {'health': {**CHECKS[check], **(health or {})}, 'passive': {'failures': FAILURES}, **more}


# --- pages that break on every server ---------------------------------------------------------

def says(*parts):
    def handler(ex):
        ex.read_body()
        ex.send(b''.join(parts))
        ex.wait_peer_closed()
    return handler


def then_resets(*parts):
    def handler(ex):
        ex.read_body()
        ex.send(b''.join(parts))
        ex.reset()
    return handler


def hangs(ex):
    ex.read_body()
    ex.wait_peer_closed()


def closes(ex):
    ex.read_body()
    ex.close()


ODD = {
    'two lengths': says(OK, b'Content-Length: 2\r\nContent-Length: 2\r\n\r\nok'),
    'length and coding': says(OK, b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n'
                                  b'2\r\nok\r\n0\r\n\r\n'),
    'chunked by 1.0': says(b'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
    'bare LF': says(b'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'),
    'status 999': says(b'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n'),
    'no head': says(b'ERROR: no such page\r\n'),
    'folded': says(OK, b'X-Fold: a\r\n b\r\nContent-Length: 0\r\n\r\n'),
    'long head': says(OK, b'X: ', b'x' * 70000, b'\r\n\r\n'),
    'switch unasked': says(b'HTTP/1.1 101 Now\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    'interim for ever': says(b'HTTP/1.1 103 Wait\r\n\r\n' * 2000),
    'reset': then_resets(),
    'closed': closes,
    'half a head': then_resets(b'HTTP/1.1 200 '),
    'reset behind a hint': then_resets(b'HTTP/1.1 103 Wait\r\n\r\n'),
    'silence': hangs,
    # behind the head
    'bad chunk': says(OK, b'Transfer-Encoding: chunked\r\n\r\nno size\r\n'),
    'bad chunk later': says(OK, b'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nno size\r\n'),
    'cut body': then_resets(OK, b'Content-Length: 10\r\n\r\nhalf'),
    'quiet page': says(OK, b'Content-Length: 10\r\n\r\nhalf'),
    'quiet stream': says(OK, b'Content-Type: text/event-stream\r\n\r\ndata: 1\n\n'),
}


def page(ex):
    """Odd below /odd, fine elsewhere."""
    if ex.request.target.startswith('/odd/'):
        ODD[ex.request.target[5:].replace('-', ' ')](ex)
    else:
        ex.answer()


def ask_at_once(proxy, requests):
    """What came of each request (method, target, fields), all of them under way together."""
    clients = [Client(proxy.port) for _ in requests]
    for c, (method, target, fields) in zip(clients, requests):
        c.send_request(method, target, fields, body=b'x' if method == 'POST' else None)
    out = []
    for c, (method, _, _) in zip(clients, requests):
        try:
            out.append(c.answer(method).status)
        except (OSError, Broken, ValueError):
            out.append(None)
        c.close()
    return out


def states(proxy, names):
    return {n: proxy.server(n)['state'] for n in names}


def wait_decided(proxy, names):
    """Until no check is to come that was asked for."""
    def decided():
        last = [proxy.server(n)['suspicion']['last'] for n in names]
        return all(one is None or one['check'] != 'pending' for one in last)
    wait_until(decided, 'checks that were asked for')


def wait_lines(proxy, text):
    """The lines of the log that have it, once there is one."""
    return wait_until(lambda: [line for line in proxy.err().splitlines() if text in line],
                      f'a line with {text}')


@pytest.mark.parametrize('check', CHECKS)
def test_an_odd_page_takes_no_server_down(rig, check):
    names = ('b1', 'b2', 'b3')
    servers = [rig.backend(n, page) for n in names]
    patience = pace.ms(pace.stretched(0.4))
    proxy = rig.proxy(servers, listener={'key': 'header:X-Key', 'timeouts': {'tunnel': patience}},
                      pool=pool(check, timeouts={'response': patience, 'body': patience}))
    for odd in ODD:
        target = '/odd/' + odd.replace(' ', '-')
        ask_at_once(proxy, [(method, target, {'X-Key': f'{odd}{i}'}) for i in range(2 * FAILURES)
                            for method in ('GET', 'HEAD', 'POST')])
        assert states(proxy, names) == dict.fromkeys(names, 'up'), odd
    wait_decided(proxy, names)
    assert states(proxy, names) == dict.fromkeys(names, 'up')
    assert proxy.admin.metric('ringproxy_failovers_total', pool='p') == 0
    for name in names:
        assert proxy.server(name)['errors'] >= len(ODD)
        passed = proxy.admin.metric('ringproxy_backend_suspicions_total', backend=name, check='passed')
        assert (passed > 0) == (check in LOOKS)


def crash(ex):
    if ex.request.target == '/crash':
        ex.reset()
    elif ex.request.target == '/slow':
        hangs(ex)
    elif ex.request.target == '/events':
        ODD['quiet stream'](ex)
    else:
        ex.answer()


def assert_unharmed(trio):
    trio.load.wait_rounds(1)
    trio.load.stop()
    for r in trio.load.all():
        assert r.good and r.who == trio.home[r.key], r
    wait_decided(trio.proxy, trio.servers)
    assert set(states(trio.proxy, ('b1', 'b2', 'b3')).values()) == {'up'}
    assert trio.proxy.admin.metric('ringproxy_failovers_total', pool='p') == 0


@pytest.mark.threads
@pytest.mark.parametrize('check', ['http', 'tcp'])
def test_good_traffic_does_not_notice_a_page_that_crashes(rig, check):
    trio = Trio(rig, pool(check, retries=1), standby=False, keys=[f'k{i}' for i in range(30)])
    for s in trio.servers.values():
        s.handler = crash
    trio.load.wait_rounds(1)

    statuses = []

    def ask(part):
        for i in range(250):
            statuses.append(get(trio.proxy.port, '/crash', {'X-Key': f'c{part}-{i}'}).status)
    askers = [threading.Thread(target=ask, args=(part,)) for part in range(4)]
    for t in askers:
        t.start()
    for t in askers:
        t.join()
    assert statuses == [502] * 1000
    assert_unharmed(trio)
    assert sum(s['errors'] for s in map(trio.proxy.server, trio.servers)) == 2 * 1000


@pytest.mark.parametrize('check', ['http', 'tcp'])
def test_good_traffic_does_not_notice_slow_pages_and_quiet_streams(rig, check):
    patience = pace.ms(pace.stretched(1.0))
    trio = Trio(rig, pool(check, timeouts={'response': patience, 'body': patience}),
                standby=False, keys=[f'k{i}' for i in range(30)])
    for s in trio.servers.values():
        s.handler = crash
    trio.load.wait_rounds(1)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Client(trio.proxy.port)) for _ in range(200)]
        for i, c in enumerate(streams):
            c.send_request('GET', '/events', {'X-Key': f'events{i}'})
        for c in streams:
            assert c.head().status == 200
        slow = [('GET', '/slow', {'X-Key': f'slow{i}'}) for i in range(30)]
        assert ask_at_once(trio.proxy, slow) == [504] * 30
        assert_unharmed(trio)
    wait_until(lambda: not any(trio.proxy.server(n)['active'] for n in trio.servers),
               'the streams of clients that have gone to end')


# --- servers that are to blame ----------------------------------------------------------------

@pytest.mark.parametrize('check', CHECKS)
def test_a_server_that_resets_whatever_it_is_asked_goes_down_at_once(rig, check):
    """By the check that live traffic asks for, or because another one answers the same requests."""
    trio = Trio(rig, pool(check), load=False)
    b1, fields = trio.servers['b1'], {'X-Key': trio.key_of('b1')}
    b1.reset_on_accept = True
    for _ in range(FAILURES):
        assert get(trio.proxy.port, fields=fields).text == 's1'
    trio.proxy.wait_state('b1', 'down')
    last = trio.proxy.server('b1')['suspicion']
    assert last['suspected'] == FAILURES and last['last']['reason'] == 'reset'
    assert last['last']['check'] == ('failed' if check in LOOKS else None)
    failed = trio.proxy.admin.metric('ringproxy_backend_suspicions_total', backend='b1',
                                     check='failed')
    assert failed == (check in LOOKS)


@pytest.mark.parametrize('check', BLIND)
def test_a_reset_counts_only_if_another_server_answers(rig, check):
    trio = Trio(rig, pool(check), load=False)
    b1, fields = trio.servers['b1'], {'X-Key': trio.key_of('b1')}
    b1.handler = lambda ex: ex.reset()
    with Client(trio.proxy.port) as c:  # is not sent again
        for _ in range(2 * FAILURES):
            assert c.request('POST', '/', fields, body=b'x').status == 502
    assert trio.proxy.server('b1')['state'] == 'up'
    for _ in range(FAILURES - 1):
        assert get(trio.proxy.port, fields=fields).text == 's1'
    assert trio.proxy.server('b1')['state'] == 'up'
    b1.handler = None  # an answer ends the row
    assert get(trio.proxy.port, fields=fields).text == 'b1'
    b1.handler = lambda ex: ex.reset()
    for _ in range(FAILURES - 1):
        assert get(trio.proxy.port, fields=fields).text == 's1'
    assert trio.proxy.server('b1')['state'] == 'up'
    assert get(trio.proxy.port, fields=fields).text == 's1'
    trio.proxy.wait_state('b1', 'down')


def test_a_check_that_has_to_wait_is_made_when_it_is_due(rig):
    interval = pace.stretched(4.0)
    trio = Trio(rig, pool('http', health={'interval': pace.ms(interval), 'fall': 100}), load=False)
    b1, fields = trio.servers['b1'], {'X-Key': trio.key_of('b1')}
    b1.handler = lambda ex: ex.reset()
    since = time.monotonic()
    for _ in range(FAILURES):
        assert get(trio.proxy.port, fields=fields).text == 's1'
    wait_until(lambda: (trio.proxy.server('b1')['suspicion']['last'] or {}).get('check') == 'passed',
               'the first check')
    b1.health_status = 500
    for _ in range(FAILURES):
        assert get(trio.proxy.port, fields=fields).text == 's1'
    trio.proxy.wait_state('b1', 'down')
    assert time.monotonic() - since >= interval / 4 - 0.02
    assert '500' in trio.proxy.server('b1')['last_check']['reason']


def test_statuses_are_a_matter_for_the_check(rig):
    trio = Trio(rig, pool('http', passive={'failures': FAILURES, 'statuses': '500-599'}), load=False)
    fields = {'X-Key': trio.key_of('b2')}
    trio.servers['b2'].handler = lambda ex: ex.answer(503, b'sorry')
    for _ in range(2 * FAILURES):
        assert get(trio.proxy.port, fields=fields).status == 503
    wait_decided(trio.proxy, ['b2'])
    assert trio.proxy.server('b2')['state'] == 'up'
    assert trio.proxy.admin.metric('ringproxy_backend_suspect_tries_total', backend='b2',
                                   reason='status') == 2 * FAILURES


@pytest.mark.parametrize('check', ['http', 'tcp'])
def test_a_killed_server_goes_down_by_the_first_refused_tries(rig, check):
    servers = {n: rig.nginx(n) for n in ('b1', 'b2', 'b3')}
    proxy = rig.proxy(servers.values(), pool=pool(check), listener={'key': 'header:X-Key'})
    load = rig.load(proxy, [f'k{i}' for i in range(60)], threads=4)
    load.wait_rounds(1)
    servers['b1'].kill()
    proxy.wait_state('b1', 'down')
    load.wait_rounds(1)
    assert not load.bad(), load.bad()[:5]
    b1 = proxy.server('b1')
    # what was under way is reset, then `failures` tries are refused, then some that were begun
    assert b1['errors'] - b1['suspicion']['suspected'] <= FAILURES + 4


# --- the last server --------------------------------------------------------------------------

@pytest.mark.parametrize('check', CHECKS)
def test_live_traffic_never_takes_the_last_server_out(rig, check):
    servers = [rig.backend(n) for n in ('b1', 'b2')]
    proxy = rig.proxy(servers, pool=pool(check))
    for s in servers:
        s.stop()
    for _ in range(6 * FAILURES):
        assert get(proxy.port).status == 502
    wait_until(lambda: 'down' in states(proxy, ('b1', 'b2')).values(), 'the first one to be down')
    for _ in range(6 * FAILURES):
        assert get(proxy.port).status == 502
    assert sorted(states(proxy, ('b1', 'b2')).values()) == ['down', 'up']
    spared = wait_lines(proxy, 'event="last server spared"')
    assert 'reason="3 failures of live traffic in a row"' in spared[0]
    for s in servers:
        s.start()


def test_a_failed_check_of_the_last_server_counts_as_one(rig):
    b1 = rig.backend('b1')
    proxy = rig.proxy([b1], pool=pool('http', health={'interval': '1h', 'fall': 2}))
    b1.handler, b1.health_status = crash, 500
    for _ in range(FAILURES):
        assert get(proxy.port, '/crash').status == 502
    wait_until(lambda: proxy.server('b1')['last_check']['ok'] is False, 'the check')
    assert proxy.server('b1')['state'] == 'up'
    assert get(proxy.port).text == 'b1'


# --- Upgrade, and mode tcp --------------------------------------------------------------------

@pytest.mark.parametrize('check', BLIND)
def test_an_upgrade_elsewhere_shows_who_is_to_blame(rig, check):
    trio = Trio(rig, pool(check), load=False)
    fields = {**UPGRADE, 'X-Key': trio.key_of('b1')}
    for s in trio.servers.values():
        s.handler = lambda ex: ex.reset()
    for _ in range(2 * FAILURES):
        assert get(trio.proxy.port, fields=fields).status == 502
    assert set(states(trio.proxy, ('b1', 'b2', 'b3')).values()) == {'up'}
    trio.servers['s1'].handler = tunnel
    for _ in range(FAILURES):
        assert trio.proxy.server('b1')['state'] == 'up'
        with Client(trio.proxy.port) as c:
            c.send_request('GET', '/', fields)
            assert c.head().status == 101
    trio.proxy.wait_state('b1', 'down')


@pytest.mark.parametrize('check', CHECKS)
def test_bytes_that_every_server_resets_take_none_down(rig, check):
    """A server that resets before a byte has passed is suspect, in mode tcp, too."""
    names = ('b1', 'b2', 'b3')
    fatal = threading.Event()

    def moody(backend, sock):
        if Reader(sock).line() == b'PROXY UNKNOWN':  # a check
            sock.sendall(OK + b'Content-Length: 0\r\n\r\n')
        elif fatal.is_set():
            reset(sock)
        else:
            backend.greet_and_echo(sock)
    proxy = tcp_proxy(rig, [rig.tcp(n, moody) for n in names],
                      pool=pool(check, proxy_protocol='v1'))
    fatal.set()
    for _ in range(2 * FAILURES):
        with Conn(proxy.port, greeted=False) as c:
            assert c.at_end()
    assert states(proxy, names) == dict.fromkeys(names, 'up')
    wait_decided(proxy, names)
    fatal.clear()
    assert states(proxy, names) == dict.fromkeys(names, 'up')
    with Conn(proxy.port) as c:
        assert c.who in names


def test_a_refused_connection_is_the_servers_fault_in_mode_tcp(rig):
    servers = [rig.tcp('b1'), rig.tcp('b2')]
    proxy = tcp_proxy(rig, servers, pool=pool('script', health={'send': None, 'expect': 'b'}))
    source = source_of(proxy, 'b1')
    servers[0].stop()
    for _ in range(FAILURES):
        with Conn(proxy.port, source) as c:
            assert c.who == 'b2'
    proxy.wait_state('b1', 'down')
    assert proxy.server('b1')['suspicion'] == {'suspected': 0, 'last': None}
    servers[0].start()


# --- what is seen -----------------------------------------------------------------------------

def test_what_was_suspected_is_in_the_log_now_and_then(rig):
    trio = Trio(rig, pool('http'), load=False)
    fields = {'X-Key': trio.key_of('b1')}
    trio.servers['b1'].handler = page
    assert trio.proxy.server('b1')['suspicion'] == {'suspected': 0, 'last': None}
    since = time.monotonic()
    for n in (1, 2):
        for _ in range(FAILURES):
            assert get(trio.proxy.port, '/odd/two-lengths', fields).text == 's1'
        wait_until(lambda: trio.proxy.admin.metric(
            'ringproxy_backend_suspicions_total', backend='b1', check='passed') == n
            or n == 2, 'the check')
        assert get(trio.proxy.port, fields=fields).text == 'b1'
    lines = wait_lines(trio.proxy, 'event=suspected')
    assert len(lines) == 1 or time.monotonic() - since > 9
    assert 'level=warn' in lines[0] and 'pool=p backend=b1 of=malformed check=passed' in lines[0]
    assert 'reason="200 in ' in lines[0] and lines[0].endswith('count=1')
    seen = trio.proxy.server('b1')['suspicion']
    assert seen['suspected'] == 2 * FAILURES and seen['last']['reason'] == 'malformed'
    assert trio.proxy.server('b1')['errors'] == 2 * FAILURES
    for reason, n in (('malformed', 2 * FAILURES), ('reset', 0), ('timeout', 0)):
        assert trio.proxy.admin.metric('ringproxy_backend_suspect_tries_total', backend='b1',
                                       reason=reason) == n
