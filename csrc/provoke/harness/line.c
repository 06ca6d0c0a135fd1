/* See line.h. */
#include "provoke/harness/line.h"

enum {
    LONGEST = 12, /* bytes of one character: a pair of surrogates, \ud83d\ude00 */
    CLOSING = 16, /* bytes that stay free for what closes strings, objects and the line */
    REPLACEMENT = 0xfffd,
};

void line_put(struct line *line, char c) {
    if (line->used < line->room)
        line->text[line->used++] = c;
}

void line_raw(struct line *line, const char *text) {
    while (*text)
        line_put(line, *text++);
}

void line_unsigned(struct line *line, uint64_t value) {
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
    } while (value /= 10);
    while (count)
        line_put(line, digits[--count]);
}

void line_int(struct line *line, int64_t value) {
    if (value < 0)
        line_put(line, '-');
    line_unsigned(line, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static void digit(struct line *line, unsigned value) {
    line_put(line, "0123456789abcdef"[value & 15]);
}

void line_byte(struct line *line, uint8_t byte) {
    digit(line, byte >> 4);
    digit(line, byte);
}

void line_hexadecimal(struct line *line, uint64_t value) {
    int shift = 60;
    while (shift && !(value >> shift))
        shift -= 4;
    line_raw(line, "\"0x");
    for (; shift >= 0; shift -= 4)
        digit(line, (unsigned)(value >> shift));
    line_put(line, '"');
}

static void unit(struct line *line, uint32_t code) {
    line_raw(line, "\\u");
    line_byte(line, (uint8_t)(code >> 8));
    line_byte(line, (uint8_t)code);
}

/* The next character, and how many bytes it has. Of what is no UTF-8 (RFC 3629) one byte. */
static uint32_t decode(const unsigned char *bytes, size_t count, size_t *length) {
    const unsigned first = bytes[0];
    const size_t whole = first < 0x80   ? 1
                         : first < 0xc2 ? 0
                         : first < 0xe0 ? 2
                         : first < 0xf0 ? 3
                         : first < 0xf5 ? 4
                                        : 0;
    *length = 1;
    if (whole == 0 || whole > count)
        return REPLACEMENT;
    uint32_t code = whole == 1 ? first : first & (0x7fU >> whole);
    for (size_t i = 1; i < whole; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return REPLACEMENT;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[whole] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return REPLACEMENT;
    *length = whole;
    return code;
}

static void character(struct line *line, uint32_t code) {
    if (code >= 0x10000) {
        unit(line, 0xd800 + ((code - 0x10000) >> 10));
        unit(line, 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else if (code < 0x20 || code >= 0x7f) {
        unit(line, code);
    } else {
        line_put(line, (char)code);
    }
}

static int has_room(const struct line *line) {
    return line->used + LONGEST + CLOSING <= line->room;
}

static void put_escaped(struct line *line, uint32_t code) {
    if (code == '"' || code == '\\')
        line_put(line, '\\');
    character(line, code);
}

void line_bytes(struct line *line, const char *bytes, size_t count) {
    line_put(line, '"');
    for (size_t at = 0, length; at < count && has_room(line); at += length)
        put_escaped(line, decode((const unsigned char *)bytes + at, count - at, &length));
    line_put(line, '"');
}

/* Without strlen(), whose vector registers could be those that a provocation looks at. */
void line_string(struct line *line, const char *text) {
    line_put(line, '"');
    for (size_t length; *text && has_room(line); text += length) {
        size_t count = 1;
        while (count < 4 && text[count])
            count++;
        put_escaped(line, decode((const unsigned char *)text, count, &length));
    }
    line_put(line, '"');
}

void line_json(struct line *line, const char *json, size_t count) {
    for (size_t at = 0, length; at < count; at += length)
        character(line, decode((const unsigned char *)json + at, count - at, &length));
}
