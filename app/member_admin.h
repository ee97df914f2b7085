/* The fleet, as the admin interface shows it and asks things of it: struct admin_fleet.
 *
 * What for: admin and cluster do not know each other. Invariants: what status() gives is made anew
 * by each call. Ownership: member_admin_init() to member_admin_deinit(); the membership must
 * outlive it. Threads: control. */
#pragma once
#include "admin/hooks.h"
#include "app/membership.h"

struct member_admin {
    struct admin_fleet fleet; /* for struct admin_hooks, while there is a member */
    const struct membership *membership;
    struct fleet_status from; /* what `status` points into */
    bool filled;
    struct admin_fleet_status status;
    struct admin_member *members;
    struct admin_count refused[3], errors[REDIS_TROUBLES];
};

void member_admin_init(struct member_admin *a, const struct membership *m);
void member_admin_deinit(struct member_admin *a);
/* NULL: this proxy is in no fleet now. */
const struct admin_fleet *member_admin_fleet(const struct member_admin *a);
