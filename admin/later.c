#include "admin/later.h"

#include <stdlib.h>

#include "admin/answer.h"
#include "config/config.h"

struct later {
    struct httpd_request *q;     /* NULL: the client has gone */
    char etag[CONFIG_ETAG_SIZE]; /* for a 200; "": none */
};

static void on_end(struct httpd_request *q, bool whole)
{
    struct later *l = q->user;
    if (l) /* NULL: this is the end of the answer */
        l->q = NULL;
}

/* Answers are given whole, so nothing is ever fed. */
static const struct httpd_request_ops ops = {.on_end = on_end};

struct later *later_keep(struct httpd_request *q)
{
    struct later *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->q = q;
    httpd_keep(q, &ops, l);
    return l;
}

void later_etag(struct later *l, struct str text)
{
    config_etag_of(text, l->etag);
}

static void answer(struct httpd_request *q, int status, const char *etag, const json_t *document)
{
    struct buffer text = {0}, fields = {0};
    struct httpd_answer a = {.text = &text, .fields = &fields};
    bool tagged = status == 200 && etag[0];
    if (answer_fields(&a) && (!tagged || httpd_field(&a, "ETag", str_of(etag))) &&
        answer_json(&a, status, document))
        httpd_answer(q, &a);
    else
        httpd_refuse(q, 500);
    buffer_release(&text);
    buffer_release(&fields);
}

void later_done(void *later, int status, json_t *document)
{
    struct later *l = later;
    if (l->q) {
        l->q->user = NULL;
        answer(l->q, status, l->etag, document);
    }
    json_decref(document);
    free(l);
}
