/* Tile state of the model outside of signal frames: the buffers of tasks that touched it, ptrace, XSAVE.
 *
 * Other components are not shown. A tracer reads and writes the model in its tracee's memory. Sources:
 * arch/x86/kernel/fpu/xstate.c (__xfd_enable_feature, validate_user_xstate_header), fpu/regset.c, SDM vol.
 * 1, 13.7 to 13.10; what they do was also observed on hardware.
 */
#define _GNU_SOURCE /* process_vm_readv */
#include "provoke/kernels/model_state.h"
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"

#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

static const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;

static const struct kernel *model;
static struct kernel bare; /* the model's entries that are replaced here */

/* ---- buffers ------------------------------------------------------------------------------------------ */

enum { TOUCHED = 4096 };
/* Of all processes of this run. */
static struct touched {
    atomic_int count;
    struct {
        _Atomic pid_t process, thread;
    } tasks[TOUCHED];
} *touched;

static void touch(void) {
    static _Thread_local long touched_by; /* a child's copy does not have the child's number */
    const long thread = system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    if (touched_by == thread)
        return;
    touched_by = thread;
    const int i = atomic_fetch_add(&touched->count, 1);
    if (i >= TOUCHED)
        provoke_broken("more than %d tasks touched tiles", TOUCHED);
    atomic_store(&touched->tasks[i].process, (pid_t)system_call(SYS_getpid, 0, 0, 0, 0, 0, 0));
    atomic_store(&touched->tasks[i].thread, (pid_t)thread);
}

static void zero_and_touch(void) {
    bare.tilezero();
    touch();
}
static void load_and_touch(const void *rows) {
    bare.tileloadd(rows);
    touch();
}
static void store_and_touch(void *rows) {
    bare.tilestored(rows);
    touch();
}

/* A task is there until it is reaped. */
static int count_buffers(void) {
    const int count = atomic_load(&touched->count);
    int there = 0;
    for (int i = 0; i < count; i++)
        there += system_call(SYS_tgkill, atomic_load(&touched->tasks[i].process),
                             atomic_load(&touched->tasks[i].thread), 0, 0, 0, 0) == 0;
    return there;
}

/* ---- ptrace ------------------------------------------------------------------------------------------- */

enum { GETREGSET = 0x4204, SETREGSET = 0x4205, REGSET_XSTATE = 0x202 }; /* linux/ptrace.h, linux/elf.h */

static _Alignas(64) uint8_t area[AREA_MAX];

static void copy_task(pid_t pid, struct kernel_model_task *task, int to_tracee) {
    const struct iovec here = {task, sizeof *task}, there = {model_first_task(), sizeof *task};
    const ssize_t copied = to_tracee ? process_vm_writev(pid, &here, 1, &there, 1, 0)
                                     : process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (copied != (ssize_t)sizeof *task)
        provoke_broken("the tracee's memory cannot be reached: errno %d", errno);
}

static void get(const struct kernel_model_task *task) {
    const struct xcomponent data = area_component(model, XFEATURE_XTILEDATA);
    const uint64_t in_use = kernel_model_xinuse(task);
    memset(area, 0, sizeof area);
    area_put(area, AREA_MAGIC1, model->xcr0());
    area_put(area, AREA_XSTATE_BV, in_use);
    kernel_model_sttilecfg(task, area + area_component(model, XFEATURE_XTILECFG).offset);
    if (in_use & XFEATURE_MASK_XTILEDATA)
        memcpy(area + data.offset, task->tiles.tile, data.size);
}

/* validate_user_xstate_header() */
static int valid_header(const struct kernel_model_task *task) {
    const uint64_t supported = area_features(model);
    const uint64_t features = task->expanded ? supported : supported & ~XFEATURE_MASK_XTILEDATA;
    for (size_t i = AREA_XCOMP_BV; i < AREA_EXTENDED; i++)
        if (area[i])
            return 0;
    return (area_get(area, AREA_XSTATE_BV) & ~features) == 0;
}

static void set(struct kernel_model_task *task) {
    struct kernel_model_process *const process = task->process;
    struct kernel_model_process any = {.machine = process->machine};
    any.permission = area_features(model);
    task->process = &any; /* the tracee's own has been asked for by valid_header() */
    kernel_model_xrstor(task, area, tiles);
    task->process = process;
}

/* The real kernel says whether the tracee may be looked at. It has no such state itself (ENODEV) where this
 * CPU has no XSAVE; the model has. */
static long trace(long request, pid_t pid, void *address, void *data) {
    static struct kernel_model_task task;
    const int state = (request == GETREGSET || request == SETREGSET) && (uintptr_t)address == REGSET_XSTATE;
    if (!state)
        return bare.ptrace(request, pid, address, data);
    const long real = bare.ptrace(GETREGSET, pid, address, &(struct iovec){area, sizeof area});
    if (real < 0 && real != -ENODEV)
        return real;
    const size_t size = area_end(model, area_features(model));
    struct iovec *const vector = data;
    if (vector->iov_len % 8)
        return -EINVAL;
    if (vector->iov_len > size)
        vector->iov_len = size;
    copy_task(pid, &task, 0);
    if (request == GETREGSET) {
        get(&task);
        memcpy(vector->iov_base, area, vector->iov_len);
        return 0;
    }
    if (vector->iov_len < size)
        return -EFAULT;
    memcpy(area, vector->iov_base, size);
    if (!valid_header(&task))
        return -EINVAL;
    set(&task);
    copy_task(pid, &task, 1);
    return 0;
}

/* ---- XSAVE -------------------------------------------------------------------------------------------- */

/* XSAVEC's compacted area is not laid out: nobody here saves live tiles with it. */
static void save(enum xsave how, uint8_t *to, uint64_t features) {
    const struct xcomponent config = area_component(model, XFEATURE_XTILECFG);
    const struct xcomponent data = area_component(model, XFEATURE_XTILEDATA);
    const uint64_t in_use = model->xinuse() & tiles & features;
    const uint64_t written = how == XSAVE_PLAIN ? tiles & features : in_use;
    area_put(to, AREA_XSTATE_BV, in_use);
    if (how == XSAVE_C)
        return;
    if (written & XFEATURE_MASK_XTILECFG)
        model->sttilecfg(to + config.offset);
    if (written & XFEATURE_MASK_XTILEDATA)
        memset(to + data.offset, 0, data.size);
    if (in_use & XFEATURE_MASK_XTILEDATA)
        model->tilestored(to + data.offset);
}

void model_add_state(struct kernel *table) {
    touched = mmap(NULL, sizeof *touched, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (touched == MAP_FAILED)
        provoke_broken("mmap of shared pages: errno %d", errno);
    model = table;
    bare = *table;
    table->tilezero = zero_and_touch;
    table->tileloadd = load_and_touch;
    table->tilestored = store_and_touch;
    table->ptrace = trace;
    table->xstate_buffers = count_buffers;
    table->xsave = save;
}
