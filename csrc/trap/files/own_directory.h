/* The directory in which a program records what is emulated, and the files in it: found by name each time,
 * since a program does not expect that a descriptor stays open, and never believed by name.
 *
 * Who made it removes it in the end, and processes may outlive that: in a place that all may write to,
 * another user can make one of that name then, with links in it to files that only this process may write. So
 * it must be this user's, closed to all others and no link, and so must what is opened in it.
 */
#ifndef TRAP_OWN_DIRECTORY_H
#define TRAP_OWN_DIRECTORY_H

/* A descriptor for openat(2) only, or -errno: -EACCES where it is another user's or open to others. */
int own_directory_open(const char *path);
/* 0 or -errno, as own_directory_open() would have it in a program that this process executes now. */
int own_directory_check(const char *path);
/* A regular file with one name, which is this user's; flags: of open(2), O_CREAT too. A descriptor or -errno,
 * -EPERM where it is something else. */
int own_directory_file(int directory, const char *name, int flags);

#endif
