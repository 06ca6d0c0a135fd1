/* KVM: permission for guests. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/stage.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* uapi/linux/kvm.h and asm/kvm.h; written out because headers before 5.17 lack the last ones. */
struct device_attr {
    uint32_t flags, group;
    uint64_t attr, address;
};
#define CREATE_VM       _IO(0xae, 0x01)
#define CHECK_EXTENSION _IO(0xae, 0x03)
#define CREATE_VCPU     _IO(0xae, 0x41)
#define GET_DEVICE_ATTR _IOW(0xae, 0xe2, struct device_attr)
enum { CAP_XSAVE2 = 208, X86_XCOMP_GUEST_SUPP = 0 };

static void *plain(uintptr_t value) {
    return (void *)value;
}

static long request(const struct kernel *k) {
    return k->arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM, XFEATURE_XTILEDATA);
}

static void see_guest(const struct kernel *k, const char *key) {
    uint64_t permission = 0;
    const long error = k->arch_prctl(ARCH_GET_XCOMP_GUEST_PERM, (uintptr_t)&permission);
    if (error)
        provoke_cannot("ARCH_GET_XCOMP_GUEST_PERM: errno %d (kernel before 5.17)", (int)-error);
    see_bits(key, permission);
}

static void kvm_01(const struct kernel *k) {
    enum { SMALL = 4096 };
    const stack_t small = {.ss_sp = tool_map(SMALL), .ss_size = SMALL};
    siginfo_t info = {0};
    tool_need_tiles(k);
    if (tool_minsigstksz(k) <= SMALL || k->sigaltstack(&small, NULL) != 0)
        provoke_broken("no signal stack that is too small for tile data");
    see_bits("host_before", tool_permission(k));
    see_guest(k, "guest_before");
    see_int("request", request(k));
    see_bits("host", tool_permission(k));
    see_guest(k, "guest");
    see_int("touch", tool_catch(tool_touch, k, &info));
    see_int("touch_code", info.si_code);
    see_int("host_request", k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
}

struct machine {
    int kvm, vm, vcpu;
};

static int open_kvm(void) {
    const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        provoke_cannot("/dev/kvm cannot be opened: errno %d", errno);
    return kvm;
}

static struct machine with_vcpu(const struct kernel *k) {
    struct machine machine = {open_kvm(), 0, 0};
    machine.vm = (int)k->ioctl(machine.kvm, CREATE_VM, NULL);
    if (machine.vm < 0)
        provoke_cannot("KVM_CREATE_VM: errno %d", -machine.vm);
    machine.vcpu = (int)k->ioctl(machine.vm, CREATE_VCPU, NULL);
    if (machine.vcpu < 0)
        provoke_cannot("KVM_CREATE_VCPU: errno %d", -machine.vcpu);
    return machine;
}

static void close_all(struct machine machine) {
    close(machine.vcpu);
    close(machine.vm);
    close(machine.kvm);
}

static void request_in_child(const struct kernel *k, void *unused) {
    (void)unused;
    see_int("child", request(k));
}

static void kvm_02(const struct kernel *k) {
    tool_need_tiles(k);
    if (stage_name) {
        see_int("after_exec", request(k));
        return;
    }
    const struct machine machine = with_vcpu(k);
    see_int("after_vcpu", request(k));
    see_guest(k, "guest");
    close_all(machine);
    see_int("after_close", request(k));
    see_ending("child_ending", child_run(k, request_in_child, NULL, 6000));
    provoke_broken("execve: errno %d", (int)-stage_exec(k, "exec"));
}

static void kvm_03(const struct kernel *k) {
    tool_need_tiles(k);
    see_int("before_vcpu", request(k));
    const struct machine machine = with_vcpu(k);
    see_int("after_vcpu", request(k));
    see_guest(k, "guest");
    close_all(machine);
}

/* What KVM can offer to guests, and how much room it wants for their state. */
static void see_offer(const struct kernel *k, int kvm, uint64_t offered, const char *size_key,
                      const char *needed_key, const char *guest_key) {
    uint64_t permission = 0;
    see_int(size_key, k->ioctl(kvm, CHECK_EXTENSION, plain(CAP_XSAVE2)));
    see_guest(k, guest_key);
    k->arch_prctl(ARCH_GET_XCOMP_GUEST_PERM, (uintptr_t)&permission);
    see_int(needed_key, area_end(k, offered & permission));
}

static void kvm_04(const struct kernel *k) {
    uint64_t offered = 0;
    const struct device_attr attribute = {.attr = X86_XCOMP_GUEST_SUPP, .address = (uintptr_t)&offered};
    struct device_attr argument = attribute;
    const int kvm = open_kvm();
    const long error = k->ioctl(kvm, GET_DEVICE_ATTR, &argument);
    if (error < 0)
        provoke_cannot("KVM_X86_XCOMP_GUEST_SUPP: errno %d (kernel before 5.17)", (int)-error);
    see_bits("supported", area_features(k));
    see_bits("offered", offered);
    see_offer(k, kvm, offered, "size", "needed", "guest");
    see_int("request", request(k));
    see_offer(k, kvm, offered, "size_after", "needed_after", "guest_after");
    close(kvm);
}

const struct provocation provoke_kvm[] = {
    {"KVM-01", "request guest permission on a small signal stack", kvm_01, 0},
    {"KVM-02", "request guest permission after the first virtual CPU", kvm_02, 0},
    {"KVM-03", "request guest permission before and after the first virtual CPU", kvm_03, 0},
    {"KVM-04", "what KVM offers to guests, before and after the request", kvm_04, 1},
    {0},
};
