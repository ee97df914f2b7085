"""Whatever becomes of stderr, nothing waits for it: no thread, no client, no check, no stop."""

import os
import re
import signal
import subprocess
import threading

import pytest

import harness
import pace
from chaos import descriptors
from client import Client, get
from harness import CHECK_OFF, wait_until
from test_limits import check_refused, connections

BY_KEY = {'key': 'header:X-Key'}
KEYS = [f'key{i:03}' for i in range(60)]
FILLER = b'x' * 4095 + b'\n'
QUIET = {**CHECK_OFF, 'interval': '1m'}


class Pipe:
    """A pipe whose writing end takes nothing: it is full before anybody has it."""

    def __init__(self, non_blocking=False):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, FILLER)
        except BlockingIOError:
            os.set_blocking(self.writer, not non_blocking)
        self.data, self.thread = b'', None

    def read_on(self):
        """From now on somebody reads."""
        def run():
            while more := os.read(self.reader, 1 << 20):
                self.data += more
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def text(self):
        return self.data.replace(FILLER, b'').decode()

    def rest(self):
        """What is in it when no process writes any more. All of its lines are whole."""
        os.close(self.writer)
        self.writer = None
        if self.thread is None:
            self.read_on()
        self.thread.join(pace.upper(20))
        assert not self.thread.is_alive()
        text = self.text()
        assert text.endswith('\n')
        for line in text.splitlines():
            assert re.match(r'time=[-0-9:.TZ]{24} level=[a-z]+ event=', line) or line == 'x', line
        return text

    def close(self):
        os.close(self.reader)
        if self.writer is not None:
            os.close(self.writer)


@pytest.fixture
def pipe():
    p = Pipe()
    yield p
    p.close()


def launch(proxy, err, ready=True):
    """As proxy.start(), with stderr where it is wanted."""
    proxy.starts += 1
    proxy.out_path = proxy.folder / f'{proxy.name}.{proxy.starts}.out'
    proxy.err_path = proxy.folder / f'{proxy.name}.{proxy.starts}.err'
    proxy.err_path.touch()
    with open(proxy.out_path, 'wb') as out:
        proxy.launch(proxy.argv, proxy.folder, out, err)
    if ready:
        wait_until(lambda: proxy.ready() or not proxy.running(), 'the proxy to be ready')
        assert proxy.running()
    return proxy


def posts(proxy, n, batch=20):
    """n times drain and enable of b1, one connection."""
    def line(verb):
        return f'POST /pools/p/backends/b1/{verb} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n'
    with Client(proxy.admin.port) as c:
        for at in range(0, n, batch):
            count = min(batch, n - at)
            c.send((line('drain') + line('enable')).encode() * count)
            for _ in range(2 * count):
                assert c.answer().status == 200


def dropped(proxy):
    assert 'ringproxy_log_dropped_total' in proxy.admin.metrics()
    return int(proxy.admin.metric('ringproxy_log_dropped_total'))


def said(text):
    return sum(int(n) for n in re.findall(r'level=warn event="log lines dropped" count=(\d+)\n', text))


def split(text):
    """Lines up to the first of the posts, of each pair of posts, and how many there are in all."""
    lines = [line for line in text.splitlines() if 'event="log lines dropped"' not in line]
    drains = [i for i, line in enumerate(lines) if ' event=drained ' in line]
    return drains[0], drains[1] - drains[0], len(lines)


def check_sum(text, pairs, behind):
    """Every line of so many posts, of the start, and of `behind` others is there or counted."""
    before, each, lines = split(text)
    assert lines + said(text) == before + each * pairs + behind, (before, each, lines, said(text))
    return each * pairs


# --- a pipe that nobody reads -------------------------------------------------------------------

