/* What the hostile traced programs of tests/emulate/test_hostile_tracees.py do: `hostile_tracee CASE
 * [FILE...]`. Each ends with status 7 if it comes to its end. */
#define _GNU_SOURCE
#include "insn.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
enum { DONE = 7, WRITTEN_TO = 8, IMPOSSIBLE = 77, PAGE = 4096, ATTEMPTS = 20, INT3 = 0xcc };

static void *map_code(const char *path, void *where, int shared) {
    struct stat about;
    const int file = open(path, shared ? O_RDWR : O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0)
        exit(1);
    void *const at = mmap(where, (size_t)about.st_size, PROT_READ | PROT_EXEC,
                          (shared ? MAP_SHARED : MAP_PRIVATE) | (where ? MAP_FIXED : 0), file, 0);
    if (at == MAP_FAILED)
        exit(2);
    close(file);
    return at;
}

/* ---- code that is mapped shared, and made writable by another thread before the tracer has looked at it
 * ---- */

static uint8_t *_Atomic place;
static size_t place_size;

static void *make_writable(void *unused) {
    while (place == NULL || mprotect(place, place_size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        ;
    return unused;
}

/* There is nothing to be made writable until the call has mapped it, which the tracer stops at its end. */
static void map_shared(const char *path, unsigned mode) {
    struct stat about;
    pthread_t thread;
    chmod(path, mode); /* so it is another file than the last time */
    stat(path, &about);
    place_size = ((size_t)about.st_size + PAGE - 1) & -(size_t)PAGE;
    place = NULL;
    pthread_create(&thread, NULL, make_writable, NULL);
    uint8_t *const free_place = mmap(NULL, place_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(free_place, place_size);
    place = free_place;
    map_code(path, free_place, 1);
    pthread_join(thread, NULL);
    munmap(free_place, place_size);
}

/* ---- code that shared memory is laid over, while the tracer writes to it ---- */

static const char *way;
static int data, segment;   /* a file, and memory of System V */
static uint32_t *arguments; /* below 4 GiB, as `place` is */
static useconds_t delay;
static int _Atomic is_ready, listener;

/* By the 32-bit table's first mmap, whose arguments are in memory. */
static void map_by_int80(void) {
    long result = 90;
    arguments[0] = (uint32_t)(uintptr_t)place;
    arguments[1] = (uint32_t)place_size;
    arguments[2] = PROT_READ | PROT_WRITE;
    arguments[3] = MAP_SHARED | MAP_FIXED;
    arguments[4] = (uint32_t)data;
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(arguments) : "memory", "r8", "r9", "r10", "r11");
}

/* A filter of its own, which asks about it, and is told to go on. */
static void hide_mmap(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const long made =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (made < 0)
        exit(IMPOSSIBLE);
    listener = (int)made;
}

static void *let_go_on(void *unused) {
    struct seccomp_notif asked = {0};
    while (listener < 0)
        ;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0)
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND,
              &(struct seccomp_notif_resp){.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
    close(listener);
    return unused;
}

static void *lay_over(void *unused) {
    unsigned char resident;
    void *const from = mmap(NULL, place_size, PROT_READ | PROT_WRITE, MAP_SHARED, data, 0);
    if (strcmp(way, "listener") == 0)
        hide_mmap();
    is_ready = 1;
    while (mincore(place, PAGE, &resident) != 0)
        ;
    usleep(delay);
    if (strcmp(way, "mremap") == 0)
        mremap(from, place_size, place_size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    else if (strcmp(way, "shmat") == 0)
        shmat(segment, place, SHM_REMAP);
    else if (strcmp(way, "int 0x80") == 0)
        map_by_int80();
    else
        mmap(place, place_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, data, 0);
    return unused;
}

static int lay_over_and_end(void *unused) {
    lay_over(unused);
    return 0;
}

/* A thread, or a process in the same memory. */
static void map_beside(const char *code) {
    static uint8_t stack[1 << 16];
    const int is_process = strcmp(way, "process") == 0, is_untraced = strcmp(way, "untraced") == 0;
    pthread_t thread, answering;
    is_ready = 0;
    listener = -1;
    if (strcmp(way, "listener") == 0)
        pthread_create(&answering, NULL, let_go_on, NULL);
    if (is_process || is_untraced)
        clone(lay_over_and_end, stack + sizeof stack, CLONE_VM | SIGCHLD | (is_untraced ? CLONE_UNTRACED : 0),
              NULL);
    else
        pthread_create(&thread, NULL, lay_over, NULL);
    while (!is_ready)
        ;
    map_code(code, place, 0);
    if (is_process || is_untraced)
        wait(NULL);
    else
        pthread_join(thread, NULL);
    if (strcmp(way, "listener") == 0)
        pthread_join(answering, NULL);
    munmap(place, place_size);
}

static int map_over(const char *code, const char *path) {
    struct stat about;
    data = open(path, O_RDWR);
    fstat(data, &about);
    place_size = (size_t)about.st_size;
    segment = shmget(IPC_PRIVATE, place_size, 0600);
    const uint8_t *const file = mmap(NULL, place_size, PROT_READ, MAP_SHARED, data, 0);
    const uint8_t *const shared = shmat(segment, NULL, SHM_RDONLY);
    uint8_t *const low =
        mmap(NULL, PAGE + place_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    shmctl(segment, IPC_RMID, NULL);
    arguments = (uint32_t *)low;
    place = low + PAGE;
    munmap(place, place_size);
    for (delay = 0; delay < 5000; delay += 1000)
        map_beside(code);
    return memchr(file, INT3, place_size) || memchr(shared, INT3, place_size) ? WRITTEN_TO : DONE;
}

/* ---- a vDSO that is none: what the tracer takes for a system call there cannot be executed ---- */

static void on_sigill(int number) {
    (void)number;
}

static uint64_t field_of_stat(int number) {
    static char text[1024];
    const int file = open("/proc/self/stat", O_RDONLY);
    const ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    char *at = strrchr(text, ')') + 1;
    for (int i = 2; i < number - 1; i++)
        at = strchr(at + 1, ' ');
    return strtoull(at, NULL, 10);
}

static int replace_vdso(void *with) {
    static __u64 vector[4];
    struct prctl_mm_map map = {
        .start_code = field_of_stat(26),
        .end_code = field_of_stat(27),
        .start_stack = field_of_stat(28),
        .start_data = field_of_stat(45),
        .end_data = field_of_stat(46),
        .start_brk = field_of_stat(47),
        .brk = (uintptr_t)sbrk(0),
        .arg_start = field_of_stat(48),
        .arg_end = field_of_stat(49),
        .env_start = field_of_stat(50),
        .env_end = field_of_stat(51),
        .auxv = vector,
        .auxv_size = sizeof vector,
        .exe_fd = UINT32_MAX,
    };
    vector[0] = AT_SYSINFO_EHDR, vector[1] = (uintptr_t)with;
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

static int false_vdso(void) {
    static const uint8_t config[64] = {1, [16] = 64, [48] = 16};
    uint8_t *const page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = on_sigill};
    sigset_t all;
    page[0] = 0x0f, page[1] = 0x05;
    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    if (replace_vdso(page) != 0)
        return IMPOSSIBLE;
    sigaction(SIGILL, &action, NULL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    AMX_LDTILECFG(config); /* the handler is put back by a system call that is injected */
    AMX_TILEZERO(0);       /* where the CPU has tiles, it is this one that traps */
    return DONE;
}

/* ---- its own file becomes a FIFO ---- */

static int become_fifo(char *self) {
    if (unlink(self) != 0 || mkfifo(self, 0600) != 0)
        return 3;
    const pid_t pid = fork();
    if (pid == 0)
        execl("/proc/self/exe", self, "end", (char *)NULL);
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

int main(int argc, char *argv[]) {
    const char *const what = argv[1];
    if (strcmp(what, "map") == 0)
        for (int i = 2; i < argc; i++)
            map_code(argv[i], NULL, 0);
    else if (strcmp(what, "map often") == 0)
        for (int i = 0; i < 64; i++)
            map_code(argv[2], NULL, 0);
    else if (strcmp(what, "map shared") == 0)
        for (unsigned i = 0; i < ATTEMPTS; i++)
            map_shared(argv[2], 0600 | (i & 1));
    else if (strcmp(what, "map over") == 0)
        return way = argv[2], map_over(argv[3], argv[4]);
    else if (strcmp(what, "false vDSO") == 0)
        return false_vdso();
    else if (strcmp(what, "become a FIFO") == 0)
        return become_fifo(argv[0]);
    return DONE;
}
