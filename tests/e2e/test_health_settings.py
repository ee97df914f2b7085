"""The settings of `pools[].health`: what is sent, to which port, and what is made of the answer."""

import socket

import pytest

import pace
from client import Client
from harness import free_port, wait_until

HEAD_END = b'\r\n\r\n'


class Checked:
    """A handler that answers each check and remembers what it was asked and how the check left."""

    def __init__(self, answer, closes=False):
        self.answer, self.closes = answer, closes
        self.asked, self.ends = [], []

    def __call__(self, _backend, sock):
        received = b''
        while HEAD_END not in received:
            data = sock.recv(65536)
            if not data:
                return  # the proxy ended
            received += data
        self.asked.append(received.decode())
        sock.sendall(self.answer)
        if self.closes:
            sock.shutdown(socket.SHUT_WR)
        self.ends.append(how_it_ends(sock))

    def lines(self):
        return self.asked[0].split('\r\n')


def how_it_ends(sock):
    sock.settimeout(pace.upper(60))
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return 'reset'
    return 'end'


def wait_result(proxy, name, passed):
    """Until that is what the last check of a server says. The proxy need not have a server left."""
    wait_until(proxy.alive, 'the admin interface')
    wait_until(lambda: (proxy.server(name)['last_check'] or {}).get('ok') is passed,
               f'a check of {name} that tells {passed}')


def with_length(body, status=200):
    return b'HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n' % (status, len(body)) + body


def chunked(body):
    head = b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n'
    parts = [body[i:i + 1000] for i in range(0, len(body), 1000)]
    return head + b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in parts) + b'0\r\nX-End: 1\r\n\r\n'


def no_framing(body):
    return b'HTTP/1.0 200 X\r\n\r\n' + body


# --- the end of a check -----------------------------------------------------------------------

def test_no_server_sees_a_reset(rig):
    handlers = {}
    for size in (0, 10 << 10, 60 << 10):
        body = b'x' * size
        handlers[f'length{size}'] = Checked(with_length(body))
        handlers[f'chunked{size}'] = Checked(chunked(body))
        handlers[f'closes{size}'] = Checked(no_framing(body), closes=True)
        handlers[f'fails{size}'] = Checked(with_length(body + b'x' * 3000, 503))
    proxy = rig.proxy([rig.tcp(name, h) for name, h in handlers.items()])
    for name, h in handlers.items():
        wait_until(lambda h=h: len(h.ends) >= 3, f'checks of {name}')
        assert set(h.ends) == {'end'}, name
        proxy.wait_state(name, 'down' if name.startswith('fails') else 'up')


def test_a_scripted_check_reads_to_the_end_too(rig):
    class Greeter(Checked):
        def __call__(self, _backend, sock):
            sock.sendall(b'220 ' + b'x' * 50000)
            self.ends.append(how_it_ends(sock))

    right, wrong = Greeter(b''), Greeter(b'')
    for number, (greeter, expect) in enumerate([(right, '220 '), (wrong, '250 ')]):
        proxy = rig.proxy([rig.tcp(f'b{number}', greeter)],
                          pool={'health': {'check': 'tcp', 'path': None, 'expect': expect}},
                          ready=False)
        wait_until(lambda g=greeter: len(g.ends) >= 3, 'checks')
        assert set(greeter.ends) == {'end'}
        wait_result(proxy, f'b{number}', greeter is right)


# --- method -----------------------------------------------------------------------------------

def test_head_has_an_answer_without_a_body(rig):
    """The length is that of the body that GET would have: nothing follows, nothing is awaited."""
    good = Checked(b'HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\n')
    bad = Checked(b'HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n')
    proxy = rig.proxy([rig.tcp('good', good), rig.tcp('bad', bad)],
                      pool={'health': {'method': 'HEAD', 'timeout': '1h'}})
    proxy.wait_state('good', 'up')
    proxy.wait_state('bad', 'down')
    for h in (good, bad):
        assert h.lines()[0] == 'HEAD /healthz HTTP/1.1'
        wait_until(lambda h=h: len(h.ends) >= 3, 'checks that are over')
        assert set(h.ends) == {'end'}


def test_get_is_the_default_and_can_be_said(rig):
    said = Checked(with_length(b'ok'))
    rig.proxy([rig.tcp('b1', said)], pool={'health': {'method': 'GET'}})
    assert said.lines()[0] == 'GET /healthz HTTP/1.1'


# --- any bytes --------------------------------------------------------------------------------

SENT, EXPECTED = b'\x00\x12\xff\x80z\x00', b'\x00\xfeok\x00'


def binary(text):
    return ''.join(f'\\x{b:02x}' for b in text)


@pytest.mark.parametrize('answer, passes', [
    (EXPECTED, True), (EXPECTED + b'\x00more', True), (b'\x00\xfeok\x01', False),
    (b'\x00\xc3\xbeok\x00', False), (b'\x00\xfe', False)])
def test_send_and_expect_take_any_bytes(rig, answer, passes):
    received = []

    def handler(_backend, sock):
        received.append(sock.recv(100))
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        how_it_ends(sock)

    port, admin = free_port(), free_port()
    text = rig.text([rig.tcp('b1', handler)], port=port, admin=admin, pool={
        'health': {'check': 'tcp', 'path': None, 'send': 'SENT', 'expect': 'EXPECTED'}})
    text = text.replace('EXPECTED', f'"{binary(EXPECTED)}"').replace('SENT', f'"{binary(SENT)}"')
    wait_result(rig.proxy_of(text, port, admin, ready=False), 'b1', passes)
    assert received[0] == SENT


# --- port -------------------------------------------------------------------------------------

def test_another_port_of_each_address_is_asked(rig):
    """Three servers, by IPv4, by IPv6 and by name; what is at the other port decides."""
    port = free_port()
    hosts = {'b1': '127.0.0.2', 'b2': '::1', 'b3': '127.0.0.1'}
    checked = {name: rig.backend(f'{name}-checks', host=host, port=port)
               for name, host in hosts.items()}
    serving = {name: rig.backend(name, host=host) for name, host in hosts.items()}
    servers = [serving['b1'], serving['b2'],
               {'name': 'b3', 'address': f'localhost:{serving["b3"].port}'}]
    proxy = rig.proxy(servers, pool={'health': {'port': port}})
    for name, host in (('b1', '127.0.0.2'), ('b2', '[::1]'), ('b3', 'localhost')):
        assert proxy.server(name)['state'] == 'up'
        assert checked[name].checks[0].get('Host') == f'{host}:{port}'
        assert not serving[name].checks
    checked['b2'].health_status = 503
    proxy.wait_state('b2', 'down')
    with Client(proxy.port) as c:
        answers = {c.request('GET', '/').text for _ in range(8)}
    assert answers == {'b1', 'b3'}
    checked['b2'].health_status = 200
    proxy.wait_state('b2', 'up')


def test_a_plain_check_asks_the_other_port_too(rig):
    server, other = rig.backend('b1'), rig.tcp('other')
    proxy = rig.proxy([server], pool={'health': {'check': 'tcp', 'path': None,
                                                 'port': other.port}})
    proxy.wait_state('b1', 'up')
    other.stop()
    proxy.wait_state('b1', 'down')
