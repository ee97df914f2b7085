#include "admin/answer.h"

/* no-store, as figures are of this moment; nosniff, as a browser must not take a name for HTML. */
bool answer_fields(struct httpd_answer *a)
{
    return httpd_field(a, "Cache-Control", STR("no-store")) &&
           httpd_field(a, "X-Content-Type-Options", STR("nosniff"));
}

static int append_json(const char *text, size_t n, void *arg)
{
    return buffer_append(arg, text, n) ? 0 : -1;
}

bool answer_json(struct httpd_answer *a, int status, const json_t *root)
{
    a->status = status;
    a->type = "application/json";
    return root && json_dump_callback(root, append_json, a->text, JSON_COMPACT) == 0 &&
           buffer_append(a->text, "\n", 1);
}
