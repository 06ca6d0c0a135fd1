/* See record.h. */
#include "provoke/guest/record.h"
#include "machine/machine.h"
#include "provoke/guest/frames.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    CHILD_TIMEOUT_MS = 5000,
    XFEATURE_XTILEDATA = 18,
    AT_MINSIGSTKSZ_NUMBER = 51, /* uapi/asm/auxvec.h */
    HYPERVISOR = 0x40000000,
    APIC_ID = 24, /* CPUID.1:EBX names the processor that was asked, from this bit on */
};

static struct line begin(const char *fact) {
    struct line line = frame_begin("machine");
    frame_member(&line, "{", fact);
    return line;
}

static void end(struct line *line) {
    line_put(line, '}');
    frame_send(line);
}

static void say_number(struct line *line, const char *before, const char *name, int64_t value) {
    frame_member(line, before, name);
    line_int(line, value);
}

static void say_cpuid(void) {
    static const uint32_t leaves[][2] = {
        {0, 0},    {1, 0},    {7, 0},    {7, 1},    {0xd, 0},  {0xd, 1},        {0xd, 17},
        {0xd, 18}, {0x1d, 0}, {0x1d, 1}, {0x1e, 0}, {0x1e, 1}, {HYPERVISOR, 0},
    };
    uint32_t leaf0[4];
    amx_cpuid(0, 0, leaf0);
    struct line line = begin("cpuid");
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        const uint32_t leaf = leaves[i][0];
        uint32_t r[4] = {0}; /* above the highest leaf CPUID repeats another */
        char name[24], words[48];
        if (leaf == 0 || leaf >= HYPERVISOR || leaf <= leaf0[0])
            amx_cpuid(leaf, leaves[i][1], r);
        if (leaf == 1)
            r[1] &= (UINT32_C(1) << APIC_ID) - 1;
        snprintf(name, sizeof name, "%x.%x", leaf, leaves[i][1]);
        snprintf(words, sizeof words, "0x%x 0x%x 0x%x 0x%x", r[0], r[1], r[2], r[3]);
        frame_member(&line, i ? ", " : "{", name);
        line_string(&line, words);
    }
    line_put(&line, '}');
    end(&line);
}

static void say_xgetbv(const char *fact, uint32_t index) {
    uint64_t value;
    struct line line = begin(fact);
    if (amx_xgetbv(index, &value) == 0)
        line_hexadecimal(&line, value);
    else
        line_raw(&line, "null");
    end(&line);
}

static int probe(const char *fact, int action, int op, struct amx_probe *found, int *timed_out) {
    const int result = amx_probe_child(action, op, XFEATURE_XTILEDATA, CHILD_TIMEOUT_MS, found);
    *timed_out = result == -ETIMEDOUT;
    if (result == 0 || *timed_out)
        return 0;
    frame_broken("%s of the machine: no child can be made: %s", fact, strerror(-result));
    return result;
}

/* How the child ended instead of answering; 0: it answered. */
static int say_end(struct line *line, const char *before, const struct amx_probe *found, int timed_out) {
    if (timed_out) {
        frame_member(line, before, "timed_out");
        line_raw(line, "true");
    } else if (found->signal) {
        say_number(line, before, "signal", found->signal);
        say_number(line, ", ", "code", found->code);
    }
    return timed_out || found->signal;
}

static int say_arch_prctl(void) {
    static const int operations[] = {0x1021, 0x1022, 0x1024, 0x1023, 0x1025}; /* uapi/asm/prctl.h */
    enum { OPERATIONS = sizeof operations / sizeof *operations, READS = 3 };
    struct amx_probe found[OPERATIONS];
    int timed_out[OPERATIONS];
    for (int i = 0; i < OPERATIONS; i++) {
        const int action = i < READS ? AMX_CHILD_GET : AMX_CHILD_REQUEST;
        const int result = probe("arch_prctl", action, operations[i], &found[i], &timed_out[i]);
        if (result)
            return result;
    }
    struct line line = begin("arch_prctl");
    for (int i = 0; i < OPERATIONS; i++) {
        char name[16];
        snprintf(name, sizeof name, "0x%x", operations[i]);
        frame_member(&line, i ? ", " : "{", name);
        line_put(&line, '{');
        if (!say_end(&line, "", &found[i], timed_out[i])) {
            say_number(&line, "", "result", found[i].result);
            frame_member(&line, ", ", i < READS ? "value" : "then");
            line_hexadecimal(&line, found[i].value);
        }
        line_put(&line, '}');
    }
    line_put(&line, '}');
    end(&line);
    return 0;
}

