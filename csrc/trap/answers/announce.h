/* Features that CPUID announces beside AMX though the host lacks them.
 *
 * Every CPU with AMX has AVX512_FP16 too, and oneDNN rests on that: where it sees AMX alone, its 8-bit
 * products pack operands for tiles, multiply without tiles, and are wrong. Its AMX kernels execute no
 * AVX512_FP16; its kernels for half precision do, and a program that comes to them dies of SIGILL.
 */
#ifndef TRAP_ANNOUNCE_H
#define TRAP_ANNOUNCE_H

#include "trap/code/scan.h"

#include <stdint.h>
#include <ucontext.h>

/* names: separated by commas, as Linux writes them (avx512_fp16, avx512_bf16, avx_vnni), announced to all
 * code; "none"; NULL: AVX512_FP16 to objects with oneDNN in them, where the host lacks nothing else that it
 * wants. 0, or -EINVAL for an unknown name. */
int announce_start(const char *names);
int announce_concerns(const struct code_image *object); /* whether it is one of these objects */
void announce_look_at(const struct code_image *object); /* remembers where it is; one at a time */

/* Completes an answer to the CPUID instruction at `rip`. */
void announce_add(uint64_t rip, uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
/* The same, where who asks knows whether it is an instruction of such an object. */
void announce_add_to(int concerned, uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
/* Says on stderr what is announced, if the SIGILL that ends the program may come of that. Async-signal-safe.
 */
void announce_explain(const ucontext_t *context);

#endif
