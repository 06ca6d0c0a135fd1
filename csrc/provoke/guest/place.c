/* See place.h. */
#include "provoke/guest/place.h"
#include "provoke/guest/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

long read_small_file(const char *path, char *text, size_t room) {
    size_t used = 0;
    ssize_t some = -1;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file >= 0) {
        while (used < room - 1 &&
               ((some = read(file, text + used, room - 1 - used)) > 0 || (some < 0 && errno == EINTR)))
            used += some > 0 ? (size_t)some : 0;
        close(file);
    }
    const long length = some < 0 ? -1 : (long)used;
    while (used && strchr(" \t\r\n", text[used - 1]))
        used--;
    text[used] = '\0';
    return length;
}

static void say_flag(struct line *line, const char *name, int flag) {
    frame_member(line, ", ", name);
    line_raw(line, flag ? "true" : "false");
}

static int is_filtered(void) {
    char status[16384]; /* with all groups of the user */
    read_small_file("/proc/thread-self/status", status, sizeof status);
    return strstr(status, "\nSeccomp:\t2") != NULL;
}

static const char *kvm(void) {
    if (access("/dev/kvm", R_OK | W_OK) == 0)
        return "usable";
    return access("/dev/kvm", F_OK) == 0 ? "denied" : "absent";
}

void say_place(void) {
    char text[4096];
    struct line line = frame_begin("place");
    frame_member(&line, "{", "uid");
    line_unsigned(&line, geteuid());
    say_flag(&line, "seccomp", is_filtered());
    frame_member(&line, ", ", "yama");
    if (read_small_file("/proc/sys/kernel/yama/ptrace_scope", text, sizeof text) < 0)
        line_raw(&line, "null");
    else
        line_string(&line, text);
    frame_member(&line, ", ", "core_pattern");
    read_small_file("/proc/sys/kernel/core_pattern", text, sizeof text);
    line_string(&line, text);
    struct rlimit core;
    say_flag(&line, "core_limit", getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max != 0);
    frame_member(&line, ", ", "kvm");
    line_string(&line, kvm());
    frame_member(&line, ", ", "cmdline");
    read_small_file("/proc/cmdline", text, sizeof text);
    line_string(&line, text);
    line_put(&line, '}');
    frame_send(&line);
}
