/* See init.h. If the first process ended, the kernel would panic, and that would be taken for a fault of the
 * kernel's: so the run is in a child, and this one reaps, waits, and powers off whatever became of it. */
#define _GNU_SOURCE /* makedev */
#include "provoke/guest/init.h"
#include "provoke/guest/all.h"
#include "provoke/guest/frames.h"
#include "provoke/guest/kmsg.h"
#include "provoke/guest/place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { CONSOLE_OFF = 6, TTY_MAJOR = 4, FIRST_SERIAL = 64, SERIALS = 4 }; /* syslog(2); devices.txt */
enum { WORD = 256 }; /* bytes of one on the command line; names of faults and ports have fewer */

/* Where the kernel was built without devtmpfs. */
static void make_devices(void) {
    static const struct {
        const char *path;
        unsigned major, minor;
    } devices[] = {
        {"/dev/null", 1, 3},  {"/dev/zero", 1, 5},    {"/dev/urandom", 1, 9},
        {"/dev/kmsg", 1, 11}, {"/dev/console", 5, 1}, {"/dev/kvm", 10, 232},
    };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        mknod(devices[i].path, S_IFCHR | 0600, makedev(devices[i].major, devices[i].minor));
    for (unsigned i = 0; i < SERIALS; i++) {
        char path[16];
        snprintf(path, sizeof path, "/dev/ttyS%u", i);
        mknod(path, S_IFCHR | 0600, makedev(TTY_MAJOR, FIRST_SERIAL + i));
    }
}

static void mount_on(const char *kind, const char *place, const char *options) {
    mkdir(place, 0755);
    mount(kind, place, kind, 0, options); /* what lacks shows in the place and in the provocations */
}

static void furnish(void) {
    mount_on("proc", "/proc", NULL);
    mount_on("sysfs", "/sys", NULL);
    mkdir("/dev", 0755);
    if (mount("devtmpfs", "/dev", "devtmpfs", 0, "mode=0755") != 0)
        make_devices();
    mount_on("tmpfs", "/tmp", "mode=1777");
}

/* Bytes leave as they are: a newline stays one. */
static int open_raw(const char *path) {
    struct termios terminal;
    const int port = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (port >= 0 && tcgetattr(port, &terminal) == 0) {
        cfmakeraw(&terminal);
        tcsetattr(port, TCSANOW, &terminal);
    }
    return port;
}

/* What stands behind the word's name on the kernel's command line; empty where it has no such word. */
static void word_behind(const char *cmdline, const char *name, char value[WORD]) {
    const size_t length = strlen(name);
    *value = '\0';
    for (const char *at = cmdline; (at = strstr(at, name)); at += length)
        if (at == cmdline || at[-1] == ' ') {
            snprintf(value, WORD, "%.*s", (int)strcspn(at + length, " "), at + length);
            return;
        }
}

static void make_run(void) {
    char cmdline[4096], fault[WORD], model[WORD], name[WORD];
    read_small_file("/proc/cmdline", cmdline, sizeof cmdline);
    word_behind(cmdline, "amx.fault=", fault);
    word_behind(cmdline, "amx.model=", model);
    word_behind(cmdline, "amx.port=", name);
    const struct guest_run run = {
        .plan = "/plan",
        .fault = *fault ? fault : NULL,
        .on_model = !strcmp(model, "1"),
        .is_alone = 1,
    };
    char path[sizeof "/dev/" + WORD], why[GUEST_WHY];
    const int console = open_raw("/dev/console");
    int port = -1;
    if (*name) {
        snprintf(path, sizeof path, "/dev/%s", name);
        port = open_raw(path);
    }
    if (port >= 0)
        frames_to(port, console, 0);
    else
        frames_to(console, -1, 1);
    if (*name && port < 0)
        frame_broken("amx.port: %s: %s; frames are on the console", path, strerror(errno));
    kmsg_open();
    static struct guest_plan plan;
    if (guest_plan(&plan, &run, why) != 0) {
        frame_broken("%s", why);
    } else {
        guest_all(&plan, &run);
    }
    if (port >= 0)
        tcdrain(port);
    if (console >= 0)
        tcdrain(console);
}

/* Without ACPI the kernel would only halt, and whoever waits for the machine's end would wait for ever. */
static _Noreturn void power_off(void) {
    sync();
    if (access("/sys/firmware/acpi/tables", F_OK) == 0)
        reboot(RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

_Noreturn void guest_init(void) {
    int status = 0;
    umask(0);
    furnish();
    umask(022);
    klogctl(CONSOLE_OFF, NULL, 0); /* emergencies and oopses still come through */
    for (int standard = open("/dev/null", O_RDWR); standard >= 0 && standard < STDERR_FILENO;)
        standard = dup(standard);
    const pid_t worker = fork();
    if (worker == 0) {
        setsid();
        make_run();
        exit(0);
    }
    pid_t ended;
    do {
        ended = worker < 0 ? worker : waitpid(-1, &status, __WALL);
    } while (ended != worker && (ended > 0 || errno == EINTR));
    if (worker < 0 || status != 0) {
        const int console = open("/dev/console", O_WRONLY | O_NOCTTY);
        dprintf(console, "\namx-provoke: the run ended before its end: status %#x\n", (unsigned)status);
        tcdrain(console);
    }
    power_off();
}
