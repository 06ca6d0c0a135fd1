/* Who is traced: threads, and the processes they belong to. */
#include "trap/ptrace/ptrace.h"
#include "trap/trace/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tracee *tracer_find(struct tracer *tracer, pid_t tid) {
    for (struct tracee **link = &tracer->tracees; *link; link = &(*link)->next)
        if ((*link)->tid == tid) {
            /* To the front: it will be looked for again. */
            struct tracee *const found = *link;
            *link = found->next;
            found->next = tracer->tracees;
            return tracer->tracees = found;
        }
    return NULL;
}

struct tracee *tracer_add(struct tracer *tracer, pid_t tid) {
    struct tracee *const tracee = aligned_alloc(_Alignof(struct tracee), sizeof *tracee);
    if (!tracee)
        return NULL;
    memset(tracee, 0, sizeof *tracee);
    tracee->tid = tid;
    tracee->exit_of = -1;
    tracee->next = tracer->tracees;
    return tracer->tracees = tracee;
}

/* After the process, or its program, has ended. */
static void save_trace(struct tracer_process *process) {
    if (!process->tracing)
        return;
    const int error = process->trace ? trap_trace_save(process->tracing->directory, process->trace) : -ENOMEM;
    if (error) {
        process->tracing->unrecorded++;
        if (!process->tracing->error)
            process->tracing->error = error;
    }
    if (process->trace)
        trap_trace_free(process->trace);
}

static void free_process(struct tracer_process *process) {
    if (!process)
        return;
    save_trace(process);
    free(process->sites);
    free(process);
}

static void leave(struct tracee *tracee) {
    struct tracer_process *const process = tracee->process;
    if (!process)
        return;
    kernel_model_task_exit(&tracee->task);
    tracee->process = NULL;
    if (--process->threads == 0)
        free_process(process);
}

void tracer_remove(struct tracer *tracer, struct tracee *tracee) {
    leave(tracee);
    tracer_forget_frames(tracee);
    for (struct tracee **link = &tracer->tracees; *link; link = &(*link)->next)
        if (*link == tracee) {
            *link = tracee->next;
            break;
        }
    free(tracee);
}

static struct tracer_process *new_process(pid_t tgid, struct tracer_tracing *tracing) {
    struct tracer_process *const process = calloc(1, sizeof *process);
    if (process) {
        process->tgid = tgid;
        process->threads = 1;
        process->tracing = tracing;
        if (tracing)
            process->trace = trap_trace_new(tgid, (int)tracer_proc_status(tgid, "PPid", 10, 0));
    }
    return process;
}

int tracer_begin(struct tracer *tracer, struct tracee *tracee) {
    struct tracer_process *const process =
        new_process(tracee->tid, tracer->tracing.directory ? &tracer->tracing : NULL);
    if (!process)
        return -ENOMEM;
    kernel_model_process_init(&process->model, &tracer->machine);
    kernel_model_task_init(&tracee->task, &process->model);
    tracee->process = process;
    return 0;
}

static int copy_sites(const struct tracer_process *from, struct tracer_process *to) {
    if (from->site_count == 0)
        return 0;
    to->sites = malloc(from->site_count * sizeof *to->sites);
    if (!to->sites)
        return -ENOMEM;
    memcpy(to->sites, from->sites, from->site_count * sizeof *to->sites);
    to->site_count = to->site_room = from->site_count;
    return 0;
}

int tracer_inherit(const struct tracee *creator, struct tracee *tracee, int is_thread, int keeps_altstack) {
    struct tracer_process *process = creator->process;
    if (is_thread) {
        process->threads++;
    } else {
        process = new_process(tracee->tid, creator->process->tracing);
        if (!process || copy_sites(creator->process, process) != 0 || !tracer_copy_frames(creator, tracee)) {
            free_process(process);
            return -ENOMEM;
        }
        kernel_model_process_clone(&creator->process->model, &process->model);
        memcpy(process->sigill_handler, creator->process->sigill_handler, sizeof process->sigill_handler);
    }
    kernel_model_task_clone(&creator->task, &tracee->task, &process->model, keeps_altstack);
    tracee->process = process;
    return 0;
}

int tracer_exec(struct tracer *tracer, struct tracee *tracee) {
    const struct tracer_process *const process = tracee->process;
    struct tracee *next;
    for (struct tracee *other = tracer->tracees; other; other = next) {
        next = other->next;
        if (other != tracee && process && other->process == process)
            tracer_remove(tracer, other);
    }
    leave(tracee);
    tracer_forget_frames(tracee);
    tracee->exit_of = -1;
    tracee->fault.signal = 0;
    return tracer_begin(tracer, tracee);
}

/* The first site that is not below. */
static size_t position(const struct tracer_process *process, uint64_t address) {
    size_t low = 0, high = process->site_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (process->sites[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct tracer_site *tracer_site_at(const struct tracer_process *process, uint64_t address) {
    const size_t i = position(process, address);
    return i < process->site_count && process->sites[i].address == address ? &process->sites[i] : NULL;
}

int tracer_make_room(struct tracer_process *process) {
    enum { SITES_MOST = 1 << 16 };
    if (process->site_count < process->site_room)
        return 0;
    const size_t room = process->site_room ? 2 * process->site_room : 64;
    if (room > SITES_MOST)
        return -ENOSPC;
    struct tracer_site *const sites = realloc(process->sites, room * sizeof *sites);
    if (!sites)
        return -ENOMEM;
    process->sites = sites;
    process->site_room = room;
    return 0;
}

void tracer_add_site(struct tracer_process *process, struct tracer_site site) {
    const size_t i = position(process, site.address);
    if (i < process->site_count && process->sites[i].address == site.address) {
        process->sites[i] = site; /* other code has come to stand there */
        return;
    }
    memmove(process->sites + i + 1, process->sites + i, (process->site_count - i) * sizeof site);
    process->sites[i] = site;
    process->site_count++;
}
