/* What a roster tells, as log lines. */
#pragma once
#include "pool/roster.h"

void notice_log(const struct roster_notice *n);
