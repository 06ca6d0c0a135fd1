#define _GNU_SOURCE /* O_PATH */
#include "trap/code/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* 0 or -errno. */
static int is_acceptable(int file, struct stat *found) {
    if (fstat(file, found) != 0)
        return -errno;
    if (!S_ISREG(found->st_mode))
        return -ENOEXEC;
    return found->st_size <= CODE_FILE_MOST ? 0 : -EFBIG;
}

int code_file_open(const char *path, struct stat *found) {
    char itself[32];
    const int place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return -errno;
    int result = is_acceptable(place, found);
    if (result == 0) {
        snprintf(itself, sizeof itself, "/proc/thread-self/fd/%d", place);
        result = open(itself, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a lease is waited for, else */
        if (result < 0)
            result = -errno;
    }
    close(place);
    return result;
}
