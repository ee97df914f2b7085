#include "app/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static char *file;
static char **arguments;

static char *absolute(const char *name)
{
    char *folder = getcwd(NULL, 0);
    if (folder == NULL) /* it was removed, say: the name is as good as it was */
        return mem_strdup(name);
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_zalloc(n);
    snprintf(path, n, "%s/%s", folder, name);
    free(folder);
    return path;
}

void program_remember(char **argv)
{
    size_t n = 0;
    while (argv[n])
        n++;
    arguments = mem_zalloc_array(n + 1, sizeof *arguments);
    memcpy(arguments, argv, n * sizeof *arguments); /* getopt() moves them */
    if (n == 0 || argv[0][0] == 0)
        return;
    file = argv[0][0] != '/' && strchr(argv[0], '/') ? absolute(argv[0]) : mem_strdup(argv[0]);
}

const char *program_file(void)
{
    return file;
}

char **program_arguments(void)
{
    return arguments;
}
