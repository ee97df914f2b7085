"""What backends may answer: cases/table_answer.py through one proxy. A client must never take a broken
answer for a whole one, and never get bytes that belong to another request."""

import itertools
import socket

import pytest

import pace
from cases import wire
from cases.recorder import BARRIER, CLOSE, Recorder, WAIT
from cases.table_answer import CASES, CUT, GET, LENGTH_2, STOLEN
from client import Client
from conftest import Rig
from harness import CHECK_OFF, wait_until

AGAIN = b'GET /again HTTP/1.1\r\nHost: t\r\n\r\n'
OWN_FIELDS = ('date', 'via', 'connection', 'transfer-encoding', 'content-length')
OWN_ANSWERS = (502, 504)


class Field:
    """The proxies and the backend that all cases share."""

    def __init__(self, rig):
        self.rig, self.recorder = rig, Recorder()
        rig.scripted.append(self.recorder)
        self.recorder.script = lambda m: self.steps if m.target == '/case' else None
        self.steps = ()
        quick = pace.ms(pace.stretched(0.3))
        self.proxies = {'main': self.proxy(), 'quick': self.proxy(response=quick, body=quick)}
        self.markers = itertools.count()

    def proxy(self, **timeouts):
        pool = {'health': CHECK_OFF, 'passive': 'off', 'failback': None}
        if timeouts:
            pool['timeouts'] = timeouts
        return self.rig.proxy([self.recorder], top={'workers': 1}, pool=pool)

    def marker(self, proxy):
        """A request and its answer on a connection of its own; nobody else's bytes are among them."""
        target = f'{BARRIER}-{next(self.markers)}'
        with Client(proxy.port) as c:
            c.send(b'GET %s HTTP/1.1\r\nHost: t\r\n\r\n' % target.encode())
            reader = wire.Strict(c.sock)
            answer = reader.answer()
            assert answer and answer.status == 200, answer
            assert answer.body == b'GET %s 0' % target.encode() and not reader.data, answer

    def settle(self, proxy):
        """The worker has read what the backend has sent so far: it may have looked at that behind the
        first marker in the same turn, but not behind the second."""
        self.marker(proxy)
        self.marker(proxy)

    def log(self):
        """The requests since the last time, without markers."""
        entries = self.recorder.take()
        assert not [e for e in entries if e.kind == 'bad'], entries
        return [e for e in entries if e.message is None or not e.message.target.startswith(BARRIER)]


@pytest.fixture(scope='module')
def field(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('rfc-answer'))
    try:
        f = Field(rig)
        yield f
    finally:
        rig.close()


def read_interim(reader, case):
    for status in case.interim:
        answer = reader.answer()
        assert answer and answer.status == status, answer
        assert answer.all('Via') == ['1.1 ringproxy'] and answer.framing == 'none'


def check_cut(reader):
    """The head came, the answer never became complete."""
    answer = reader.answer()
    assert answer is None, f'looks complete: {answer}'
    assert reader.data.startswith(b'HTTP/1.1 200 OK\r\n') and b'\r\n\r\n' in reader.data


def check_answer(answer, case):
    assert answer is not None, 'closed without an answer'
    assert (answer.status, answer.body) == (case.got, case.body), answer
    assert answer.trailers == list(case.trailers)
    if case.framing:
        assert answer.framing == case.framing
    if case.fields is not None:
        assert [f for f in answer.fields if f[0].lower() not in OWN_FIELDS] == list(case.fields)
    if case.got not in OWN_ANSWERS:
        assert answer.all('Via') == ['1.1 ringproxy']
    if case.end == 'tunnel':
        assert answer.options() == ['upgrade'] and answer.all('Upgrade') == ['x']
    elif case.end == 'close':
        assert answer.options() == ['close']
    else:
        assert 'close' not in answer.options()


def check_end(c, reader, case):
    """What becomes of the client's connection; how many more requests the backend sees by that."""
    if case.end == 'keep':
        c.send(AGAIN)
        answer = reader.answer()
        assert answer and answer.body == b'GET /again 0', answer
        return 1
    if case.end == 'tunnel':
        c.send(b'to and fro')
        while len(reader.data) < 10:
            reader.fill()
            assert not reader.ended
        assert reader.data == b'to and fro'
        c.sock.shutdown(socket.SHUT_WR)
        del reader.data[:]
    elif case.got == CUT:
        reader.data.clear()
    assert reader.at_end(), bytes(reader.data)
    assert reader.reset or case.end != 'reset', 'it looks like an end in order'
    return 0


