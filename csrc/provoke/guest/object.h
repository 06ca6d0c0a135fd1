/* Whether a line is a JSON object with one key, as provocations write them. */
#ifndef AMX_PROVOKE_OBJECT_H
#define AMX_PROVOKE_OBJECT_H

#include <stddef.h>

int is_object(const char *text, size_t count);

#endif
