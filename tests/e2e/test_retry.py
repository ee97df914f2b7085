"""What is sent again, what never, and how long anything may take."""

import time

import pytest

import pace
from client import Broken, Client, get
from harness import CHECK_OFF, route, wait_until
from scripted import Backend

KEYS = [f'key{i:04}' for i in range(200)]
BY_KEY = {'key': 'header:X-Key'}
# Only what the test does may mark a server down.
CALM = {'health': {**CHECK_OFF, 'interval': '1m'}, 'passive': 'off'}


class Trio:
    def __init__(self, rig, handler=None, standby=False, pool=None, **more):
        self.servers = {n: rig.backend(n) for n in ('b1', 'b2', 'b3')}
        standbys = [rig.backend('s1')] if standby else []
        self.all = list(self.servers.values()) + standbys
        self.servers['s1'] = standbys[0] if standby else None
        self.proxy = rig.proxy(self.all[:3], standbys, pool={**CALM, **(pool or {})},
                               listener={**BY_KEY, **more.pop('listener', {})}, **more)
        home = route(self.proxy.config, KEYS)
        self.key = next(k for k in KEYS if home[k] == 'b1')
        self.servers['b1'].handler = handler

    @property
    def fields(self):
        return {'X-Key': self.key}

    def next_of(self, *down):
        arguments = [x for n in down for x in ('--down', n)]
        return route(self.proxy.config, [self.key], *arguments)[self.key]

    def tries(self):
        return {s.name: len(s.served()) for s in self.all if s.served()}


def die_after_reading(ex):
    ex.read_body()
    ex.reset()


def close_after_reading(ex):
    ex.read_body()
    ex.close()


@pytest.mark.parametrize('die', [die_after_reading, close_after_reading])
def test_post_to_a_backend_that_dies_after_reading_is_502_and_sent_once(rig, die):
    trio = Trio(rig, die, standby=True)
    with Client(trio.proxy.port) as c:
        answer = c.request('POST', '/', trio.fields, body=b'pay')
        assert answer.status == 502
    assert trio.tries() == {'b1': 1}
    assert trio.servers['b1'].served()[0].body == b'pay'
    assert trio.proxy.admin.metric('ringproxy_retries_total', pool='p') == 0


def test_post_that_was_never_sent_goes_to_the_next(rig):
    trio = Trio(rig)
    trio.servers['b1'].stop()
    with Client(trio.proxy.port) as c:
        answer = c.request('POST', '/', trio.fields, body=b'pay')
        assert answer.text == trio.next_of('b1')
    assert trio.tries() == {trio.next_of('b1'): 1}
    trio.servers['b1'].start()


@pytest.mark.parametrize('die', [die_after_reading, close_after_reading])
@pytest.mark.parametrize('method,body', [
    ('GET', None), ('HEAD', None), ('OPTIONS', None), ('DELETE', None), ('PUT', b'x' * 60000)])
def test_idempotent_request_is_sent_again_to_the_standby_first(rig, method, body, die):
    trio = Trio(rig, die, standby=True)
    assert trio.next_of('b1') == 's1'
    with Client(trio.proxy.port) as c:
        answer = c.request(method, '/', trio.fields, body=body)
        assert answer.status == 200 and answer.get('X-Backend') == 's1'
    assert trio.tries() == {'b1': 1, 's1': 1}
    if body:
        assert trio.servers['s1'].served()[0].body == body
    assert trio.proxy.admin.metric('ringproxy_retries_total', pool='p') == 1
    assert trio.proxy.server('b1')['errors'] == 1


def test_chunked_put_is_sent_again_whole(rig):
    trio = Trio(rig, die_after_reading)
    with Client(trio.proxy.port) as c:
        c.send(b'PUT / HTTP/1.1\r\nHost: t\r\nX-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n'
               b'3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n' % trio.key.encode())
        second = trio.next_of('b1')
        assert c.answer().text == second
    assert trio.servers[second].served()[0].body == b'abcdefg'


def test_put_with_a_body_too_big_to_keep_is_502(rig):
    trio = Trio(rig, die_after_reading)
    with Client(trio.proxy.port) as c:
        assert c.request('PUT', '/', trio.fields, body=b'x' * 1_000_000).status == 502
    assert trio.tries() == {'b1': 1}


