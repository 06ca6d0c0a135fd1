/* What checks ask of the place besides the machine: one object. */
#ifndef AMX_PROVOKE_PLACE_H
#define AMX_PROVOKE_PLACE_H

#include <stddef.h>

void say_place(void); /* {"place": ...} */
/* A small file as text without the space at its end, as much as has room with 0 behind it. The bytes that
 * were read; -1, and no text, where it cannot be read. */
long read_small_file(const char *path, char *text, size_t room);

#endif
