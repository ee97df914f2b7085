#include "app/background.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

struct start {
    int nicer;
    void *(*run)(void *);
    void *arg;
};

static void *begin(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    /* If that fails the thread is as quick as the others, which does no harm to speak of. */
    if (start.nicer)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + start.nicer);
    return start.run(start.arg);
}

int background_start(pthread_t *thread, const char *name, int nicer, void *(*run)(void *),
                     void *arg)
{
    struct start *start = mem_zalloc(sizeof *start);
    sigset_t all, before;
    *start = (struct start){nicer, run, arg};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(thread, NULL, begin, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        free(start);
    else
        pthread_setname_np(*thread, name);
    return r;
}
