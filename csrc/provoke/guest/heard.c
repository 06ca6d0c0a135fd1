/* See heard.h. */
#include "provoke/guest/heard.h"
#include "provoke/guest/frames.h"
#include "provoke/guest/object.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    ENDLESS = 1 << 24,       /* bytes, as amx/conformance/provoke.py has it */
    ENDLESS_LINES = 1 << 16, /* of one run; real ones have some hundred */
    SPARE = 32,              /* of a frame, which shows that all of an object fitted */
};

void heard_begin(struct heard *heard, const char *start, int output, int errors) {
    *heard = (struct heard){.start = start, .output = output, .errors = errors};
    fcntl(output, F_SETFL, O_NONBLOCK);
    fcntl(errors, F_SETFL, O_NONBLOCK);
}

static int say_seen(const char *text, size_t count) {
    struct line line = frame_begin("seen");
    line_json(&line, text, count);
    if (line.used + SPARE > line.room)
        return 0;
    frame_send(&line);
    return 1;
}

static void say(struct heard *heard) {
    const char *const text = heard->line;
    const size_t count = heard->line_used;
    heard->line_used = 0;
    heard->lines++;
    if (heard->start && count == strlen(heard->start) && !memcmp(text, heard->start, count)) {
        heard->start = NULL;
    } else if (!frames_are_framed()) {
        frame_verbatim(text, count);
    } else if (!is_object(text, count) || !say_seen(text, count)) {
        struct line line = frame_begin("text");
        line_bytes(&line, text, count);
        frame_send(&line);
    }
}

static void take_output(struct heard *heard, const char *bytes, size_t count) {
    heard->bytes += count;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n')
            heard->line[heard->line_used++] = bytes[i];
        if (bytes[i] == '\n' || heard->line_used == HEARD_LINE)
            say(heard);
    }
}

static void take_errors(struct heard *heard, const char *bytes, size_t count) {
    const size_t room = HEARD_ERRORS - heard->errors_used, taken = count < room ? count : room;
    memcpy(heard->error_text + heard->errors_used, bytes, taken);
    heard->errors_used += taken;
}

static void take(struct heard *heard, int from, void (*into)(struct heard *, const char *, size_t)) {
    char some[4096];
    while (heard->bytes < ENDLESS && heard->lines < ENDLESS_LINES) {
        const ssize_t count = read(from, some, sizeof some);
        if (count > 0)
            into(heard, some, (size_t)count);
        else if (count == 0 || errno != EINTR)
            return;
    }
}

void heard_take(struct heard *heard) {
    take(heard, heard->output, take_output);
    take(heard, heard->errors, take_errors);
}

void heard_end(struct heard *heard) {
    heard_take(heard);
    if (heard->line_used)
        say(heard);
    while (heard->errors_used && strchr(" \t\r\n", heard->error_text[heard->errors_used - 1]))
        heard->errors_used--;
    if (heard->errors_used) {
        struct line line = frame_begin("errors");
        line_bytes(&line, heard->error_text, heard->errors_used);
        frame_send(&line);
    }
    close(heard->output);
    close(heard->errors);
}
