"""Members of a fleet that are changed, restarted and replaced while clients and a sampler look on."""

import json
import threading
import time

import harness
import pace
from client import Client, Load
from harness import wait_until
from test_reload import BY_KEY

KEYS = [f'key-{i}' for i in range(60)]


def change(fleet, member, expect=200, **more):
    """Another configuration for a member, see Fleet.member(); what the reload said."""
    member.config.write_text(fleet.text(member.parts, **({'listener': BY_KEY} | more)))
    status, _, text = member.admin.request('POST', '/reload')
    assert status == expect, (status, text)
    return json.loads(text)


def instance(redis, member, name='edge'):
    """Of the process that has said last that it is this node."""
    beat = redis.call('HGET', redis.key('beats', name), member.name)
    return beat and beat.decode().split()[0]


def calm(fleet):
    """Whether nobody had to wait for the processor so long that servers were down or the fleet went on without
    a member: Redis and servers are well in the tests that ask this."""
    texts = ('fleet member stood still', 'no answer in time', 'reason="timed out after')
    return not any(t in m.err() for m in fleet.all if m.starts for t in texts)


class Watch:
    """A load at each member, and a sampler of where they send keys, until quiet() or moved()."""

    def __init__(self, rig, fleet, members=None, n=150, **more):
        self.fleet, self.members = fleet, members or fleet.living()
        self.loads = [rig.load(m, KEYS, threads=2) for m in self.members]
        self.sampler = fleet.sampler(n, self.members, **({'every': 0.15} | more)).start()
        self.sampler.wait_rounds(1)
        for load in self.loads:
            load.wait_rounds(1)

    def rounds(self, n=1):
        for load in self.loads:
            load.wait_rounds(n)
        return self.sampler.wait_rounds(n)

    def stop(self):
        self.rounds()
        self.sampler.stop()
        for load in self.loads:
            load.stop()
            assert load.bad() == [], load.bad()[:3]

    def quiet(self):
        """Nothing failed, nothing moved, nobody disagreed."""
        self.stop()
        if not calm(self.fleet):
            return
        assert not self.sampler.moves, self.sampler.moves[:3]
        assert not self.sampler.differ, self.sampler.differ[:3]
        for load in self.loads:
            moved = {k: who for k, who in load.served().items() if len(who) > 1}
            assert not moved, moved


class Later:
    """A request to the admin interface that is waited for in a thread of its own."""

    def __init__(self, member, target, method='POST'):
        self.member, self.result, self.error, self.took = member, None, None, 0.0
        self.thread = threading.Thread(target=self._run, args=(method, target), daemon=True)
        self.thread.start()

    def _run(self, method, target):
        begin = time.monotonic()
        try:
            status, _, text = self.member.admin.request(method, target)
            self.result = status, json.loads(text)
        except (OSError, ValueError, harness.http.client.HTTPException) as e:
            self.error = repr(e)
        self.took = time.monotonic() - begin

    def answer(self):
        self.thread.join(pace.upper(30))
        assert not self.thread.is_alive(), 'no answer'
        assert self.error is None, self.error
        return self.result
