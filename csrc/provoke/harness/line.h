/* A line of JSON in the making, in memory of the caller's. No libc state is touched, so that handlers and
 * vfork children may call these. What has no room any more is left out; strings end properly even so. */
#ifndef AMX_PROVOKE_LINE_H
#define AMX_PROVOKE_LINE_H

#include <stddef.h>
#include <stdint.h>

struct line {
    char *text;
    size_t used, room; /* bytes; there is no 0 at the end */
};

void line_put(struct line *line, char c);
void line_raw(struct line *line, const char *text);
void line_unsigned(struct line *line, uint64_t value);
void line_int(struct line *line, int64_t value);
void line_byte(struct line *line, uint8_t byte);          /* two hexadecimal digits */
void line_hexadecimal(struct line *line, uint64_t value); /* as text: "0x1f" */
/* As a JSON string in ASCII. What is no UTF-8 becomes U+FFFD. */
void line_string(struct line *line, const char *text);
void line_bytes(struct line *line, const char *bytes, size_t count);
/* JSON as it is, but in ASCII. */
void line_json(struct line *line, const char *json, size_t count);

#endif
