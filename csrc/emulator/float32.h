/* binary32 arithmetic as the tile unit does it, on bit patterns and in integers: no floating-point
 * environment of the caller (rounding mode, FTZ, DAZ) can change a result, and no flag is raised. */
#ifndef AMXEMU_FLOAT32_H
#define AMXEMU_FLOAT32_H

#include <stdint.h>

/* a * b + c rounded once, to nearest even. Denormal operands count as zeros of their sign; a result that is
 * tiny after rounding with unbounded exponent becomes a zero of its sign. The first NaN in the order a, b, c
 * is the result, quieted; an invalid operation gives 0xFFC00000. */
uint32_t amxemu_fma32(uint32_t a, uint32_t b, uint32_t c);
uint32_t amxemu_add32(uint32_t x, uint32_t y); /* the same for x + y, NaN order x, y */

uint32_t amxemu_from_bf16(uint16_t x);
uint32_t amxemu_from_fp16(uint16_t x); /* exact, denormals included; NaN quieted */

/* To nearest even; NaN quieted, the upper bits of its payload kept. Specification only. */
uint32_t amxemu_from_int32(int32_t x);
/* (high * 2^32 + low) * 2^power, where high is below 2^62 and the result neither tiny nor overflows */
uint32_t amxemu_from_fixed(int64_t high, int64_t low, int power);
uint16_t amxemu_to_bf16(uint32_t x); /* denormals count as zeros of their sign */
uint16_t amxemu_to_fp16(uint32_t x); /* with gradual underflow */

#endif
