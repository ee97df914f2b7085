"""Two proxies with `listen: active`, one of which gets another `cluster` by a reload: it leaves the fleet and
comes back as a new member of it, which has to know that it accepts."""

import harness
import pace
from harness import wait_until


def active(members):
    return [m for m in members if harness.accepts(m.port)]


def test_one_is_active_after_the_active_one_has_left_and_come_back(fleet, redis):
    fleet.backends('b1', 'b2')
    members = fleet.members(2, cluster={'listen': 'active'})
    fleet.wait_roles()
    wait_until(lambda: len(active(members)) == 1, 'one to be active')
    was = active(members)[0]
    here = f'redis://127.0.0.1:{was.redis.port}/0'
    was.config.write_text(was.config.read_text().replace(f'[{here}]', f'[{here}, {here}]'))
    assert was.admin.request('POST', '/reload')[0] == 200
    wait_until(lambda: was.says('fleet left'), 'it to have left')
    for _ in range(3):  # whoever it is now
        fleet.wait_roles()
        wait_until(lambda: len(active(members)) == 1, 'one to be active, and no more', pace.upper(5))
    assert active(members) == [fleet.keeper()]
