#include "plan/texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void texts_add(struct plan_texts *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    t->text = mem_grow(t->text, t->n + 1, sizeof *t->text);
    t->text[t->n++] = mem_check(text);
}

void texts_free(struct plan_texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->text[i]);
    free(t->text);
    *t = (struct plan_texts){0};
}
