/* A library whose constructor calls what the emulation interposes, at a time when that may not have begun. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void notice(int number) {
    (void)number;
    seen++;
}

static void *return_argument(void *argument) {
    return argument;
}

__attribute__((constructor)) static void call(void) {
    struct sigaction action = {.sa_handler = notice};
    pthread_t thread;
    void *returned = NULL;
    sigset_t set;
    sigemptyset(&set);
    sigaction(SIGILL, &action, NULL);
    signal(SIGUSR1, notice);
    raise(SIGUSR1);
    if (pthread_sigmask(SIG_SETMASK, &set, NULL) == 0 &&
        pthread_create(&thread, NULL, return_argument, &set) == 0 && pthread_join(thread, &returned) == 0 &&
        returned == &set && seen == 1 && write(STDOUT_FILENO, "early\n", 6) != 6)
        _exit(1);
}
