/* Runs inputs through a fuzz target without a fuzzer, in every build: whatever once crashed and
 * lies in the corpus stays tried.
 *
 *   fuzz_NAME FOLDER|FILE...
 *
 * A folder without an input is a failure, so that a corpus that got lost is seen. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t ninputs;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    exit(EXIT_FAILURE);
}

/* The input is given in a block of its very size, so that a read past its end is seen. */
static void run_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail("open", path);
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        fail("memory for", path);
    if (fread(data, 1, size, f) != size)
        fail("read", path);
    fclose(f);
    if (LLVMFuzzerTestOneInput(data, size) != 0) {
        fprintf(stderr, "%s: the target did not return 0\n", path);
        exit(EXIT_FAILURE);
    }
    free(data);
    ninputs++;
}

static void run_folder(const char *path);

static void run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        fail("stat", path);
    if (S_ISDIR(st.st_mode))
        run_folder(path);
    else
        run_file(path, (size_t)st.st_size);
}

static void run_folder(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        fail("open", path);
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
        char inner[4096];
        if (entry->d_name[0] == '.')
            continue;
        int n = snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(inner)) {
            errno = ENAMETOOLONG;
            fail("open", path);
        }
        run_path(inner);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER|FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%zu inputs\n", ninputs);
    return ninputs ? EXIT_SUCCESS : EXIT_FAILURE;
}