def test_never_one_tried_before_and_in_the_rings_order(rig):
    trio = Trio(rig, die_after_reading, standby=True)
    order = ['b1']
    for _ in range(2):
        order.append(trio.next_of(*order))
    assert len(set(order)) == 3 and order[1] == 's1'
    for name in order:
        trio.servers[name].handler = die_after_reading
    assert get(trio.proxy.port, fields=trio.fields).status == 502
    assert trio.tries() == {n: 1 for n in order}
    trio.servers[order[2]].handler = None
    assert get(trio.proxy.port, fields=trio.fields).text == order[2]


@pytest.mark.parametrize('retries,tries', [(0, 1), (1, 2), (10, 4)])
def test_retries_is_a_setting_and_ends_when_all_were_tried(rig, retries, tries):
    trio = Trio(rig, standby=True, pool={'retries': retries})
    for s in trio.all:
        s.handler = die_after_reading
    assert get(trio.proxy.port, fields=trio.fields).status == 502
    counts = trio.tries()
    assert set(counts.values()) == {1} and len(counts) == tries


def test_keyless_request_is_sent_again_too(rig):
    trio = Trio(rig, die_after_reading)
    for _ in range(12):
        assert get(trio.proxy.port).text in ('b2', 'b3')


def test_answer_that_began_is_never_repeated(rig):
    def half(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
        ex.reset()
    trio = Trio(rig, half)
    with Client(trio.proxy.port) as c:
        c.send_request('GET', '/', trio.fields)
        with pytest.raises((Broken, ConnectionResetError)):
            c.answer()
    assert trio.tries() == {'b1': 1}


def test_retry_after_an_interim_answer(rig):
    def hint_and_die(ex):
        ex.read_body()
        ex.send(b'HTTP/1.1 103 Early Hints\r\nX-Hint: 1\r\n\r\n')
        ex.reset()
    trio = Trio(rig, hint_and_die)
    assert get(trio.proxy.port, fields=trio.fields).text == trio.next_of('b1')


def test_when_down_fail_retries_at_the_standby_alone(rig):
    trio = Trio(rig, die_after_reading, standby=True, pool={'when_down': 'fail'},
                top={'workers': 1})
    assert get(trio.proxy.port, fields=trio.fields).text == 's1'
    trio.servers['s1'].handler = die_after_reading
    assert get(trio.proxy.port, fields=trio.fields).status == 502
    # s1's kept connection broke without an answer: that was no try
    assert trio.tries() == {'b1': 2, 's1': 3}


# --- reused connections -----------------------------------------------------------------------

def test_connection_that_closes_between_requests_never_surfaces(rig):
    """A backend that closes after each answer without saying so, at once or with the next request
    already there."""
    def close_later(ex):
        if ex.number == 0:
            ex.answer()
        else:
            ex.reset()
    trio = Trio(rig, close_later, top={'workers': 1})
    with Client(trio.proxy.port) as c:
        for _ in range(100):
            assert c.request('GET', '/', trio.fields).text == 'b1'
    assert trio.proxy.server('b1')['errors'] == 0
    assert trio.proxy.admin.metric('ringproxy_retries_total', pool='p') == 0

    trio.servers['b1'].handler = lambda ex: (ex.answer(), ex.close())
    with Client(trio.proxy.port) as c:
        for _ in range(200):
            assert c.request('GET', '/', trio.fields).text == 'b1'
    assert trio.proxy.server('b1')['errors'] == 0


def test_idle_connection_that_the_backend_closed_is_not_used(rig):
    """A POST too is safe then: the proxy knew."""
    closed = []

    def answer_then_close(ex):
        ex.answer()
        if ex.request.method == 'GET':
            ex.sock.shutdown(1)
            ex.wait_peer_closed()
            closed.append(ex.connection)
    trio = Trio(rig, answer_then_close, top={'workers': 1})
    with Client(trio.proxy.port) as c:
        for i in range(10):
            assert c.request('GET', '/', trio.fields).text == 'b1'
            wait_until(lambda: len(closed) == i + 1, 'the proxy to close its end')
            assert c.request('POST', '/', trio.fields, body=b'x').status == 200
    assert len(trio.servers['b1'].served()) == 20


def test_idle_backend_connections_end_after_their_time(rig):
    ended = []

    def handler(ex):
        ex.answer()
        ex.wait_peer_closed()
        ended.append(1)
    trio = Trio(rig, handler, pool={'timeouts': {'idle': '300ms'}})
    assert get(trio.proxy.port, fields=trio.fields).text == 'b1'
    wait_until(lambda: ended, 'the idle connection to be closed')


def test_max_idle_connections_0_keeps_none(rig):
    trio = Trio(rig, pool={'max_idle_connections': 0}, top={'workers': 1})
    with Client(trio.proxy.port) as c:
        for _ in range(5):
            assert c.request('GET', '/', trio.fields).text == 'b1'
    assert trio.servers['b1'].connections == 5


def test_down_mark_frees_the_waiting_requests_at_once(rig):
    """They go on elsewhere although retries are off, POST does not."""
    trio = Trio(rig, lambda ex: (ex.read_body(), ex.hang(), ex.close()), standby=True,
                pool={'retries': 0, 'health': {'fall': 1}})
    with Client(trio.proxy.port) as one, Client(trio.proxy.port) as two:
        one.send_request('GET', '/get', trio.fields)
        two.send_request('POST', '/post', trio.fields, body=b'x')
        trio.servers['b1'].wait_blocked(2)
        trio.servers['b1'].health_status = 500
        assert one.answer().text == 's1'
        trio.servers['b1'].gate.set()
        assert two.answer().status == 502
    assert [r.target for r in trio.servers['s1'].served()] == ['/get']


# --- time -------------------------------------------------------------------------------------

def took(least, most, since):
    """Lower bounds are exact, but for the coarse clock, if the proxy's clock starts after `since`;
    upper ones allow for a slow machine."""
    passed = time.monotonic() - since
    assert least * 0.9 - 0.02 <= passed <= most + pace.upper(1.0), passed


def test_response_timeout_is_504(rig):
    trio = Trio(rig, lambda ex: (ex.hang(), ex.close()),
                pool={'timeouts': {'response': '600ms'}, 'retries': 0})
    since = time.monotonic()
    assert get(trio.proxy.port, fields=trio.fields).status == 504
    took(0.6, 0.6, since)
    assert trio.proxy.server('b1')['errors'] == 1


def test_response_timeout_covers_all_tries_together(rig):
    trio = Trio(rig, pool={'timeouts': {'response': '700ms'}, 'retries': 3})
    for s in trio.all:
        s.handler = lambda ex: (ex.hang(), ex.close())
    since = time.monotonic()
    assert get(trio.proxy.port, fields=trio.fields).status == 504
    took(0.7, 0.7, since)


def test_gap_in_an_answer_ends_it(rig):
    def stall(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
        ex.hang()
        ex.close()
    gap = pace.stretched(0.6)
    trio = Trio(rig, stall, pool={'timeouts': {'body': pace.ms(gap)}})
    with Client(trio.proxy.port) as c:
        begun = time.monotonic()
        c.send_request('GET', '/', trio.fields)
        assert c.head().status == 200
        assert c.reader.exactly(4) == b'half'
        heard = time.monotonic()
        assert c.at_end()
        took(gap - 0.1, gap + heard - begun, begun)


def test_slow_drip_is_not_a_gap(rig):
    gap = pace.stretched(0.9)

    def drip(ex):
        ex.send(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n')
        for i in range(10):
            ex.backend.gate.wait(gap / 6)  # the backend's own pace
            ex.send(b'%d' % i)
        ex.read_body()
    trio = Trio(rig, drip, pool={'timeouts': {'body': pace.ms(gap)}})
    assert get(trio.proxy.port, fields=trio.fields).body == b'0123456789'


def test_connect_timeout_tries_the_next(rig):
    deaf, patience = rig.deaf('b1'), pace.stretched(0.5)
    proxy = rig.proxy([deaf, rig.backend('b2')], listener=BY_KEY,
                      pool={**CALM, 'timeouts': {'connect': pace.ms(patience)}})
    home = route(proxy.config, KEYS)
    key = next(k for k in KEYS if home[k] == 'b1')
    since = time.monotonic()
    with Client(proxy.port) as c:
        assert c.request('POST', '/', {'X-Key': key}, body=b'x').text == 'b2'
    took(patience, patience, since)


def test_connect_timeout_of_the_last_try_is_504(rig):
    proxy = rig.proxy([rig.deaf('b1')], pool={**CALM, 'timeouts': {'connect': '500ms'}})
    since = time.monotonic()
    assert get(proxy.port).status == 504
    took(0.5, 0.5, since)


def test_refused_by_all_is_502(rig):
    proxy = rig.proxy([{'name': 'b1', 'address': Backend('b1', start=False).address}], pool=CALM)
    assert get(proxy.port).status == 502


def test_head_that_comes_too_slowly_is_408(rig):
    proxy = rig.proxy([rig.backend('b1')], listener={'timeouts': {'request': '600ms'}})
    since = time.monotonic()
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\nHos')
        assert c.answer().status == 408
        assert c.at_end()
        took(0.6, 0.6, since)


def test_dripping_does_not_extend_the_time_for_a_head(rig):
    proxy = rig.proxy([rig.backend('b1')], listener={'timeouts': {'request': '700ms'}})
    since, deadline = time.monotonic(), pace.Deadline(20)
    with Client(proxy.port) as c:
        c.send(b'GET / HTTP/1.1\r\n')
        c.sock.settimeout(0.1)
        while not deadline.passed():
            try:
                c.send(b'X: y\r\n')
                if c.reader.fill():
                    break
            except TimeoutError:
                pass
        c.sock.settimeout(pace.upper(20))
        assert c.answer().status == 408
        took(0.7, 0.7, since)


def test_body_that_comes_too_slowly_is_408(rig):
    trio = Trio(rig, listener={'timeouts': {'request': '600ms'}})
    since = time.monotonic()
    with Client(trio.proxy.port) as c:
        c.send(b'POST / HTTP/1.1\r\nHost: t\r\nX-Key: %s\r\nContent-Length: 10\r\n\r\nhalf'
               % trio.key.encode())
        assert c.answer().status == 408
        assert c.at_end()
        took(0.5, 0.6, since)
    assert all(r.body is None for s in trio.all for r in s.served())
    assert trio.proxy.server('b1')['errors'] == 0


def test_silent_and_idle_connections_are_closed_silently(rig):
    proxy = rig.proxy([rig.backend('b1')],
                      listener={'timeouts': {'request': '500ms', 'idle': '500ms'}})
    since = time.monotonic()
    with Client(proxy.port) as c:
        assert c.at_end()
        took(0.4, 0.6, since)
    with Client(proxy.port) as c:
        since = time.monotonic()
        assert c.request('GET', '/').status == 200
        answered = time.monotonic()
        assert c.at_end()
        took(0.4, 0.6 + answered - since, since)


def test_idle_tunnel_is_closed(rig):
    from test_http import UPGRADE, tunnel
    backend = rig.backend('b1', tunnel)
    idle = pace.stretched(0.6)
    proxy = rig.proxy([backend], listener={'timeouts': {'tunnel': pace.ms(idle)}})
    with Client(proxy.port) as c:
        since = time.monotonic()
        c.send_request('GET', '/', UPGRADE)
        assert c.head().status == 101 and c.reader.exactly(2) == b'hi'
        begun = time.monotonic()
        assert c.reader.rest() in (b'', b'bye')
        took(idle - 0.1, idle + begun - since, since)
    wait_until(lambda: proxy.server('b1')['active'] == 0, 'the tunnel to end')


def test_client_that_goes_away_frees_the_backend(rig):
    gone = []

    def handler(ex):
        ex.read_body()
        ex.wait_peer_closed()
        gone.append(1)
    trio = Trio(rig, handler)
    with Client(trio.proxy.port) as c:
        c.send_request('GET', '/', trio.fields)
        wait_until(lambda: trio.servers['b1'].served(), 'the request to arrive')
        c.sock.setsockopt(1, 13, b'\x01\0\0\0\0\0\0\0')  # SO_LINGER 0: a reset, not half a close
    wait_until(lambda: gone, 'the backend connection to be closed')
    wait_until(lambda: trio.proxy.server('b1')['active'] == 0, 'the request to end')
    assert trio.proxy.server('b1')['errors'] == 0
    assert trio.tries() == {'b1': 1}
