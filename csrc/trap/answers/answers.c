#define _GNU_SOURCE
#include "trap/answers/answers.h"

#include "kernel_model/kernel_model.h"
#include "trap/cpu/emulated.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/emulation.h"
#include "trap/host/address.h"
#include "trap/host/cpu.h"
#include "trap/thread/altstack.h"
#include "trap/thread/frame.h"
#include "trap/thread/memory.h"
#include "trap/thread/thread.h"

#include <errno.h>
#include <sys/auxv.h>

enum { MINSIGSTKSZ_TYPE = 51 }; /* AT_MINSIGSTKSZ, which older headers lack */

struct trap_answers trap_answers;
static uint64_t host_xcr0; /* 0 without XSAVE */
static struct kernel_model_machine machine;

static int put_user(uint64_t address, uint64_t value) {
    return trap_own_memory.write(NULL, address, &value, sizeof value) == sizeof value ? 0 : -EFAULT;
}

const struct kernel_model_machine *answers_start(uint64_t xcr0, int whole_program) {
    host_xcr0 = xcr0;
    machine = virtual_machine(xcr0, address_la57(), put_user);
    if (!whole_program) /* the frames are the host's, and so is what other code reads of their size */
        machine.minsigstksz = getauxval(MINSIGSTKSZ_TYPE);
    trap_answers.cpuid = trap_answers.xgetbv = trap_answers.arch_prctl = 0;
    return &machine;
}

int amx_trap_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    static _Atomic uint32_t highest; /* leaf; asked once, since asking may cost an exit to the hypervisor */
    uint32_t host[4];
    const struct amxemu_cpu *const model = trap_cpu();
    if (model == NULL)
        return -ESRCH;
    if (highest == 0) {
        cpuid_of_host(0, 0, host);
        highest = host[0];
    }
    cpuid_of_host(leaf, subleaf, host);
    virtual_cpuid(model, leaf, subleaf, host, highest, host_xcr0, registers);
    return 0;
}

int trap_xgetbv(uint32_t index, const ucontext_t *context, uint64_t *value) {
    if (trap_cpu() == NULL)
        return -ESRCH;
    if (index != XGETBV_XCR0 && index != XGETBV_XINUSE)
        return -EINVAL;
    const struct trap_thread *const thread = trap_thread();
    if (thread == NULL)
        return -ENOMEM;
    if (index == XGETBV_XCR0) {
        *value = machine.features;
        return 0;
    }
    const uint64_t here = xgetbv_of_host(XGETBV_XINUSE),
                   host = context ? trap_frame_xinuse(context, here) : here;
    *value = virtual_xinuse(host, kernel_model_xinuse(&thread->task));
    return 0;
}

int amx_trap_xgetbv(uint32_t index, uint64_t *value) {
    return trap_xgetbv(index, NULL, value);
}

int amx_trap_arch_prctl(int op, uint64_t argument) {
    if (trap_cpu() == NULL)
        return -ESRCH;
    trap_note_altstack();
    const uint64_t lock = trap_lock();
    trap_threads_reap();
    const int result = (int)kernel_model_arch_prctl(trap_process(), op, argument);
    trap_unlock(lock);
    return result;
}
