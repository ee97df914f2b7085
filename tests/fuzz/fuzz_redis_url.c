/* Any text is either where a Redis is, within the bounds and with a form for logs that has no
 * password in it, or an error of visible characters that quotes nothing of the text. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_visible(const char *s, char least)
{
    for (; *s; s++)
        assert(*s >= least && *s < 0x7f);
}

static void check_url(const struct redis_url *u, const char *text)
{
    struct redis_url again;
    struct error e;
    assert(u->db <= 65535 && !(u->password && u->password_file));
    check_visible(u->shown, '!');
    check_visible(u->address_text, ' ');
    assert(strlen(u->shown) <= strlen(text) + sizeof "redis://:6379/0");
    if (u->user) /* a user alone is none of a URL */
        return;
    assert(redis_url_parse(&again, u->shown, &e));
    assert(strcmp(again.shown, u->shown) == 0 && again.db == u->db && again.password == NULL);
    assert(strcmp(again.address_text, u->address_text) == 0);
    redis_url_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct redis_url u;
    struct error e;
    assert(text);
    memcpy(text, data, size);
    text[size] = 0;
    if (redis_url_parse(&u, text, &e)) {
        check_url(&u, text);
        redis_url_deinit(&u);
    } else {
        check_visible(e.text, ' ');
        assert(u.address_text == NULL);
    }
    free(text);
    return 0;
}
