"""The keeper of a fleet dies, or stands still for longer than its lease, in the middle of a failover."""

import re
import threading
import time

import pytest

import pace
from harness import wait_until
from test_fleet_agree import KEYS, Scene, fail_in_another_order, told, wait_sees_down


class Versions:
    """Reads the version and the epoch in Redis again and again: none ever goes back."""

    def __init__(self, redis):
        self.redis, self.stored = redis, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with self.redis.connect() as c:
            while not self.stopping.wait(0.01):
                epoch, by, seq = c.call('HMGET', self.redis.key('state'), 'epoch', 'by', 'seq')
                lock = int(c.call('GET', self.redis.key('epoch')))
                version = (int(epoch), by.decode(), int(seq), lock)
                if not self.stored or self.stored[-1] != version:
                    self.stored.append(version)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        assert self.stored
        for a, b in zip(self.stored, self.stored[1:]):
            assert a[:3] <= b[:3] and a[3] <= b[3], self.stored
        return self.stored


def wait_new_keeper(old, survivors, since):
    """Which one it is, and how long after `since`."""
    def find():
        for m in survivors:
            if m.role() == 'keeper':
                return m
        return None
    new = wait_until(find, 'another keeper')
    took = time.monotonic() - since
    return new, took


def lease(fleet):
    """How long the lock may outlive its holder, and for the next one to take it."""
    return fleet.ttl + 0.2 + pace.upper(0.3)


def keeper_of(fleet, scene):
    keeper = fleet.wait_keeper()
    return keeper, [m for m in scene.members if m is not keeper]


@pytest.mark.parametrize('when', ['with the server', 'at the first word', 'between two'])
def test_the_keeper_is_killed_in_the_middle_of_a_failover(rig, fleet, redis, when):
    """The server b1 dies for all. Nobody at the other members notices that the keeper does, too."""
    scene = Scene(fleet)
    keeper, survivors = keeper_of(fleet, scene)
    versions = Versions(redis)
    loads = [rig.load(m, KEYS[:60], threads=2) for m in survivors]
    for load in loads:
        load.wait_rounds(1)
    scene.sampler.members = survivors
    scene.sampler.wait_rounds(1)
    since = time.monotonic()
    if when == 'with the server':
        keeper.kill()
    for m in scene.members:
        m.paths['b1'].refuse()
    if when == 'at the first word':
        wait_until(lambda: any(s.server('b1')['state'] == 'down' or 'here' in s.server('b1') for s in survivors),
                   'somebody to see it')
        keeper.kill()
    if when == 'between two':
        fleet.wait_out('b1')
        since = time.monotonic()
        keeper.kill()
        for m in survivors:
            m.paths['b2'].refuse()
    killed = time.monotonic()
    new, took = wait_new_keeper(keeper, survivors, killed)
    told(f'killed {when}: a new keeper after {took * 1000:.0f} ms (bound {lease(fleet) * 1000:.0f} ms, '
         f'lock_ttl {fleet.ttl * 1000:.0f} ms)')
    assert took <= lease(fleet)
    out = ('b1', 'b2') if when == 'between two' else ('b1',)
    fleet.wait_out(*out, members=survivors)
    scene.alike(since, scene.bound + 3 * fleet.ttl, 'the keeper killed')
    new.says('event="fleet keeper"')
    scene.agreed(*out, members=survivors)
    for load in loads:
        load.wait_rounds(1)
        load.stop()
        told(f'{len(load.bad())} of {len(load.all())} requests failed, '
             f'the slowest took {max(r.end - r.start for r in load.all()) * 1000:.0f} ms')
        assert not load.bad()
    # it comes back and follows
    keeper.start()
    fleet.wait_roles()
    scene.sampler.members = scene.members
    scene.sampler.wait_rounds(2)
    scene.sampler.stop()
    if when != 'between two':  # its own way to b2 was never cut
        scene.agreed(*out)
    versions.stop()


@pytest.mark.parametrize('agree', ['majority', 'all'])
def test_failures_in_another_order_while_the_keeper_dies(fleet, agree):
    """Three paths are cut, one after the other and differently at each member; then the last ones, and the
    keeper at the same time. What is left routes alike within 2 health.timeout + 3 lock_ttl."""
    scene = Scene(fleet, agree=agree)
    keeper, survivors = keeper_of(fleet, scene)
    scene.sampler.members = survivors
    scene.sampler.wait_rounds(1)
    # the one that can't reach b3 is a survivor if that is enough for the others, else the keeper
    order = [keeper, *survivors] if agree == 'all' else [*survivors, keeper]
    fail_in_another_order(order)
    since = time.monotonic()
    keeper.kill()
    out = ('b1', 'b2', 'b3') if agree == 'all' else ('b1', 'b2')
    fleet.wait_out(*out, members=survivors)
    scene.alike(since, scene.bound + 3 * fleet.ttl, f'agree: {agree}, the keeper killed')
    fleet.wait_keeper(survivors)
    scene.sampler.stop()
    scene.agreed(*out, members=survivors)


