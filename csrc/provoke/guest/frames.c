/* See frames.h. `AMX1 SEQ CRC JSON`: SEQ counts from 0, CRC is that of zlib's crc32 over `SEQ JSON`. A frame
 * leaves by one write(2), so that the kernel's own lines stand before or behind it. */
#include "provoke/guest/frames.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 64, CRC_POLYNOMIAL_HIGH = 0xedb8, CRC_POLYNOMIAL_LOW = 0x8320 };

static int port = STDOUT_FILENO, console = -1, is_framed, is_shared, has_failed;
static unsigned long sequence;
static char json[FRAME_JSON], whole[HEAD + FRAME_JSON];

void frames_to(int to, int other, int shared) {
    port = to;
    console = other;
    is_framed = 1;
    is_shared = shared;
}

void lines_to(int to) {
    port = to;
    is_framed = 0;
}

int frames_are_framed(void) {
    return is_framed;
}

unsigned long frames_sent(void) {
    return sequence;
}

int frames_failed(void) {
    return has_failed;
}

static uint32_t crc32(const char *bytes, size_t count) {
    const uint32_t polynomial = (uint32_t)CRC_POLYNOMIAL_HIGH << 16 | CRC_POLYNOMIAL_LOW;
    uint32_t crc = ~UINT32_C(0);
    while (count--) {
        crc ^= (uint8_t)*bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

static void put_out(int descriptor, const char *bytes, size_t count) {
    while (count) {
        const ssize_t written = write(descriptor, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            has_failed = 1;
            return;
        }
        bytes += written;
        count -= (size_t)written;
    }
}

/* "\nAMX1 SEQ CRC JSON\n"; the first byte is for consoles. */
static size_t frame(const char *object, size_t count) {
    char number[24];
    const int digits = snprintf(number, sizeof number, "%lu ", sequence);
    memcpy(whole, number, (size_t)digits);
    memcpy(whole + digits, object, count);
    const uint32_t crc = crc32(whole, (size_t)digits + count);
    const int head = snprintf(whole, HEAD, "\nAMX1 %s%08x ", number, crc);
    memcpy(whole + head, object, count);
    whole[(size_t)head + count] = '\n';
    return (size_t)head + count + 1;
}

static void send_to_all(struct line *line, int is_landmark) {
    line->room = FRAME_JSON; /* frame_begin() */
    line_put(line, '}');
    if (is_framed) {
        const size_t count = frame(line->text, line->used);
        put_out(port, whole + !is_shared, count - !is_shared);
        if (is_landmark && console >= 0)
            put_out(console, whole, count);
    } else {
        line->text[line->used] = '\n';
        put_out(port, line->text, line->used + 1);
    }
    sequence++;
}

struct line frame_begin(const char *key) {
    struct line line = {json, 0, FRAME_JSON - 2}; /* } and the end of the line */
    line_put(&line, '{');
    line_string(&line, key);
    line_raw(&line, ": ");
    return line;
}

void frame_send(struct line *line) {
    send_to_all(line, 0);
}

void frame_landmark(struct line *line) {
    send_to_all(line, 1);
}

void frame_member(struct line *line, const char *before, const char *name) {
    line_raw(line, before);
    line_string(line, name);
    line_raw(line, ": ");
}

void frame_verbatim(const char *bytes, size_t count) {
    memcpy(whole, bytes, count);
    whole[count] = '\n';
    put_out(port, whole, count + 1);
    sequence++;
}

void frame_broken(const char *format, ...) {
    char reason[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    struct line line = frame_begin("broken");
    line_string(&line, reason);
    frame_landmark(&line);
}
