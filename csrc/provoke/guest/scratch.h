/* A directory of a provocation's own, where its core files go. */
#ifndef AMX_PROVOKE_SCRATCH_H
#define AMX_PROVOKE_SCRATCH_H

enum { SCRATCH_PATH = 4096 };

/* Makes one in AMX_PROVOKE_TMPDIR, else TMPDIR, else /tmp; an empty path where there is no place for one. */
void scratch_make(char path[SCRATCH_PATH]);
void scratch_remove(const char *path); /* with what is in it */

#endif
