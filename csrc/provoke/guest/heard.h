/* What a provocation says through its pipes, while it runs: lines of its standard output, and the beginning
 * of its standard error. */
#ifndef AMX_PROVOKE_HEARD_H
#define AMX_PROVOKE_HEARD_H

#include <stddef.h>

enum { HEARD_ERRORS = 4096, HEARD_LINE = 4096 }; /* bytes; provocations write up to 4000 */

struct heard {
    const char *start; /* the line that says what runs, which was said already; NULL once it has come */
    int output, errors;
    size_t bytes, lines; /* of the output, all in all */
    size_t line_used, errors_used;
    char line[HEARD_LINE], error_text[HEARD_ERRORS];
};

void heard_begin(struct heard *heard, const char *start, int output, int errors);
/* Takes and says what is there, without waiting for more. What is endless is not taken: who writes it waits.
 */
void heard_take(struct heard *heard);
void heard_end(struct heard *heard); /* says the rest, and closes both */

#endif
