/* Micro-kernels for 8-bit integers, the four combinations of signs; the contract is in micro.inc.h. */
#include "gemm/gemm.h"
#include "insn.h"

#define MICRO_INSN TDPBSSD
#include "gemm/micro.inc.h"

#define MICRO_INSN TDPBSUD
#include "gemm/micro.inc.h"

#define MICRO_INSN TDPBUSD
#include "gemm/micro.inc.h"

#define MICRO_INSN TDPBUUD
#include "gemm/micro.inc.h"
