/* What a provocation saw, as JSON lines on standard output.
 *
 * Each line is built on the stack and leaves by one write(2) of less than PIPE_BUF bytes: nothing is buffered
 * that an _exit, a signal or an exec could lose, and lines of several threads and processes do not mix. No
 * libc state is touched, so that handlers and vfork children may call these.
 */
#define _GNU_SOURCE /* REG_RIP */
#include "provoke/harness/see.h"
#include "provoke/harness/line.h"
#include "provoke/harness/system.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { ROOM = 4000, END = 2 }; /* bytes; PIPE_BUF is 4096 */

/* `{"key": `, and inside a value's object `, "name": value`. */
static struct line begin(char *room, const char *key) {
    struct line line = {room, 0, ROOM - END};
    line_put(&line, '{');
    line_string(&line, key);
    line_raw(&line, ": ");
    return line;
}

static void member(struct line *line, const char *before, const char *name, uint64_t value) {
    line_raw(line, before);
    line_string(line, name);
    line_raw(line, ": ");
    line_unsigned(line, value);
}

static void end(struct line *line) {
    line->text[line->used++] = '}'; /* END */
    line->text[line->used++] = '\n';
    long written;
    do {
        written = system_call(SYS_write, 1, (long)line->text, (long)line->used, 0, 0, 0);
    } while (written == -EINTR);
    /* Nobody could know what else was seen. */
    if (written != (long)line->used)
        system_exit_group(EXIT_BROKEN);
}

void see_int(const char *key, int64_t value) {
    char room[ROOM];
    struct line line = begin(room, key);
    line_int(&line, value);
    end(&line);
}

void see_bits(const char *key, uint64_t value) {
    char room[ROOM];
    struct line line = begin(room, key);
    line_unsigned(&line, value);
    end(&line);
}

void see_text(const char *key, const char *value) {
    char room[ROOM];
    struct line line = begin(room, key);
    line_string(&line, value);
    end(&line);
}

void see_ints(const char *key, const int64_t *values, size_t count) {
    char room[ROOM];
    struct line line = begin(room, key);
    line_put(&line, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            line_raw(&line, ", ");
        line_int(&line, values[i]);
    }
    line_put(&line, ']');
    end(&line);
}

void see_bytes(const char *key, const void *bytes, size_t count) {
    char room[ROOM];
    struct line line = begin(room, key);
    line_put(&line, '"');
    for (size_t i = 0; i < count; i++)
        line_byte(&line, ((const uint8_t *)bytes)[i]);
    line_put(&line, '"');
    end(&line);
}

void see_ending(const char *key, int status) {
    char room[ROOM];
    struct line line = begin(room, key);
    if (WIFSIGNALED(status)) {
        member(&line, "{", "signal", (uint64_t)WTERMSIG(status));
        line_raw(&line, WCOREDUMP(status) ? ", \"core\": true" : ", \"core\": false");
    } else {
        member(&line, "{", "exit", (uint64_t)WEXITSTATUS(status));
    }
    line_put(&line, '}');
    end(&line);
}

void see_signal(const char *key, const siginfo_t *info, const void *ucontext) {
    char room[ROOM];
    struct line line = begin(room, key);
    member(&line, "{", "signal", (uint64_t)info->si_signo);
    line_raw(&line, ", \"code\": ");
    line_int(&line, info->si_code);
    member(&line, ", ", "address", (uintptr_t)info->si_addr);
    if (ucontext) {
        const greg_t *registers = ((const ucontext_t *)ucontext)->uc_mcontext.gregs;
        member(&line, ", ", "ip", (uint64_t)registers[REG_RIP]);
        member(&line, ", ", "trapno", (uint64_t)registers[REG_TRAPNO]);
    }
    line_put(&line, '}');
    end(&line);
}

void see_frame(const char *key, const struct frame *frame) {
    char room[ROOM];
    struct line line = begin(room, key);
    member(&line, "{", "present", frame->xstate != NULL);
    member(&line, ", ", "aligned", (uintptr_t)frame->xstate % 64 == 0);
    member(&line, ", ", "magic1", frame->magic1);
    member(&line, ", ", "extended_size", frame->extended_size);
    member(&line, ", ", "xstate_size", frame->xstate_size);
    member(&line, ", ", "xfeatures", frame->xfeatures);
    member(&line, ", ", "xstate_bv", frame->xstate_bv);
    member(&line, ", ", "xcomp_bv", frame->xcomp_bv);
    member(&line, ", ", "magic2", frame->magic2);
    member(&line, ", ", "uc_fp_xstate", frame->has_uc_fp_xstate != 0);
    line_put(&line, '}');
    end(&line);
}

void see_provocation(const char *id, const char *what, int needs_real_frames) {
    char room[ROOM];
    struct line line = begin(room, "id");
    line_string(&line, id);
    line_raw(&line, ", \"what\": ");
    line_string(&line, what);
    line_raw(&line, needs_real_frames ? ", \"needs_real_frames\": true" : ", \"needs_real_frames\": false");
    end(&line);
}

void see_fault(const char *name, const char *what) {
    char room[ROOM];
    struct line line = begin(room, "fault");
    line_string(&line, name);
    line_raw(&line, ", \"what\": ");
    line_string(&line, what);
    end(&line);
}

static _Noreturn void give_up(const char *key, int status, const char *format, va_list arguments) {
    char reason[1000];
    vsnprintf(reason, sizeof reason, format, arguments);
    see_text(key, reason);
    system_exit_group(status);
}

void provoke_cannot(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    give_up("cannot", EXIT_CANNOT, format, arguments);
}

void provoke_broken(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    give_up("broken", EXIT_BROKEN, format, arguments);
}

void provoke_end(void) {
    char room[ROOM];
    struct line line = begin(room, "end");
    line_raw(&line, "true");
    end(&line);
    system_exit_group(0);
}
