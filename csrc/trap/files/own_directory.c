#define _GNU_SOURCE
#include "trap/files/own_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refusal(const struct stat *found) {
    if (!S_ISDIR(found->st_mode))
        return -ENOTDIR;
    return found->st_uid != geteuid() || found->st_mode & (S_IRWXG | S_IRWXO) ? -EACCES : 0;
}

int own_directory_check(const char *path) {
    struct stat found;
    return lstat(path, &found) != 0 ? -errno : refusal(&found);
}

int own_directory_open(const char *path) {
    struct stat found;
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int error = fstat(fd, &found) != 0 ? -errno : refusal(&found);
    if (error == 0)
        return fd;
    syscall(SYS_close, fd);
    return error;
}

int own_directory_file(int directory, const char *name, int flags) {
    struct stat found;
    const int fd = (int)syscall(SYS_openat, directory, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                                S_IRUSR | S_IWUSR);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &found) != 0 ? -errno : 0;
    if (error == 0 && (!S_ISREG(found.st_mode) || found.st_nlink != 1 || found.st_uid != geteuid()))
        error = -EPERM;
    if (error == 0)
        return fd;
    syscall(SYS_close, fd);
    return error;
}
