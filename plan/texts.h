/* Lists of texts, and the parts of a plan that fill them. Of this folder alone. */
#pragma once
#include "plan/plan.h"

void texts_add(struct plan_texts *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void texts_free(struct plan_texts *t);