def test_a_keeper_that_stood_still_writes_nothing_and_follows(rig, fleet, redis):
    """SIGSTOP as a server dies, until another keeper has published; then SIGCONT."""
    scene = Scene(fleet)
    keeper, survivors = keeper_of(fleet, scene)
    versions = Versions(redis)
    scene.sampler.members = survivors
    scene.sampler.wait_rounds(1)
    loads = [rig.load(m, KEYS[:100], threads=1) for m in survivors]
    before = redis.state()
    since = time.monotonic()
    for m in scene.members:
        m.paths['b1'].refuse()
    keeper.pause()
    new, took = wait_new_keeper(keeper, survivors, since)
    told(f'stopped: a new keeper after {took * 1000:.0f} ms')
    fleet.wait_out('b1', members=survivors)
    scene.alike(since, scene.bound + 3 * fleet.ttl, 'the keeper stopped')
    drained = new.post('b2', 'drain')
    assert drained['agreed'] is True
    state = redis.state()
    assert state['epoch'] > before['epoch'] and state['by'] != before['by']
    resumed = time.monotonic()
    keeper.resume()
    scene.sampler.members = scene.members
    keeper.says('event="fleet lock lost"', 'event="fleet stood still"')
    wait_until(lambda: keeper.role() == 'follower' and keeper.version() == new.version(), 'it to follow')
    scene.alike(resumed, pace.upper(1.0), 'the old keeper goes on')
    scene.sampler.stop()
    scene.agreed('b1', 'b2')
    for load in loads:
        load.stop()
        assert not load.bad()
    stored = versions.stop()
    # nothing of it was stored after another one's first publication
    last = [by for _, by, _, _ in stored]
    assert before['by'] not in last[last.index(state['by']):]
    assert fleet.wait_keeper() is new


def test_what_a_keeper_sent_before_its_lease_ran_out_is_refused(fleet, redis):
    """A publication that comes late, byte by byte as it was sent: from a keeper that is none any more, and
    from one that took the lock again since. The scripts refuse it, as its lock and its epoch are old ones."""
    scene = Scene(fleet)
    scene.sampler.stop()
    keeper, survivors = keeper_of(fleet, scene)
    keeper.redis.record = {}
    assert keeper.post('b1', 'drain')['agreed'] is True
    keeper.post('b1', 'enable')
    sent = publications(keeper.redis.record)
    assert len(sent) >= 2
    keeper.pause()
    new, _ = wait_new_keeper(keeper, survivors, time.monotonic())
    new.post('b2', 'drain')
    fleet.wait_out('b2', members=survivors)
    state, epoch = redis.state(), redis.call('GET', redis.key('epoch'))
    for words in sent:
        assert redis.call(*words) == 0
    assert redis.state() == state and redis.call('GET', redis.key('epoch')) == epoch
    keeper.resume()
    fleet.wait_roles()
    # and once more with the lock in the right hands, but at a later epoch
    new.pause()
    third, _ = wait_new_keeper(new, [m for m in scene.members if m is not new], time.monotonic())
    third.post('b3', 'drain')
    state = redis.state()
    for words in sent:
        assert redis.call(*words) == 0
    assert redis.state()['epoch'] == state['epoch'] and redis.state()['body']['pools'] == state['body']['pools']
    new.resume()
    fleet.wait_roles()
    fleet.wait_out('b2', 'b3')
    scene.agreed('b2', 'b3')


def publications(record):
    """The commands among what a member sent that store a publication."""
    found = []
    for data in record.values():
        for begin in re.finditer(rb'\*\d+\r\n\$4\r\nEVAL\r\n', bytes(data)):
            words = command(bytes(data)[begin.start():])
            if words and any(w.startswith(b'{') and b'"pools"' in w and b'"id"' not in w for w in words):
                found.append(words)
    return found


def command(data):
    """The words of the command that begins there; None: its end is missing."""
    head, _, data = data.partition(b'\r\n')
    words = []
    for _ in range(int(head[1:])):
        size, _, data = data.partition(b'\r\n')
        if not size[1:].isdigit() or len(data) < int(size[1:]):
            return None
        words.append(data[:int(size[1:])])
        data = data[int(size[1:]) + 2:]
    return words
