"""Many processes want one lock while holders are killed and stopped and Redis loses all it has. What they
protect, a counter, is fenced by the epoch: it takes no write out of order and loses none.

LOCK_ACQUISITIONS: how often each of the eight gets the lock; 1000 takes some minutes."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest

import locked
import pace
from fleet import Redis

ACQUISITIONS = int(os.environ.get('LOCK_ACQUISITIONS', '8'))
PROCESSES = 8

# The counter's side. Who reads shows its epoch, too: from then on no older holder can write, so what was
# read stays true until it is written.
READ = '''
local fence = tonumber(redis.call('GET', KEYS[1] .. ':fence') or 0)
if tonumber(ARGV[1]) < fence then return 'stale' end
redis.call('SET', KEYS[1] .. ':fence', ARGV[1])
return redis.call('GET', KEYS[1]) or '0'
'''
WRITE = '''
local fence = tonumber(redis.call('GET', KEYS[1] .. ':fence') or 0)
if tonumber(ARGV[1]) < fence then return 'stale' end
redis.call('SET', KEYS[1] .. ':fence', ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('RPUSH', KEYS[1] .. ':log', ARGV[1] .. ' ' .. ARGV[2])
return 'stored'
'''
# Not atomic: it reads, and writes one more. Between the two anything may happen to it.
COUNT = '''
echo "epoch $RINGPROXY_LOCK_EPOCH"
n=$(redis-cli -s "$COUNTER" EVAL "$READ" 1 n "$RINGPROXY_LOCK_EPOCH") || exit 9
[ "$n" != stale ] || { echo stale; exit 0; }
redis-cli -s "$COUNTER" EVAL "$WRITE" 1 n "$RINGPROXY_LOCK_EPOCH" $((n + 1)) || exit 9
echo "value $((n + 1))"
'''


class Crowd:
    def __init__(self, redis, counter):
        self.redis = redis
        self.env = locked.environment(redis.url(), COUNTER=counter.path, READ=READ, WRITE=WRITE)
        self.lock = threading.Lock()
        self.running, self.left = set(), [ACQUISITIONS] * PROCESSES
        self.stored, self.stale, self.codes, self.strange, self.faults = [], 0, {}, [], []
        self.done = threading.Event()

    def worker(self, i):
        try:
            while self.left[i] > 0 and not self.done.is_set():
                self.once(i)
        except BaseException as e:
            self.faults.append(repr(e))
            raise

    def once(self, i):
        p = subprocess.Popen([locked.RINGPROXY, 'lock', '--ttl', '500ms', '--wait', '20s', 'n', '--', 'sh', '-c', COUNT],
                             env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
        with self.lock:
            self.running.add(p.pid)
        out, err = p.communicate()
        with self.lock:
            self.running.discard(p.pid)
            self.codes[p.returncode] = self.codes.get(p.returncode, 0) + 1
            words = out.decode().split()
            self.left[i] -= 'epoch' in words
            self.stale += 'stale' in words
            if 'value' in words and 'stored' in words:
                self.stored.append((int(words[1]), int(words[-1])))
            if p.returncode not in (0, 69, 75, -9) or b'Sanitizer' in err or b'runtime error' in err:
                self.strange.append((p.returncode, out, err))

    def victim(self):
        with self.lock:
            if not self.running:
                return None, []
            holder = locked.holder(self.redis, 'n') if random.random() < 0.8 else None
            pid = int(holder.rpartition('/')[2]) if holder else random.choice(sorted(self.running))
            if pid not in self.running:
                return None, []
        try:
            with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as f:
                return pid, [int(c) for c in f.read().split()]
        except OSError:
            return None, []

    def strike(self):
        what = random.choice(['kill', 'stop', 'stop', 'stop all', 'stop all', 'stop all', 'redis'])
        if what == 'redis':
            self.redis.restart()
            return
        pid, children = self.victim()
        if pid is None:
            return
        if what == 'kill':
            send(pid, signal.SIGKILL)
            return
        send(pid, signal.SIGSTOP)
        for c in children if what == 'stop all' else ():
            send(-c, signal.SIGSTOP)
        # beyond the ttl; another is in, or will be
        self.done.wait(random.uniform(0.55, 0.9))
        for c in children if what == 'stop all' else ():
            send(-c, signal.SIGCONT)  # first, so that it can try to write
            self.done.wait(0.02)
        send(pid, signal.SIGCONT)

    def trouble(self):
        try:
            while not self.done.wait(random.uniform(0.05, 0.6)):
                self.strike()
        except BaseException as e:
            self.faults.append(repr(e))
            raise


def send(pid, number):
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


@pytest.fixture
def counter(rig):
    server = Redis(rig.folder, 'counter').start()
    rig.daemons.append(server)
    return server


def test_a_fenced_counter_takes_no_write_out_of_order_and_loses_none(redis, counter):
    crowd = Crowd(redis, counter)
    threads = [threading.Thread(target=crowd.worker, args=(i,)) for i in range(PROCESSES)]
    chaos = threading.Thread(target=crowd.trouble)
    begin = time.monotonic()
    for t in [*threads, chaos]:
        t.start()
    for t in threads:
        t.join(pace.upper(60 + 0.6 * PROCESSES * ACQUISITIONS))
    crowd.done.set()
    chaos.join()
    assert not any(t.is_alive() for t in threads)
    log = [tuple(map(int, entry.split())) for entry in counter.call('LRANGE', 'n:log', 0, -1)]
    print(f'{time.monotonic() - begin:.0f} s, {len(log)} writes, {crowd.stale} stale ones refused, '
          f'exit codes {dict(sorted(crowd.codes.items()))}, {redis.starts} starts of Redis')
    assert not crowd.faults and not crowd.strange, (crowd.faults, crowd.strange[:3])
    # each write is one more than the one before, no epoch comes back
    assert [value for _, value in log] == list(range(1, len(log) + 1))
    epochs = [e for e, _ in log]
    assert epochs == sorted(set(epochs)), 'two writes under one epoch, or one out of order'
    # what was confirmed is there
    assert set(crowd.stored) <= set(log)
    assert len(log) >= 0.5 * PROCESSES * ACQUISITIONS


def test_a_paused_holders_write_is_refused(redis, counter, tmp_path):
    """The example of docs/lock.md, without luck: the older holder has read, and writes after the younger."""
    seconds = pace.stretched(0.5)
    env = {'COUNTER': counter.path, 'READ': READ, 'WRITE': WRITE}
    arguments = ['--ttl', pace.ms(seconds), 'n', '--', 'sh', '-c']
    os.mkfifo(tmp_path / 'go')
    slow = COUNT.replace('redis-cli -s "$COUNTER" EVAL "$WRITE"', 'echo read; read x < go; redis-cli -s "$COUNTER" EVAL "$WRITE"')
    one = locked.Locked(tmp_path, redis.url(), *arguments, slow, **env)
    try:
        one.says('read')
        one.signal(signal.SIGSTOP)  # its command lives on, as it would on a host whose network is gone
        done = locked.run(redis.url(), *arguments, COUNT, **env)
        assert done.returncode == 0 and 'value 1' in done.stdout
        with open(tmp_path / 'go', 'w', encoding='ascii') as go:
            go.write('\n')
        one.says('stale')
        one.signal(signal.SIGCONT)
        assert one.wait() == 69
    finally:
        one.close()
    assert counter.call('GET', 'n') == b'1'
