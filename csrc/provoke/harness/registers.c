/* The registers behind the XSAVE components that need no permission.
 *
 * Loaded and stored by the instructions that programs use, not by XRSTOR and XSAVE, so that the layout which
 * the kernel shows is compared with something that knows nothing of it. Only the part of a register that
 * belongs to the component is touched; code without VEX instructions keeps it, and this file is compiled for
 * baseline x86-64.
 */
#include "provoke/harness/registers.h"
#include "provoke/harness/area.h"

#include <string.h>

#define LOW8   "0,1,2,3,4,5,6,7"
#define LOW16  LOW8 ",8,9,10,11,12,13,14,15"
#define HIGH16 "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
/* In all of them: RAX is the data, \i the number. */
#define LOAD(numbers, instruction)                                                                           \
    __asm__ volatile(".irp i," numbers "\n" instruction "\n.endr"                                            \
                     :                                                                                       \
                     : "a"(data), "m"(*(const uint8_t (*)[1024])data))
#define STORE(numbers, instruction)                                                                          \
    __asm__ volatile(".irp i," numbers "\n" instruction "\n.endr" : : "a"(data) : "memory")
/* mov between r16+i and 8*i(%rax), REX2-prefixed: no assembler of today's distributions need know it. REX2 is
 * D5 with M0 R4 X4 B4 W R3 X3 B3, APX architecture specification 3.1.1. */
#define APX_MOV(opcode) ".byte 0xd5, 0x48 | (\\i >> 3) << 2, " opcode ", 0x40 | (\\i & 7) << 3, 8 * \\i"

/* KMOVQ is AVX512BW; the first CPUs with opmasks have 16 bits of them. */
static int wide_opmasks;

int registers_present(const struct kernel *k, int component) {
    uint32_t leaf7[4];
    k->cpuid(7, 0, leaf7);
    wide_opmasks = leaf7[1] >> 30 & 1;
    return (int)(k->xcr0() >> component & 1);
}

void registers_make(const struct kernel *k, int component, unsigned seed, uint8_t data[REGISTERS_MAX]) {
    const uint32_t size = area_component(k, (uint32_t)component).size;
    memset(data, 0, REGISTERS_MAX);
    for (uint32_t i = 0; i < size && i < REGISTERS_MAX; i++)
        data[i] =
            component == 5 && !wide_opmasks && i % 8 >= 2 ? 0 : (uint8_t)(1 + (seed * 37 + i * 11) % 255);
}

void registers_load(int component, const uint8_t *data) {
    if (component == 2)
        LOAD(LOW16, "vinsertf128 $1, 16*\\i(%%rax), %%ymm\\i, %%ymm\\i");
    else if (component == 5 && wide_opmasks)
        LOAD(LOW8, "kmovq 8*\\i(%%rax), %%k\\i");
    else if (component == 5)
        LOAD(LOW8, "kmovw 8*\\i(%%rax), %%k\\i");
    else if (component == 6)
        LOAD(LOW16, "vinsertf64x4 $1, 32*\\i(%%rax), %%zmm\\i, %%zmm\\i");
    else if (component == 7)
        LOAD(HIGH16, "vmovdqu64 64*(\\i-16)(%%rax), %%zmm\\i");
    else if (component == 19)
        LOAD(LOW16, APX_MOV("0x8b"));
}

void registers_store(int component, uint8_t *data) {
    if (component == 2)
        STORE(LOW16, "vextractf128 $1, %%ymm\\i, 16*\\i(%%rax)");
    else if (component == 5 && wide_opmasks)
        STORE(LOW8, "kmovq %%k\\i, 8*\\i(%%rax)");
    else if (component == 5)
        STORE(LOW8, "kmovw %%k\\i, 8*\\i(%%rax)");
    else if (component == 6)
        STORE(LOW16, "vextractf64x4 $1, %%zmm\\i, 32*\\i(%%rax)");
    else if (component == 7)
        STORE(HIGH16, "vmovdqu64 %%zmm\\i, 64*(\\i-16)(%%rax)");
    else if (component == 19)
        STORE(LOW16, APX_MOV("0x89"));
}
