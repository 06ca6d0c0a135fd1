/* Memory for generated code within reach of a jump.
 *
 * Async-signal-safe. Not thread-safe: the caller serialises.
 */
#ifndef AMX_CODE_MEMORY_H
#define AMX_CODE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Fresh pages, writable, every byte of which a jmp rel32 at `address` reaches. size: whole pages. NULL where
 * there is no room. */
uint8_t *code_memory_near(uint64_t address, size_t size);
/* Makes them executable and no longer writable: 0 or -errno. */
int code_memory_seal(uint8_t *memory, size_t size);
void code_memory_free(uint8_t *memory, size_t size);

/* Whether a jmp rel32 in the instruction at `address` reaches any byte in [start, start + size). */
int code_memory_reaches(uint64_t address, const uint8_t *start, size_t size);

#endif