@pytest.mark.threads
def test_ten_thousand_lines_that_nobody_reads_hold_nothing_up(rig, pipe):
    """They are there for who comes later: after the process has ended, too."""
    servers = {n: rig.backend(n) for n in ('b1', 'b2', 's1')}
    proxy = rig.proxy([servers['b1'], servers['b2']], [servers['s1']], start=False, listener=BY_KEY,
                      pool={'health': {'fall': 100}})
    launch(proxy, pipe.writer)
    load = rig.load(proxy, KEYS)
    pairs = 2500
    posts(proxy, pairs)
    since = load.wait_rounds(1)
    checks = {n: len(s.checks) for n, s in servers.items()}
    wait_until(lambda: all(len(s.checks) > checks[n] + 2 for n, s in servers.items()), 'checks')
    assert not load.bad(), load.bad()[:3]
    assert load.all(since)
    lost = dropped(proxy)
    assert lost > 1000
    load.stop()
    proxy.stop()
    text = pipe.rest()
    assert lost <= said(text) <= lost + 2  # there was no room for the lines of the stop either
    assert check_sum(text, pairs, behind=2) >= 10000


@pytest.mark.threads
def test_count_is_told_as_soon_as_somebody_reads(rig, pipe):
    proxy = rig.proxy([rig.backend('b1')], [rig.backend('s1')], start=False, pool={'health': QUIET})
    launch(proxy, pipe.writer)
    for more in (2000, 300):
        posts(proxy, more)
        lost = dropped(proxy)
        pipe.read_on()
        wait_until(lambda: said(pipe.text()) == lost, 'the count')
    posts(proxy, 100)  # somebody reads: nothing more is lost
    assert dropped(proxy) == lost > 0
    proxy.stop()
    check_sum(pipe.rest(), 2400, behind=2)


def test_worker_has_something_to_say_that_nobody_reads(rig, pipe):
    proxy = rig.proxy([rig.backend('b1')], start=False, pool={'health': QUIET}, top={'workers': 1},
                      listener={'max_connections': 1})
    launch(proxy, pipe.writer)
    wait_until(lambda: connections(proxy) == 0, 'no connection')
    with Client(proxy.port) as inside:
        for _ in range(5):
            assert inside.request('GET', '/').text == 'b1'
            with Client(proxy.port) as c:
                check_refused(c.answer())
    proxy.stop()
    assert 'event="connections refused" listener=web reason=max_connections count=1\n' in pipe.rest()


def test_second_signal_ends_at_once_though_nobody_reads(rig, pipe):
    backend = rig.backend('b1', lambda ex: ex.hang())
    proxy = rig.proxy([backend], start=False, pool={'health': QUIET}, top={'shutdown_timeout': '10m'})
    launch(proxy, pipe.writer)
    with Client(proxy.port) as c:
        c.send_request('GET', '/')
        backend.wait_blocked()
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: proxy.admin.request('GET', '/readyz')[0] == 503, 'the stop to begin')
        proxy.stop(expect=1)
    assert 'second signal, leaving at once' in pipe.rest()


def test_start_that_fails_ends_though_nobody_reads(rig, pipe):
    first = rig.proxy([rig.backend('b1')], pool={'health': QUIET})
    second = rig.proxy_of(first.config.read_text(), first.port, None, start=False)
    launch(second, pipe.writer, ready=False)
    second.check_end(expect=1)
    text = pipe.rest()
    assert re.search(r'event="start failed" reason=".*[Aa]ddress already in use"\n', text), text


def test_demo_prints_what_nobody_reads(tmp_path, pipe):
    with open(tmp_path / 'err', 'wb') as err:
        demo = subprocess.Popen([harness.RINGPROXY, 'demo'], stdin=subprocess.DEVNULL,
                                stdout=pipe.writer, stderr=err)
    try:
        wait_until(lambda: ' event=listening ' in (tmp_path / 'err').read_text(), 'it to listen')
        demo.send_signal(signal.SIGINT)
        assert demo.wait(pace.upper(20)) == 0, (tmp_path / 'err').read_text()
    finally:
        demo.kill()
        demo.wait()


