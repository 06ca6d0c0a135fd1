/* The families of kernels in vector registers, by names. */
#include <errno.h>

#include "gemm/gemm.h"

static int is_op(int op) {
    return op >= AMX_TDPBSSD && op <= AMX_TDPFP16PS;
}
_Static_assert(VECTOR_SS == (int)AMX_TDPBSSD && VECTOR_FP16 == (int)AMX_TDPFP16PS,
               "kinds are numbered as products");

static const char *name_of(const struct vector_family *family) {
    return family != NULL ? family->name : NULL;
}

const struct vector_family *gemm_family(int engine, int op) {
    return engine == AMX_VECTOR && is_op(op) ? vector_selected((enum vector_kind)op) : NULL;
}

const char *amx_vector_family(int op, int index) {
    return is_op(op) ? name_of(vector_nth((enum vector_kind)op, index)) : NULL;
}

const char *amx_vector_selected(int op) {
    return is_op(op) ? name_of(vector_selected((enum vector_kind)op)) : NULL;
}

int amx_vector_select(int op, const char *name) {
    return is_op(op) ? vector_select((enum vector_kind)op, name) : -EINVAL;
}
