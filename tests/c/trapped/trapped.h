/* A program whose AMX instructions are emulated. Each scenario prints what it saw, one `name value` a line;
 * the expectations are in tests/emulate/test_trap_faults.py and tests/emulate/test_trap_signals.py.
 */
#ifndef TRAPPED_H
#define TRAPPED_H

#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096, TILE = 1024 };

extern int patching;                /* with --patch */
void begin(void);                   /* starts the emulation as Diamond Rapids, and requests permission */
void begin_program(void);           /* the same as the preload library does it, for a whole program */
void load_full_configuration(void); /* all tiles 16 rows of 64 bytes */
void fill(void *bytes, size_t size, unsigned seed);
void check(const char *what, int holds); /* a failure is printed, and the exit status 1 */

/* C = A B for one tile of signed bytes, by the instructions and by plain C. c is added to. */
void product(const int8_t *a, const int8_t *b, int32_t *c);
void expected_product(const int8_t *a, const int8_t *b, int32_t *c);

struct scenario {
    const char *name;
    void (*run)(void);
};
extern const struct scenario fault_scenarios[], signal_scenarios[], thread_scenarios[];

#endif
