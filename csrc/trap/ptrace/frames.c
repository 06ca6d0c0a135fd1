/* Tiles around a tracee's signal handlers: a handler starts with the INIT state, and what it interrupted
 * comes back at its rt_sigreturn, as with the kernel's signal frame (fpu__clear_user_states(),
 * restore_fpregs_from_user()). One that jumps out of its frame loses what was there.
 *
 * What the kernel would keep in the frame is kept here under the frame's address. Where no tiles are in use
 * and no frame is known, nothing is done when a signal is delivered: the INIT state is what any unknown frame
 * has.
 */
#include "trap/ptrace/ptrace.h"

#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum { RETURN_ADDRESS = 8, KEPT = 64 };

struct tracee_frame {
    struct amxemu_state tiles; /* first: it is aligned */
    struct tracee_frame *next; /* older */
    uint64_t context;          /* address of its ucontext_t */
    int data_live;
};

static void make_initial(struct kernel_model_task *task) {
    amxemu_tilerelease(&task->tiles);
    task->data_live = 0;
}

static void drop(struct tracee_frame **link) {
    struct tracee_frame *const frame = *link;
    *link = frame->next;
    free(frame);
}

void tracer_forget_frames(struct tracee *tracee) {
    while (tracee->frames)
        drop(&tracee->frames);
}

int tracer_copy_frames(const struct tracee *from, struct tracee *to) {
    struct tracee_frame **link = &to->frames;
    for (const struct tracee_frame *frame = from->frames; frame; frame = frame->next) {
        *link = aligned_alloc(_Alignof(struct tracee_frame), sizeof **link);
        if (!*link)
            return 0;
        **link = *frame;
        (*link)->next = NULL;
        link = &(*link)->next;
    }
    return 1;
}

/* Frames at the same place are of handlers that jumped out, and so are those beyond any depth of nesting. */
static int keep(struct tracee *tracee, uint64_t context) {
    int count = 1;
    for (struct tracee_frame **link = &tracee->frames; *link;)
        if ((*link)->context == context || ++count > KEPT)
            drop(link);
        else
            link = &(*link)->next;
    struct tracee_frame *const frame = aligned_alloc(_Alignof(struct tracee_frame), sizeof *frame);
    if (!frame)
        return 0;
    frame->tiles = tracee->task.tiles;
    frame->data_live = tracee->task.data_live;
    frame->context = context;
    frame->next = tracee->frames;
    tracee->frames = frame;
    return 1;
}

int tracer_wants_frame(const struct tracee *tracee, int signal) {
    const uint64_t bit = UINT64_C(1) << (signal - 1);
    return (tracee->frames || kernel_model_xinuse(&tracee->task)) &&
           tracer_proc_status(tracee->tid, "SigCgt", 16, 0) & bit;
}

int tracer_enter_handler(struct tracee *tracee) {
    struct user_regs_struct u;
    if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return 1; /* it is no more */
    const int kept = keep(tracee, u.rsp + RETURN_ADDRESS);
    make_initial(&tracee->task);
    return kept;
}

void tracer_leave_handler(struct tracee *tracee, uint64_t context) {
    make_initial(&tracee->task);
    struct tracee_frame *frame = tracee->frames;
    while (frame && frame->context != context)
        frame = frame->next;
    if (!frame)
        return;
    tracee->task.tiles = frame->tiles;
    tracee->task.data_live = frame->data_live;
    while (tracee->frames != frame) /* newer ones were jumped out of */
        drop(&tracee->frames);
    drop(&tracee->frames);
}
