/* Files that others made, and may change meanwhile: how they are opened, here and nowhere else. */
#ifndef AMX_CODE_FILE_H
#define AMX_CODE_FILE_H

#include <sys/stat.h>

/* A regular file of at most CODE_FILE_MOST bytes, for reading. Nothing else is opened at all: a FIFO would
 * wait for its writer, or wake it, and a device may act on being opened. A descriptor, and what it is of in
 * *found; or -errno: -ENOEXEC where it is something else, -EFBIG. It is to be read, never mapped: who cuts it
 * off meanwhile would have us killed by SIGBUS. */
int code_file_open(const char *path, struct stat *found);

#define CODE_FILE_MOST (INT64_C(1) << 36)

#endif
