/* Which function a code address belongs to, by the tables for unwinding: .eh_frame_hdr and .eh_frame.
 *
 * Pure; reads the object. Format: Linux Standard Base, Core, 10.6; DWARF 5, 6.4.1.
 */
#ifndef AMX_UNWIND_TABLE_H
#define AMX_UNWIND_TABLE_H

#include "trap/code/scan.h"

struct code_range {
    const uint8_t *begin, *end;
};

/* 1 and the function that holds `at`, 0 where the tables name none. */
int unwind_function(const struct code_image *image, const uint8_t *at, struct code_range *function);
/* From the first function that the tables name to the last one's end; nothing where there is no table. What
 * lies outside is data, where there is a table at all. */
struct code_range unwind_extent(const struct code_image *image);

#endif
