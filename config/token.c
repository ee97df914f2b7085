#include "config/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define TOKEN_MAX 1024

/* The directory of the configuration file is the base, not the working directory, so that the
 * result does not depend on where the program was started. */
char *token_path(const char *config_file, const char *token_file)
{
    const char *slash = strrchr(config_file, '/');
    if (token_file[0] == '/' || slash == NULL)
        return mem_strdup(token_file);
    size_t dir = (size_t)(slash - config_file) + 1, n = dir + strlen(token_file) + 1;
    char *path = mem_zalloc(n);
    snprintf(path, n, "%.*s%s", (int)dir, config_file, token_file);
    return path;
}

/* Reads up to size bytes, fewer only at the end of the file. Returns how many; -1: errno
 * says why. */
static ssize_t read_all(int fd, char *out, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, out + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

/* The token without white space around it. NULL: it is empty or has other than visible ASCII
 * characters, so that no Authorization field could carry it. */
static char *trim_token(const char *p, size_t n)
{
    static const char space[] = " \t\r\n";
    while (n && p[0] && strchr(space, p[0]))
        p++, n--;
    while (n && p[n - 1] && strchr(space, p[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] <= ' ' || (unsigned char)p[i] >= 0x7f)
            return NULL;
    return n ? mem_strndup(p, n) : NULL;
}

char *token_load(const char *config_file, const char *token_file, struct error *e)
{
    char text[TOKEN_MAX + 1], *token = NULL; /* one byte more, to notice a longer file */
    char *path = token_path(config_file, token_file);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a FIFO must not block */
    if (fd < 0 || fstat(fd, &st) != 0) {
        error_errno(e, errno, "%s cannot be read", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(e, 0, "%s is not a regular file", path);
        goto out;
    }
    ssize_t n = read_all(fd, text, sizeof text);
    if (n < 0) {
        error_errno(e, errno, "%s cannot be read", path);
        goto out;
    }
    if (n <= TOKEN_MAX)
        token = trim_token(text, (size_t)n);
    if (token == NULL)
        error_set(e, 0, "%s holds no token, allowed 1 to %d visible ASCII characters", path,
                  TOKEN_MAX);
out:
    if (fd >= 0)
        close(fd);
    free(path);
    return token;
}
