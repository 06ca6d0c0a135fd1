/* What CPUID and XGETBV answer on the emulated CPU, given what the host answers.
 *
 * Pure. AMX and what it rests on (XSAVE, XFD) are the model's; everything else, vendor and AVX-512 included,
 * stays the host's, since that code will really run there: AMX does not imply AVX-512 here. Sources: SDM vol.
 * 2A, CPUID; vol. 1, 13.2 and 13.5; the ISE Reference for the newer bits.
 */
#ifndef AMX_VIRTUAL_CPU_H
#define AMX_VIRTUAL_CPU_H

#include "emulator/features.h"
#include "kernel_model/kernel_model.h"

#include <stdint.h>

/* The XSAVE area of Sapphire to Diamond Rapids, and what Linux 6.18 derives from it (docs/abi.md). Bytes. */
enum {
    VIRTUAL_CONFIG_OFFSET = 2752, /* XTILECFG, 64 bytes; standard format */
    VIRTUAL_DATA_OFFSET = 2816,   /* XTILEDATA, 8192 bytes */
    VIRTUAL_XSAVE_SIZE = 11008,
    VIRTUAL_MINSIGSTKSZ = 11952,    /* AT_MINSIGSTKSZ: what a request for permission wants of each altstack */
    VIRTUAL_ALTSTACK_FLOOR = 11836, /* with permission, sigaltstack() wants more than this */
    VIRTUAL_XFEATURE_MAX = 20,      /* component numbers that the modelled kernel knows end here */
};

/* host: what the host's CPUID answered for this leaf and subleaf; host_max_leaf: its CPUID.0:EAX;
 * host_xcr0: its XCR0, 0 where it has no XSAVE.
 * registers: eax, ebx, ecx, edx. Basic leaves that the host lacks, up to the last of AMX, read as zeros. */
void virtual_cpuid(const struct amxemu_cpu *cpu, uint32_t leaf, uint32_t subleaf, const uint32_t host[4],
                   uint32_t host_max_leaf, uint64_t host_xcr0, uint32_t registers[4]);

/* XGETBV(0); host: its XCR0, as above. */
uint64_t virtual_xcr0(uint64_t host);
/* XGETBV(1); tiles: bits 17 and 18 of the emulated state. host: as above, of this thread; where the CPU has
 * tiles of its own and loaded a configuration into them, that is the program's last (native_config.h). */
uint64_t virtual_xinuse(uint64_t host, uint64_t tiles);

/* The model on a host: without ZMM registers there are no row moves to them. host_xcr0 as above. */
struct amxemu_cpu virtual_cpu(const struct amxemu_cpu *model, uint64_t host_xcr0);

/* The machine as the model of the kernel wants it; host_xcr0 as above, la57: the host's CR4.LA57. minsigstksz
 * is that of a kernel whose signal frames have tiles. */
struct kernel_model_machine virtual_machine(uint64_t host_xcr0, int la57,
                                            int (*put_user)(uint64_t address, uint64_t value));

#endif
