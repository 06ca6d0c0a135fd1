/* Micro-kernels for IEEE half precision; the contract is in micro.inc.h. */
#include "gemm/gemm.h"
#include "insn.h"

#define MICRO_INSN TDPFP16PS
#include "gemm/micro.inc.h"