def marked():
    for case in CASES:
        marks = [pytest.mark.xfail(strict=True, reason=case.xfail)] if case.xfail else []
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize('case', marked())
def test_answer(field, case):
    proxy, recorder = field.proxies[case.proxy], field.recorder
    field.marker(proxy)  # leaves an idle connection
    field.log()
    field.steps = case.steps
    with Client(proxy.port) as c:
        c.send(case.request)
        for _ in range(case.steps.count(WAIT) if case.proxy == 'main' else 0):
            field.settle(proxy)
            recorder.go_on()
        reader = wire.Strict(c.sock)
        if case.got == CUT:
            check_cut(reader)
        else:
            read_interim(reader, case)
            check_answer(reader.answer(case.request.startswith(b'HEAD')), case)
        used = [e.connection for e in recorder.entries
                if e.message is not None and e.message.target == '/case']
        if case.later:
            recorder.say_on_idle(case.later)
            wait_until(lambda: used[-1] not in recorder.open_numbers(), 'the proxy to close it')
        again = check_end(c, reader, case)
    field.settle(proxy)
    entries = field.log()
    assert [e.kind for e in entries] == ['whole'] * (case.asked + again), entries
    assert len(used) == case.asked
    if case.pool != 'any':
        assert (used[-1] in recorder.open_numbers()) == (case.pool == 'kept')


def test_bytes_on_idle_connections_are_nobodys(field):
    """An answer before its request: the connection it comes on is not used again."""
    proxy, recorder = field.proxies['main'], field.recorder
    field.settle(proxy)
    before = recorder.connections
    assert recorder.say_on_idle(STOLEN) >= 1
    wait_until(lambda: not recorder.open_numbers(), 'the proxies to close what was idle')
    field.settle(proxy)
    assert recorder.connections > before


def test_answer_before_the_body_ends_the_connection(field):
    """The rest of the body must not be taken for a request (9.3, 9.5)."""
    proxy, recorder = field.proxies['main'], field.recorder
    field.settle(proxy)
    field.log()
    recorder.early = lambda head: [LENGTH_2 + b'\r\nhi'] if head.target == '/early' else None
    try:
        with Client(proxy.port) as c:
            c.send(b'POST /early HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n')
            reader = wire.Strict(c.sock)
            answer = reader.answer()
            assert answer.status == 200 and answer.body == b'hi' and answer.options() == ['close']
            c.send(AGAIN)
            assert reader.at_end()
    finally:
        recorder.early = lambda head: None
    field.settle(proxy)
    assert [e.message.target for e in field.log() if e.message] == ['/early']


def test_first_answer_of_many_is_the_only_one(field):
    """Pipelined clients: one request, several answers; the others are nobody's."""
    proxy = field.proxies['main']
    field.settle(proxy)
    field.steps = (LENGTH_2 + b'\r\nhi' + STOLEN * 3,)
    with Client(proxy.port) as c:
        c.send((GET + AGAIN) * 5)
        reader = wire.Strict(c.sock)
        for _ in range(5):
            assert reader.answer().body == b'hi'
            assert reader.answer().body == b'GET /again 0'
    field.settle(proxy)


def test_greeting_of_a_fresh_connection_stays_on_it(field):
    """A backend that speaks first: whoever gets that, the next client does not."""
    proxy, recorder = field.proxies['main'], field.recorder
    field.settle(proxy)
    recorder.say_on_idle(STOLEN)
    wait_until(lambda: not recorder.open_numbers(), 'the proxies to close what was idle')
    field.steps = (STOLEN, CLOSE)
    field.log()
    with Client(proxy.port) as c:
        c.send(GET)
        answer = wire.Strict(c.sock).answer()
        assert answer.body == b'stolen'
    field.settle(proxy)


def test_date_is_added_where_there_is_none(field):
    proxy = field.proxies['main']
    field.steps = (LENGTH_2 + b'\r\nhi',)
    with Client(proxy.port) as c:
        c.send(GET)
        answer = wire.Strict(c.sock).answer()
    assert answer.status == 200
    assert len(answer.all('Date')) == 1


def test_table_is_wide_enough():
    """So that nobody empties it by accident."""
    assert len(CASES) >= 200
    assert len({c.name for c in CASES}) == len(CASES)
