/* NumPy's array objects as C reads them where they lie (arrays.c): amx/in_place.py says why, and what it
 * rests on. */
#ifndef AMX_GEMM_IN_PLACE_H
#define AMX_GEMM_IN_PLACE_H

#include <stdint.h>

/* Of PyArrayObject_fields in NumPy's ndarraytypes.h, behind the object's header. */
struct gemm_array {
    uint8_t *data;
    int dimensions;
    const int64_t *shape, *strides;
    const void *base, *descr;
    int flags;
};
enum { GEMM_WRITEABLE = 0x0400 }; /* NPY_ARRAY_WRITEABLE */

int gemm_reads_arrays(void); /* whether it was told where their fields are */
const struct gemm_array *gemm_array_of(uint64_t array);

#endif
