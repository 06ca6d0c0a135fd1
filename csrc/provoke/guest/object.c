/* See object.h. The grammar is that of RFC 8259, up to DEPTH values in each other. */
#include "provoke/guest/object.h"

#include <string.h>

enum { DEPTH = 16 };

struct reader {
    const char *at, *end;
};

static int value(struct reader *r, int depth);

static void skip_space(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static int take(struct reader *r, char c) {
    if (r->at == r->end || *r->at != c)
        return 0;
    r->at++;
    return 1;
}

static int take_word(struct reader *r, const char *word) {
    const size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return 0;
    r->at += length;
    return 1;
}

static int is_digit(const struct reader *r) {
    return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

static int digits(struct reader *r) {
    if (!is_digit(r))
        return 0;
    while (is_digit(r))
        r->at++;
    return 1;
}

static int number(struct reader *r) {
    take(r, '-');
    if (!take(r, '0') && !digits(r))
        return 0;
    if (take(r, '.') && !digits(r))
        return 0;
    if (!take(r, 'e') && !take(r, 'E'))
        return 1;
    if (!take(r, '+'))
        take(r, '-');
    return digits(r);
}

static int escape(struct reader *r) {
    if (r->at == r->end || !strchr("\"\\/bfnrtu", *r->at) || !*r->at)
        return 0;
    if (*r->at++ != 'u')
        return 1;
    for (int i = 0; i < 4; i++, r->at++)
        if (r->at == r->end || !*r->at || !strchr("0123456789abcdefABCDEF", *r->at))
            return 0;
    return 1;
}

static int string(struct reader *r) {
    if (!take(r, '"'))
        return 0;
    while (r->at < r->end && *r->at != '"') {
        const unsigned char c = (unsigned char)*r->at++;
        if (c < 0x20 || (c == '\\' && !escape(r)))
            return 0;
    }
    return take(r, '"');
}

static int member(struct reader *r, int depth) {
    skip_space(r);
    if (!string(r))
        return 0;
    skip_space(r);
    return take(r, ':') && value(r, depth);
}

static int members(struct reader *r, int depth, char closing) {
    skip_space(r);
    if (take(r, closing))
        return 1;
    do {
        if (!(closing == '}' ? member(r, depth) : value(r, depth)))
            return 0;
    } while (take(r, ','));
    return take(r, closing);
}

/* And the space around it. */
static int value(struct reader *r, int depth) {
    skip_space(r);
    int is_value;
    if (take(r, '{'))
        is_value = depth > 0 && members(r, depth - 1, '}');
    else if (take(r, '['))
        is_value = depth > 0 && members(r, depth - 1, ']');
    else if (r->at < r->end && *r->at == '"')
        is_value = string(r);
    else
        is_value = take_word(r, "true") || take_word(r, "false") || take_word(r, "null") || number(r);
    skip_space(r);
    return is_value;
}

int is_object(const char *text, size_t count) {
    struct reader r = {text, text + count};
    skip_space(&r);
    if (!take(&r, '{') || !member(&r, DEPTH) || !take(&r, '}'))
        return 0;
    skip_space(&r);
    return r.at == r.end;
}
