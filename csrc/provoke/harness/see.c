/* What a provocation saw, as JSON lines on standard output.
 *
 * Each line is built on the stack and leaves by one write(2) of less than PIPE_BUF bytes: nothing is buffered
 * that an _exit, a signal or an exec could lose, and lines of several threads and processes do not mix. No
 * libc state is touched, so that handlers and vfork children may call these.
 */
#define _GNU_SOURCE /* REG_RIP */
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <ucontext.h>

struct line {
    size_t used;
    char text[4000]; /* PIPE_BUF is 4096 */
};

static void put(struct line *line, char c) {
    if (line->used < sizeof line->text - 2) /* leaves room for the end */
        line->text[line->used++] = c;
}

static void put_raw(struct line *line, const char *text) {
    while (*text)
        put(line, *text++);
}

static void put_unsigned(struct line *line, uint64_t value) {
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
    } while (value /= 10);
    while (count)
        put(line, digits[--count]);
}

static void put_int(struct line *line, int64_t value) {
    if (value < 0)
        put(line, '-');
    put_unsigned(line, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static void put_hex(struct line *line, uint8_t byte) {
    static const char digits[] = "0123456789abcdef";
    put(line, digits[byte >> 4]);
    put(line, digits[byte & 15]);
}

static void put_string(struct line *line, const char *text) {
    put(line, '"');
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20) {
            put_raw(line, "\\u00");
            put_hex(line, (uint8_t)*text);
            continue;
        }
        if (*text == '"' || *text == '\\')
            put(line, '\\');
        put(line, *text);
    }
    put(line, '"');
}

/* `{"key": `, and inside a value's object `, "name": value`. */
static struct line begin(const char *key) {
    struct line line;
    line.used = 0;
    put(&line, '{');
    put_string(&line, key);
    put_raw(&line, ": ");
    return line;
}

static void member(struct line *line, const char *before, const char *name, uint64_t value) {
    put_raw(line, before);
    put_string(line, name);
    put_raw(line, ": ");
    put_unsigned(line, value);
}

static void end(struct line *line) {
    line->text[line->used++] = '}';
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
    struct line line = begin(key);
    put_int(&line, value);
    end(&line);
}

void see_bits(const char *key, uint64_t value) {
    struct line line = begin(key);
    put_unsigned(&line, value);
    end(&line);
}

void see_text(const char *key, const char *value) {
    struct line line = begin(key);
    put_string(&line, value);
    end(&line);
}

void see_ints(const char *key, const int64_t *values, size_t count) {
    struct line line = begin(key);
    put(&line, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            put_raw(&line, ", ");
        put_int(&line, values[i]);
    }
    put(&line, ']');
    end(&line);
}

void see_bytes(const char *key, const void *bytes, size_t count) {
    struct line line = begin(key);
    put(&line, '"');
    for (size_t i = 0; i < count; i++)
        put_hex(&line, ((const uint8_t *)bytes)[i]);
    put(&line, '"');
    end(&line);
}

void see_ending(const char *key, int status) {
    struct line line = begin(key);
    if (WIFSIGNALED(status)) {
        member(&line, "{", "signal", (uint64_t)WTERMSIG(status));
        put_raw(&line, WCOREDUMP(status) ? ", \"core\": true" : ", \"core\": false");
    } else {
        member(&line, "{", "exit", (uint64_t)WEXITSTATUS(status));
    }
    put(&line, '}');
    end(&line);
}

void see_signal(const char *key, const siginfo_t *info, const void *ucontext) {
    struct line line = begin(key);
    member(&line, "{", "signal", (uint64_t)info->si_signo);
    put_raw(&line, ", \"code\": ");
    put_int(&line, info->si_code);
    member(&line, ", ", "address", (uintptr_t)info->si_addr);
    if (ucontext) {
        const greg_t *registers = ((const ucontext_t *)ucontext)->uc_mcontext.gregs;
        member(&line, ", ", "ip", (uint64_t)registers[REG_RIP]);
        member(&line, ", ", "trapno", (uint64_t)registers[REG_TRAPNO]);
    }
    put(&line, '}');
    end(&line);
}

void see_frame(const char *key, const struct frame *frame) {
    struct line line = begin(key);
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
    put(&line, '}');
    end(&line);
}

void see_provocation(const char *id, const char *what, int needs_real_frames) {
    struct line line = begin("id");
    put_string(&line, id);
    put_raw(&line, ", \"what\": ");
    put_string(&line, what);
    put_raw(&line, needs_real_frames ? ", \"needs_real_frames\": true" : ", \"needs_real_frames\": false");
    end(&line);
}

void see_fault(const char *name, const char *what) {
    struct line line = begin("fault");
    put_string(&line, name);
    put_raw(&line, ", \"what\": ");
    put_string(&line, what);
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
    struct line line = begin("end");
    put_raw(&line, "true");
    end(&line);
    system_exit_group(0);
}