static int say_children(void) {
    static const char *const steps[] = {
        [AMX_STEP_PREPARE] = "PREPARE",     [AMX_STEP_GET] = "GET",
        [AMX_STEP_REQUEST] = "REQUEST",     [AMX_STEP_CONFIRM] = "CONFIRM",
        [AMX_STEP_STTILECFG] = "STTILECFG", [AMX_STEP_LDTILECFG] = "LDTILECFG",
        [AMX_STEP_TILEZERO] = "TILEZERO",   [AMX_STEP_TDPFP16PS] = "TDPFP16PS",
        [AMX_STEP_OTHER] = "OTHER",         [AMX_STEP_DONE] = "DONE",
    };
    static const char *const names[] = {"tilezero", "tdpfp16ps"};
    static const int actions[] = {AMX_CHILD_TILEZERO, AMX_CHILD_TDPFP16PS};
    struct amx_probe found[2];
    int timed_out[2];
    for (int i = 0; i < 2; i++) {
        const int result = probe("child", actions[i], 0, &found[i], &timed_out[i]);
        if (result)
            return result;
    }
    struct line line = begin("child");
    for (int i = 0; i < 2; i++) {
        frame_member(&line, i ? ", " : "{", names[i]);
        frame_member(&line, "{", "step");
        line_string(&line,
                    found[i].step >= 0 && found[i].step <= AMX_STEP_DONE ? steps[found[i].step] : "OTHER");
        say_end(&line, ", ", &found[i], timed_out[i]);
        line_put(&line, '}');
    }
    line_put(&line, '}');
    end(&line);
    return 0;
}

static void say_sizes(void) {
    /* glibc's numbers, of which another libc has its own or none. */
    static const int names[] = {249, 250}; /* _SC_MINSIGSTKSZ, _SC_SIGSTKSZ */
    char name[16];
    struct line line = begin("auxv");
    snprintf(name, sizeof name, "%d", AT_MINSIGSTKSZ_NUMBER);
    frame_member(&line, "{", name);
    line_unsigned(&line, amx_getauxval(AT_MINSIGSTKSZ_NUMBER));
    line_put(&line, '}');
    end(&line);

    line = begin("sysconf");
    for (int i = 0; i < 2; i++) {
        const long value = sysconf(names[i]);
        snprintf(name, sizeof name, "%d", names[i]);
        frame_member(&line, i ? ", " : "{", name);
        if (value >= 0)
            line_int(&line, value);
        else
            line_raw(&line, "null");
    }
    line_put(&line, '}');
    end(&line);
}

static int say_altstack(void) {
    uint64_t address, size;
    int flags;
    const int result = amx_sigaltstack(&address, &size, &flags);
    if (result) {
        frame_broken("altstack of the machine: sigaltstack: %s", strerror(-result));
        return result;
    }
    struct line line = begin("altstack");
    say_number(&line, "{", "size", (int64_t)size);
    say_number(&line, ", ", "flags", flags);
    line_put(&line, '}');
    end(&line);
    return 0;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of the first processor, each once, in order. */
static void say_flags(void) {
    enum { LONGEST = 8192, FLAGS = 1024 };
    char text[LONGEST], *flags[FLAGS];
    size_t count = 0;
    FILE *const file = fopen("/proc/cpuinfo", "re");
    text[0] = '\0';
    while (file && fgets(text, sizeof text, file) && strncmp(text, "flags", 5) != 0)
        text[0] = '\0';
    if (file)
        fclose(file);
    char *rest, *const colon = strchr(text, ':');
    for (char *word = colon ? strtok_r(colon + 1, " \t\n", &rest) : NULL; word && count < FLAGS;
         word = strtok_r(NULL, " \t\n", &rest))
        flags[count++] = word;
    qsort(flags, count, sizeof *flags, compare);

    char joined[LONGEST];
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(flags[i], flags[i - 1]) != 0)
            used += (size_t)snprintf(joined + used, sizeof joined - used, used ? " %s" : "%s", flags[i]);
    struct line line = begin("cpuinfo_flags");
    line_bytes(&line, joined, used);
    end(&line);
}

static void say_text(struct line *line, const char *before, const char *name, const char *text) {
    frame_member(line, before, name);
    line_string(line, text);
}

static void say_kernel(void) {
    struct utsname name;
    if (uname(&name) != 0)
        return; /* EFAULT alone */
    struct line line = begin("kernel");
    say_text(&line, "{", "sysname", name.sysname);
    say_text(&line, ", ", "release", name.release);
    say_text(&line, ", ", "version", name.version);
    say_text(&line, ", ", "architecture", name.machine);
    line_put(&line, '}');
    end(&line);
}

int say_machine(void) {
    say_cpuid();
    say_xgetbv("xcr0", 0);
    say_xgetbv("xinuse", 1);
    const int prctls = say_arch_prctl(), children = say_children();
    say_sizes();
    const int altstack = say_altstack();
    say_flags();
    say_kernel();
    return prctls ? prctls : children ? children : altstack;
}
