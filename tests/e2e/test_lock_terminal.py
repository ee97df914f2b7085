"""`ringproxy lock` on a terminal: Ctrl-C, Ctrl-Z, pipelines, the background of a shell."""

import os
import pty
import select
import signal

import pytest

import locked
import pace
from harness import wait_until


class Terminal:
    """A session on a terminal of its own, which runs a script of sh (or bash)."""

    def __init__(self, folder, url, script, shell='sh'):
        self.seen = b''
        env = locked.environment(url, LOCK=f'{locked.RINGPROXY} lock')
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(shell, [shell, '-c', script], env)

    def read(self):
        if select.select([self.fd], [], [], 0.02)[0]:
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:  # the other side is closed
                pass
        return self.seen.decode(errors='replace').replace('\r\n', '\n')

    def says(self, text):
        wait_until(lambda: text in self.read(), f'"{text}" in {self.seen}')
        return self

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self):
        """The exit code."""
        found = []

        def ended():
            self.read()
            if not found:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    found.append(os.waitstatus_to_exitcode(status))
            return found
        wait_until(ended, 'the end')
        self.pid = None
        return found[0]

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(redis, tmp_path):
    made = []

    def start(script, shell='sh'):
        made.append(Terminal(tmp_path, redis.url(), script, shell))
        return made[-1]
    yield start
    for one in made:
        one.close()


def test_the_command_has_the_terminal_and_gives_it_back(terminal):
    t = terminal('''$LOCK a -- sh -c 'read x; echo "got:$x"'; read y; echo "then:$y"''')
    t.type('one\n')
    t.says('got:one')
    t.type('two\n')
    t.says('then:two')
    assert t.wait() == 0


def test_ctrl_c_ends_the_command(terminal):
    t = terminal('''trap : INT; $LOCK a -- sh -c 'echo ready; sleep 100'; echo "code:$?"''').says('ready')
    t.type('\x03')
    t.says('code:130')


def test_ctrl_c_ends_the_waiting(redis, terminal):
    redis.call('SET', locked.key('a'), 'taken', 'PX', 60000)
    t = terminal('''trap : INT; $LOCK -v a -- echo no; echo "code:$?"''').says('held by')
    t.type('\x03')
    t.says('code:130')


def test_ctrl_z_is_undone(terminal):
    t = terminal('''$LOCK -v a -- sh -c 'echo ready; read x; echo "got:$x"' ''').says('ready')
    t.type('\x1a')
    t.says('undone')
    t.type('on\n')
    t.says('got:on')
    assert t.wait() == 0


def test_ctrl_z_in_a_pipeline_stops_nothing(redis, terminal):
    seconds = pace.stretched(1.0)
    t = terminal(f'''$LOCK --ttl {pace.ms(seconds)} a -- sh -c 'echo ready; sleep {1.5 * seconds}; echo end' |
                     sh -c 'trap "" TSTP; cat' ''').says('ready')
    t.type('\x1a')
    t.says('end')
    assert t.wait() == 0


def test_in_a_pipeline_the_command_gets_the_terminal_when_it_asks(terminal):
    t = terminal('''$LOCK -v a -- sh -c 'read x < /dev/tty; echo "got:$x"' | sed s/got/piped/; echo end''')
    t.says('was stopped')
    t.type('one\n')
    t.says('piped:one').says('end')
    assert t.wait() == 0


def test_a_reader_at_the_end_of_a_pipeline_keeps_the_terminal(terminal):
    t = terminal('''$LOCK a -- sh -c 'echo ready; sleep 0.5' | sh -c 'cat; read x < /dev/tty; echo "got:$x"' ''')
    t.says('ready')
    t.type('one\n')
    t.says('got:one')
    assert t.wait() == 0


def test_in_the_background_of_a_shell_it_waits_for_the_terminal(terminal):
    t = terminal('''set -m
                    $LOCK a -- sh -c 'read x; echo "got:$x"' 2> err &
                    until grep -q 'waits for the terminal' err; do sleep 0.02; done
                    echo now; fg''', 'bash').says('now')
    t.type('one\n')
    t.says('got:one')
    assert t.wait() == 0


def test_a_terminal_that_hangs_up_ends_the_command(redis, terminal):
    t = terminal('''exec $LOCK a -- sh -c 'echo ready $$; while :; do sleep 0.05; done' ''').says('ready')
    pid = int(t.read().split('ready ')[1].split()[0])
    os.close(t.fd)
    t.fd = os.open('/dev/null', os.O_RDWR)
    locked.wait_gone(pid)
    wait_until(lambda: locked.holder(redis, 'a') is None, 'the release')
