/* One product of two tiles by the compiler's own intrinsics, in the situation that argv[1] names; prints
 * "right" or "wrong". */
#define _GNU_SOURCE
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
};
/* Compilers take the configuration for 8 bytes, and may delete stores to the rest. */
static volatile struct config config = {1, 0, {0}, {64, 64, 64}, {16, 16, 16}};
static int8_t a[16][64], b[16][64];
static int32_t c[16][16];

static int permission(void) {
    return (int)syscall(SYS_arch_prctl, 0x1023, 18);
}

static void load_config(void) {
    _tile_loadconfig((const void *)&config);
}

static const char *product(void) {
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 64; j++) {
            a[i][j] = (int8_t)(i * 7 - j);
            b[i][j] = (int8_t)(j * 5 - i * 3);
        }
    __asm__ volatile("" ::: "memory");
    _tile_zero(0);
    _tile_loadd(1, a, 64);
    _tile_loadd(2, b, 64);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, c, 64);
    __asm__ volatile("" ::: "memory");
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            int32_t sum = 0;
            for (int k = 0; k < 64; k++)
                sum += a[m][k] * b[k / 4][4 * n + k % 4];
            if (sum != c[m][n])
                return "wrong";
        }
    return "right";
}

static void *in_thread(void *unused) {
    (void)unused;
    return (void *)product();
}

static sigjmp_buf after;
static void on_illegal(int number) {
    (void)number;
    load_config();
    puts(product());
    siglongjmp(after, 1);
}

static int handled;
static void on_signal(int number) {
    handled = number;
    load_config();
    puts(product());
}

static int is(const char *word, const char *wanted) {
    return strcmp(word, wanted) == 0;
}

int main(int argc, char **argv) {
    const char *const what = argv[1];
    char *const child[] = {argv[0], "run", NULL}, *const nothing[] = {NULL};
    sigset_t all, found;
    (void)argc;
    if (permission() != 0) {
        perror("permission");
        return 1;
    }
    load_config();
    setvbuf(stdout, NULL, _IONBF, 0);
    sigfillset(&all);

    if (is(what, "run")) {
        puts(product());
    } else if (is(what, "blocked")) {
        sigprocmask(SIG_SETMASK, &all, NULL);
        puts(product());
        sigprocmask(SIG_BLOCK, NULL, &found);
        printf("%d %d\n", sigismember(&found, SIGILL), sigismember(&found, SIGSEGV));
        sigdelset(&all, SIGILL);
        pthread_sigmask(SIG_SETMASK, &all, &found);
        printf("%d\n", sigismember(&found, SIGILL));
        pthread_sigmask(SIG_BLOCK, NULL, &found);
        printf("%d\n", sigismember(&found, SIGILL));
    } else if (is(what, "blocked fault")) {
        sigprocmask(SIG_SETMASK, &all, NULL);
        signal(SIGSEGV, on_signal);
        *(volatile int *)8 = 1;
    } else if (is(what, "blocked thread")) {
        pthread_t thread;
        void *result;
        sigprocmask(SIG_SETMASK, &all, NULL);
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, &result);
        puts(result);
    } else if (is(what, "handler")) {
        struct sigaction action = {.sa_handler = on_signal}, old;
        action.sa_mask = all;
        sigaction(SIGUSR1, &action, NULL);
        raise(SIGUSR1);
        sigaction(SIGUSR1, NULL, &old);
        printf("%d %d\n", handled == SIGUSR1, sigismember(&old.sa_mask, SIGILL));
    } else if (is(what, "own handler")) {
        struct sigaction old;
        const sighandler_t before = signal(SIGILL, on_illegal);
        puts(product());
        if (sigsetjmp(after, 1) == 0)
            __builtin_trap();
        sigaction(SIGILL, NULL, &old);
        printf("%d %d\n", before == SIG_DFL, old.sa_handler == on_illegal);
    } else if (is(what, "execve")) {
        execve(argv[0], child, nothing);
    } else if (is(what, "execl")) {
        clearenv();
        execl(argv[0], argv[0], "run", NULL);
    } else if (is(what, "execle")) {
        execle(argv[0], argv[0], "run", NULL, nothing);
    } else if (is(what, "posix_spawn")) {
        pid_t pid;
        int status;
        const int error = posix_spawn(&pid, argv[0], NULL, NULL, child, nothing);
        waitpid(pid, &status, 0);
        printf("%d %d\n", error, status);
    } else if (is(what, "vfork")) {
        int status;
        const pid_t pid = vfork();
        if (pid == 0) {
            execve(argv[0], child, nothing);
            _exit(1);
        }
        waitpid(pid, &status, 0);
        printf("%s %d\n", product(), status);
    } else if (is(what, "fork")) {
        int status;
        const pid_t pid = fork();
        puts(product());
        if (pid == 0)
            _exit(3);
        waitpid(pid, &status, 0);
    } else if (is(what, "exec blocked")) {
        sigprocmask(SIG_SETMASK, &all, NULL);
        execl(argv[0], argv[0], "blocked at start", NULL);
    } else if (is(what, "blocked at start")) {
        sigprocmask(SIG_BLOCK, NULL, &found);
        printf("%s %d\n", product(), sigismember(&found, SIGILL));
    } else if (is(what, "_exit")) {
        puts(product());
        _exit(0);
    } else if (is(what, "abort")) {
        puts(product());
        abort();
    } else if (is(what, "kill")) {
        puts(product());
        raise(SIGKILL);
    } else if (is(what, "segfault")) {
        puts(product());
        *(volatile int *)8 = 1;
    } else if (is(what, "altstack")) {
        static char stack[8192];
        const stack_t small = {.ss_sp = stack, .ss_size = sizeof stack};
        const int result = sigaltstack(&small, NULL);
        printf("%d %d\n", result, errno == ENOMEM);
    }
    return 0;
}
