/* csrc/kernel_model/kernel_model.c for callers without C structures. */
#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <stdlib.h>

static int refused;

static int put_user(uint64_t address, uint64_t value) {
    if (refused)
        return -EFAULT;
    *(uint64_t *)(uintptr_t)address = value;
    return 0;
}

/* The machine of docs/abi.md's observations, with four levels of page tables and with five. */
static const struct kernel_model_machine *machine(int la57) {
    static struct kernel_model_machine machines[2];
    machines[la57] = (struct kernel_model_machine){
        .features = 0x600e7,
        .feature_count = 20,
        .config_offset = 2752,
        .data_offset = 2816,
        .size = 11008,
        .minsigstksz = 11952,
        .altstack_floor = 11836,
        .la57 = la57,
        .put_user = put_user,
    };
    return &machines[la57];
}

struct kernel_model_process *model_process(int la57) {
    struct kernel_model_process *const process = malloc(sizeof *process);
    kernel_model_process_init(process, machine(la57));
    return process;
}

struct kernel_model_process *model_child(const struct kernel_model_process *parent) {
    struct kernel_model_process *const process = malloc(sizeof *process);
    kernel_model_process_clone(parent, process);
    return process;
}

static struct kernel_model_task *new_task(void) {
    return aligned_alloc(_Alignof(struct kernel_model_task), sizeof(struct kernel_model_task));
}

struct kernel_model_task *model_task(struct kernel_model_process *process) {
    struct kernel_model_task *const task = new_task();
    kernel_model_task_init(task, process);
    return task;
}

struct kernel_model_task *model_clone(const struct kernel_model_task *parent,
                                      struct kernel_model_process *process, int keeps_altstack) {
    struct kernel_model_task *const task = new_task();
    kernel_model_task_clone(parent, task, process, keeps_altstack);
    return task;
}

void model_exit(struct kernel_model_task *task) {
    kernel_model_task_exit(task);
}

long model_arch_prctl(struct kernel_model_process *process, int op, uint64_t argument) {
    return kernel_model_arch_prctl(process, op, argument);
}

/* What a reading operation writes. */
uint64_t model_read(struct kernel_model_process *process, int op) {
    uint64_t value = 0;
    kernel_model_arch_prctl(process, op, (uintptr_t)&value);
    return value;
}

long model_read_to_nowhere(struct kernel_model_process *process, int op) {
    refused = 1;
    const long result = kernel_model_arch_prctl(process, op, 0);
    refused = 0;
    return result;
}

long model_altstack(struct kernel_model_task *task, uint64_t size) {
    return kernel_model_altstack(task, size);
}

void model_create_vcpu(struct kernel_model_process *process) {
    kernel_model_create_vcpu(process);
}

/* A fault as signal * 1000 + si_code, negative where si_addr is not the instruction's; 0 for none. */
static int number(struct kernel_model_fault fault) {
    const int number = fault.signal * 1000 + fault.code;
    return fault.at_insn ? number : -number;
}

int model_ldtilecfg(struct kernel_model_task *task, const uint8_t config[64]) {
    return number(kernel_model_ldtilecfg(task, config));
}
void model_sttilecfg(struct kernel_model_task *task, uint8_t config[64]) {
    kernel_model_sttilecfg(task, config);
}
void model_tilerelease(struct kernel_model_task *task) {
    kernel_model_tilerelease(task);
}
int model_tilezero(struct kernel_model_task *task) {
    return number(kernel_model_tilezero(task));
}
int model_tileloadd(struct kernel_model_task *task, const void *rows) {
    return number(kernel_model_tileloadd(task, rows));
}
/* A row of TMM0 from memory of which nothing is mapped. */
static size_t unmapped(void *context, uint64_t address, void *to, size_t size) {
    (void)context, (void)address, (void)to, (void)size;
    return 0;
}
int model_load_from(struct kernel_model_task *task, uint64_t address) {
    const struct amxemu_insn insn = {.op = AMXEMU_TILELOADD, .base = 0, .index = -1, .segment = -1};
    const struct amxemu_memory nothing = {.read = unmapped};
    struct amxemu_registers r = {.gpr = {address}};
    struct amxemu_fault at = {0};
    return number(kernel_model_step(task, &r, &insn, &nothing, &at));
}
int model_tilestored(struct kernel_model_task *task, void *rows) {
    return number(kernel_model_tilestored(task, rows));
}
int model_tdpbssd(struct kernel_model_task *task) {
    return number(kernel_model_tdpbssd(task));
}
int model_xrstor(struct kernel_model_task *task, const uint8_t *area, uint64_t features) {
    return number(kernel_model_xrstor(task, area, features));
}
uint64_t model_xinuse(struct kernel_model_task *task) {
    return kernel_model_xinuse(task);
}
