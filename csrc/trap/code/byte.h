/* Overwriting one byte of code, which all who execute it see at once (SDM vol. 3, 10.1.3: more bytes would
 * need more). Async-signal-safe. */
#ifndef TRAP_CODE_BYTE_H
#define TRAP_CODE_BYTE_H

#include <stdint.h>

enum { CODE_INT3 = 0xCC };

/* Of code that is mapped readable and executable and no more, which it is afterwards too. 0 or -errno;
 * -EACCES where mapping_is_ours_to_write() says so. */
int code_byte_write(uint8_t *at, uint8_t byte);

#endif
