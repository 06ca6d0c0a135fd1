/* A probe in a forked child: AMX's system calls, and tiles once permission was asked for. */
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe) {
    (void)action, (void)op, (void)component, (void)timeout_ms, (void)probe;
    return -ENOSYS;
}

#else

#include "forked.h"
#include "insn.h"
#include "machine/stand_in.h"

enum { REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

struct attempt {
    int action, op;
    uint64_t component;
};

static int ask(int op, uint64_t argument) {
    const struct machine_stand_in *const stand_in = machine_stand_in();
    return stand_in ? stand_in->arch_prctl(op, argument) : amx_arch_prctl(op, argument);
}

static void execute(volatile struct amx_probe *report, int action) {
    /* Palette 1; tiles 0 to 2 of one row of four bytes, which suit both instructions. */
    const uint8_t config[64] = {[0] = 1, [16] = 4, [18] = 4, [20] = 4, [48] = 1, [49] = 1, [50] = 1};
    report->step = AMX_STEP_LDTILECFG;
    AMX_LDTILECFG(config);
    if (action == AMX_CHILD_TILEZERO) {
        report->step = AMX_STEP_TILEZERO;
        AMX_TILEZERO(0);
    } else {
        report->step = AMX_STEP_TDPFP16PS;
        AMX_TDPFP16PS(0, 1, 2);
    }
}

static void attempt(volatile struct amx_probe *report, const void *argument) {
    const struct attempt *const wanted = argument;
    const int executes = wanted->action == AMX_CHILD_TILEZERO || wanted->action == AMX_CHILD_TDPFP16PS;
    const int op = executes ? REQ_XCOMP_PERM : wanted->op;
    uint64_t value = 0;

    if (wanted->action == AMX_CHILD_GET) {
        report->step = AMX_STEP_GET;
        report->result = ask(op, (uintptr_t)&value);
    } else {
        report->step = AMX_STEP_REQUEST;
        report->result = ask(op, executes ? XFEATURE_XTILEDATA : wanted->component);
        report->step = AMX_STEP_CONFIRM;
        report->confirmed =
            ask(op - 1, (uintptr_t)&value); /* uapi/asm/prctl.h numbers each REQ directly after its GET */
    }
    report->value = value;
    if (executes)
        execute(report, wanted->action);
}

int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe) {
    const struct attempt wanted = {action, op, component};
    return machine_forked(attempt, &wanted, timeout_ms, probe);
}

#endif
