/* What state.c and state_encode.c have in common. */
#pragma once
#include <jansson.h>

#include "cluster/state.h"

struct state_rest {
    json_t *root; /* the document, to which the texts of a decoded state belong */
};

extern const char *const state_phases[]; /* by enum agreed_phase */
