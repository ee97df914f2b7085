/* What the fleet tells, as lines of the log. Threads: control. */
#pragma once
#include "cluster/fleet.h"

void member_log(const struct fleet_notice *n);