def test_ringbench_serve_has_something_to_say_that_nobody_reads(tmp_path, pipe):
    serve = harness.Serve(tmp_path, 'b1')
    serve.argv = ['prlimit', '--nofile=24:24', *serve.argv]
    launch(serve, pipe.writer, ready=False)
    clients = []
    try:
        wait_until(lambda: harness.accepts(serve.port), 'it to listen')
        clients += [Client(serve.port) for _ in range(30)]
        wait_until(lambda: descriptors(serve) == 24, 'the last descriptor to be taken')
        for _ in range(3):
            assert clients[0].request('GET', '/').status == 200
        serve.signal(signal.SIGTERM)
        assert serve.wait() == 0
    finally:
        serve.kill()
        for c in clients:
            c.close()
    assert 'event="accept failed" reason="too many open files"' in pipe.rest()


# --- other things that stderr may be --------------------------------------------------------------

def full_disk():
    return os.open('/dev/full', os.O_WRONLY)


def no_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def read_only():
    return os.open('/dev/null', os.O_RDONLY)


@pytest.mark.parametrize('place', [full_disk, no_reader, read_only])
def test_lines_that_cannot_be_written_are_counted(rig, place):
    proxy = rig.proxy([rig.backend('b1')], [rig.backend('s1')], start=False, pool={'health': QUIET})
    err = place()
    launch(proxy, err)
    os.close(err)
    wait_until(lambda: dropped(proxy) >= 3, 'the lines of the start to fail')
    before = dropped(proxy)
    posts(proxy, 50)
    each = 4  # drained, promotion, takeover ended, enabled
    wait_until(lambda: dropped(proxy) == before + 50 * each, 'all to be counted')
    assert get(proxy.port).text == 'b1'
    proxy.stop()


def test_stderr_may_be_non_blocking(rig):
    """As it is if another process that has it made it so; it stays as it is."""
    pipe = Pipe(non_blocking=True)
    try:
        proxy = rig.proxy([rig.backend('b1')], [rig.backend('s1')], start=False,
                          pool={'health': QUIET})
        launch(proxy, pipe.writer)
        posts(proxy, 100)
        pipe.read_on()
        posts(proxy, 100)
        proxy.stop()
        assert not os.get_blocking(pipe.writer)
        check_sum(pipe.rest(), 200, behind=2)
    finally:
        pipe.close()


# --- no stderr at all -----------------------------------------------------------------------------

def without(argv, missing):
    return ['sh', '-c', f'exec "$@" {" ".join(f"{n}>&-" for n in missing)}', 'sh', *argv]


def check_streams(pid, missing):
    for n in range(3):
        is_null = os.readlink(f'/proc/{pid}/fd/{n}') == '/dev/null'
        assert is_null or n not in missing, (n, os.readlink(f'/proc/{pid}/fd/{n}'))


@pytest.mark.parametrize('missing', [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_what_a_process_is_started_without_is_dev_null(rig, missing):
    proxy = rig.proxy([rig.backend('b1')], start=False)
    proxy.argv = without(proxy.argv, missing)
    proxy.start()
    check_streams(proxy.pid, missing)
    assert get(proxy.port).text == 'b1'
    proxy.stop()  # by then the log is written
    assert (' event=listening ' in proxy.err()) == (2 not in missing)
    assert proxy.out() == ''


def test_ringbench_is_started_without_any(tmp_path):
    serve = harness.Serve(tmp_path, 'b1')
    serve.argv = without(serve.argv, (0, 1, 2))
    serve.start()
    try:
        check_streams(serve.process.pid, (0, 1, 2))
        assert get(serve.port).status == 200
    finally:
        serve.stop()


def test_results_of_a_command_go_nowhere_else(rig):
    """A file that the command opens must not get the number of stdout."""
    config = rig.proxy([rig.backend('b1')], start=False).config
    for missing in ((1,), (2,), (0, 1, 2)):
        done = subprocess.run(without([harness.RINGPROXY, 'check', '-c', str(config)], missing),
                              check=False, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0 and done.stderr == b'', (missing, done)
        assert bool(done.stdout) == (1 not in missing)
