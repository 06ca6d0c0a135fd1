#define _GNU_SOURCE
#include "trap/thread/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One pointer, not the record: static TLS of a library loaded late has no room for it, and glibc's lazy kind
 * calls malloc, which a signal handler may not (see tls_model in CMakeLists.txt). */
static _Thread_local struct trap_thread *current;

static struct kernel_model_process process;
static struct trap_thread *records;
/* The process that this memory belongs to, in a page that the kernel empties in its forked children: also in
 * one by a bare clone(), which runs no atfork handlers. Children that share the memory share the page. */
static volatile pid_t *owner;
static atomic_uint session;
static atomic_flag locked = ATOMIC_FLAG_INIT;
static _Thread_local volatile sig_atomic_t locked_here;

static int thread_id(void) {
    return (int)syscall(SYS_gettid);
}

static void begin_in_child(void);

/* In a forked child, before anything is looked at that its parent left behind. */
static void notice_fork(void) {
    if (owner != NULL && *owner == 0) {
        atomic_flag_clear(&locked); /* by a thread that is not here */
        begin_in_child();
    }
}

uint64_t trap_lock(void) {
    const uint64_t blocked = ~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1));
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, &mask, sizeof mask);
    notice_fork();
    while (atomic_flag_test_and_set_explicit(&locked, memory_order_acquire))
        sched_yield();
    locked_here = 1;
    return mask;
}

int trap_is_locked_here(void) {
    return locked_here;
}

void trap_unlock(uint64_t mask) {
    locked_here = 0;
    atomic_flag_clear_explicit(&locked, memory_order_release);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

/* ---- records ---- */

enum { UNKNOWN = -1 }; /* the number of a thread that has not ended */

static int has_ended(const struct trap_thread *thread) {
    const int id = thread->id;
    return id == 0 || (syscall(SYS_tgkill, *owner, id, 0) != 0 && errno == ESRCH);
}

void trap_threads_reap(void) {
    for (struct trap_thread *thread = records; thread != NULL; thread = thread->next)
        if (thread->id != 0 && has_ended(thread)) {
            if (thread->session == session)
                kernel_model_task_exit(&thread->task);
            thread->id = 0;
        }
}

/* The kernel gives the number of a thread that ended to a new one. */
static struct trap_thread *free_record(int id) {
    trap_threads_reap();
    for (struct trap_thread *thread = records; thread != NULL; thread = thread->next) {
        if (thread->id == id && thread->session == session)
            kernel_model_task_exit(&thread->task);
        if (thread->id == 0 || thread->id == id)
            return thread;
    }
    return NULL;
}

static struct trap_thread *new_record(void) {
    struct trap_thread *const thread =
        mmap(NULL, sizeof *thread, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (thread == MAP_FAILED)
        return NULL;
    thread->next = records;
    records = thread;
    return thread;
}

static void begin(struct trap_thread *thread) {
    thread->session = session;
    for (struct trap_interrupted *each = thread->interrupted; each != NULL; each = each->next)
        each->context = 0;
    kernel_model_task_init(&thread->task, &process);
}

static struct trap_thread *enter(void) {
    const int saved_errno = errno;
    const uint64_t mask = trap_lock();
    if (current == NULL) {
        /* A child by vfork() leaves the record to its parent's thread, whose number is not known here. */
        const int id = trap_is_vforked() ? UNKNOWN : thread_id();
        struct trap_thread *thread = free_record(id);
        if (thread == NULL)
            thread = new_record();
        if (thread != NULL) {
            thread->id = id;
            begin(thread);
        }
        current = thread;
    } else {
        begin(current);
    }
    trap_unlock(mask);
    errno = saved_errno;
    return current;
}

static void forget_counts(void) {
    for (struct trap_thread *thread = records; thread != NULL; thread = thread->next)
        thread->instructions = thread->traps = thread->faults = 0;
}

struct trap_thread *trap_thread_if_any(void) {
    notice_fork();
    return current != NULL && current->session == session ? current : NULL;
}

struct trap_thread *trap_thread(void) {
    struct trap_thread *const thread = trap_thread_if_any();
    return thread != NULL ? thread : enter();
}

struct kernel_model_process *trap_process(void) {
    return &process;
}

struct trap_thread *trap_first_thread(void) {
    return records;
}

/* Where the kernel cannot empty the page (before Linux 4.14), or there is no memory for one, it is as with
 * shared memory. */
static void own_memory(void) {
    static pid_t fallback;
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    if (owner == NULL) {
        void *const page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        owner = page == MAP_FAILED ? &fallback : page;
        if (page != MAP_FAILED)
            madvise(page, size, MADV_WIPEONFORK);
    }
    *owner = getpid();
}

void trap_threads_reset(const struct kernel_model_machine *machine) {
    const uint64_t mask = trap_lock();
    kernel_model_process_init(&process, machine);
    own_memory();
    forget_counts();
    session++;
    trap_unlock(mask);
}

/* ---- creation and fork ---- */

void trap_config(uint8_t config[AMXEMU_CONFIG_BYTES]) {
    memset(config, 0, AMXEMU_CONFIG_BYTES);
    const struct trap_thread *const thread = trap_thread_if_any();
    if (thread != NULL)
        amxemu_sttilecfg(&thread->task.tiles, config);
}

void trap_inherit_config(const uint8_t config[AMXEMU_CONFIG_BYTES]) {
    struct trap_thread *const thread = config[0] ? trap_thread() : NULL;
    if (thread != NULL)
        amxemu_ldtilecfg(&thread->task.tiles, config);
}

static uint64_t mask_at_fork;

static void before_fork(void) {
    mask_at_fork = trap_lock();
}

static void after_fork(void) {
    trap_unlock(mask_at_fork);
}

/* The child has one thread, the caller's copy: its configuration and alternate stack, not its data. */
static void begin_in_child(void) {
    struct trap_thread *const own = current;
    *owner = getpid();
    process.tasks = NULL;
    forget_counts();
    if (own != NULL) {
        own->id = thread_id();
        if (own->session == session)
            kernel_model_task_clone(&own->task, &own->task, &process, 1);
    }
}

int trap_is_vforked(void) {
    notice_fork();
    return owner != NULL && *owner != getpid();
}

static void after_fork_in_child(void) {
    begin_in_child();
    after_fork();
}

int trap_threads_at_fork(void) {
    static int registered;
    if (!registered) {
        const int error = pthread_atfork(before_fork, after_fork, after_fork_in_child);
        if (error != 0)
            return -error;
        registered = 1;
    }
    return 0;
}
