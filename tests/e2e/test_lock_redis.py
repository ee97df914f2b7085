"""`ringproxy lock` with a Redis that is no Redis; and what docs/lock.md shows, as it stands there."""

import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import threading

import pytest

import harness
import locked
import pace
from client import Reader

MASTER = b'*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n'
GRANTED = b'*7\r\n:1\r\n:%d\r\n$0\r\n\r\n:0\r\n:0\r\n$0\r\n\r\n:0\r\n'
EPOCH = 1_900_000_000_000


class FakeRedis:
    """Says what it is told to: `acquire`, `renew` are the answers to these scripts."""

    def __init__(self, acquire=GRANTED % EPOCH, renew=b':1\r\n', release=b':1\r\n'):
        self.answers = {'acquire': acquire, 'renew': renew, 'release': release}
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port, self.asked = self.listener.getsockname()[1], []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(s,), daemon=True).start()

    def talk(self, s):
        reader = Reader(s)
        try:
            while True:
                words = []
                for _ in range(int(reader.line()[1:])):
                    n = int(reader.line()[1:])
                    words.append(bytes(reader.exactly(n + 2))[:-2])
                s.sendall(self.answer(words))
        except Exception:  # the client is gone
            s.close()

    def answer(self, words):
        if words[0] == b'EVAL':
            keys = int(words[2])
            kind = 'release' if keys == 1 else 'renew' if len(words) == 3 + keys + 2 else 'acquire'
            self.asked.append(kind)
            return self.answers[kind]
        return MASTER if words[0] == b'ROLE' else b'+OK\r\n'

    def url(self):
        return f'redis://127.0.0.1:{self.port}'


@pytest.fixture
def fake():
    made = []

    def make(**answers):
        made.append(FakeRedis(**answers))
        return made[-1]
    yield make
    for one in made:
        one.listener.close()


BROKEN = {
    'error': b'-NOPERM this user has no \x1b[31mpermissions\r\n',
    'text': b'$2\r\nok\r\n', 'nil': b'$-1\r\n', 'integer': b':1\r\n', 'empty': b'*0\r\n',
    'short': b'*1\r\n:0\r\n', 'types': b'*4\r\n$1\r\n1\r\n:1\r\n:1\r\n:1\r\n',
    'epoch 0': GRANTED % 0, 'epoch below': GRANTED % -5, 'epoch beyond': GRANTED % (1 << 53), 'other': b'*4\r\n:7\r\n:1\r\n$0\r\n\r\n:1\r\n',
    'deep': b'*1\r\n' * 100, 'junk': b'HTTP/1.1 400 Bad Request\r\n\r\n', 'huge': b'$999999999999\r\n',
}


@pytest.mark.parametrize('what', list(BROKEN))
def test_a_broken_answer_is_no_lock(fake, what, tmp_path):
    done = locked.run(fake(acquire=BROKEN[what]).url(), '--wait', '0', 'a', '--', 'touch', tmp_path / 'ran')
    assert done.returncode == 75, done.stderr
    assert '\x1b' not in done.stderr and not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('what', ['error', 'text', 'nil', 'empty', 'junk', 'huge'])
def test_broken_answers_to_renewals_are_none(fake, what):
    seconds = pace.stretched(0.6)
    done = locked.run(fake(renew=BROKEN[what]).url(), f'--ttl={pace.ms(seconds)}', 'a', '--', 'sleep', '60')
    assert done.returncode == 69 and 'last renewed' in done.stderr and '\x1b' not in done.stderr


def test_a_holder_of_another_form_is_told_without_its_bytes(fake):
    held = b'*7\r\n:0\r\n:0\r\n$8\r\nmine\x1b[2J\r\n:5000\r\n:0\r\n$0\r\n\r\n:0\r\n'
    done = locked.run(fake(acquire=held).url(), '--wait', '0', 'a', '--', 'true')
    assert done.returncode == 75 and 'not ringproxy lock' in done.stderr and '\x1b' not in done.stderr


def test_a_silent_release_is_waited_for_a_second_at_most(fake):
    done = locked.run(fake(release=b'').url(), '--ttl', '30s', 'a', '--', 'sh', '-c', 'exit 5')
    assert done.returncode == 5


def test_the_command_starts_under_the_epoch_it_was_given(fake):
    done = locked.run(fake().url(), 'a', '--', 'sh', '-c', 'echo $RINGPROXY_LOCK_EPOCH')
    assert (done.returncode, done.stdout) == (0, f'{EPOCH}\n')


# --- the page -----------------------------------------------------------------------------------

SQLITE3 = f'''#!{sys.executable}
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2].split(";"):
    for row in db.execute(statement):
        print("|".join(map(str, row)))
'''


def test_the_example_of_the_page_does_what_it_says(redis, tmp_path):
    page = (harness.ROOT / 'docs' / 'lock.md').read_text()
    script = next(b for b in re.findall(r'```sh\n(.*?)```', page, re.S) if 'sqlite3' in b)
    seconds = pace.stretched(1.0)
    script = (script.replace('--ttl 1s', f'--ttl {pace.ms(seconds)}').replace('sleep 4', f'sleep {4 * seconds}')
              .replace('work.sh A 4', f'work.sh A {4 * seconds}').replace('sleep 0.5', f'sleep {0.5 * seconds}'))
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'ringproxy').symlink_to(locked.RINGPROXY)
    (tools / 'sqlite3').write_text(SQLITE3)
    (tools / 'sqlite3').chmod(stat.S_IRWXU)
    env = locked.environment(redis.url(), PATH=f'{tools}{os.pathsep}{os.environ["PATH"]}')
    done = subprocess.run(['sh', '-c', script], cwd=tmp_path, env=env, capture_output=True, check=False,
                          timeout=pace.upper(60))
    lines = done.stdout.decode().splitlines()
    assert [line.partition(', epoch')[0] for line in lines] == [
        'A has the lock', 'B has the lock', 'B has changed 1 rows', 'A has changed 0 rows', 'exit code of A: 69',
        'done by B'], (lines, done.stderr.decode())
    assert pathlib.Path(tmp_path / 'jobs.db').exists()
