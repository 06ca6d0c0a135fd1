#ifndef AMX_VECTOR_EXACT_H
#define AMX_VECTOR_EXACT_H

/* 1 or 0: whether this CPU has AVX2, FMA and F16C, and they flush what silicon flushes. */
int vector_floats_are_exact(void);

#endif
