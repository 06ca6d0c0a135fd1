#ifndef AMX_VECTOR_EXACT_H
#define AMX_VECTOR_EXACT_H

int vector_floats_are_exact(void);

#endif
