/* Which function a code address belongs to, by the tables for unwinding: .eh_frame_hdr and .eh_frame.
 *
 * Pure; reads the object. Format: Linux Standard Base, Core, 10.6; DWARF 5, 6.4.1.
 */
#ifndef AMX_UNWIND_TABLE_H
#define AMX_UNWIND_TABLE_H

#include "trap/code/object.h"

struct code_range {
    uint64_t begin, end;
};

/* Of one who looks for many functions: what that may still take, and where it was last. */
struct unwind_search {
    uint64_t work;   /* in instructions decoded or records looked at; at 0 nothing is found any more */
    uint64_t record; /* of .eh_frame, from its beginning on */
};

/* 1 and the function that holds `at`, 0 where the tables name none. It may lie anywhere: they say what they
 * like.
 */
int unwind_function(const struct code_image *image, uint64_t at, struct code_range *function,
                    struct unwind_search *search);
/* 0 where nothing was left of it. */
int unwind_take_work(struct unwind_search *search, uint64_t units);
/* From the first function that the tables name to the last one's end; nothing where there is no table. What
 * lies outside is data, where there is a table at all. */
struct code_range unwind_extent(const struct code_image *image);

#endif
