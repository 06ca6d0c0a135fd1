/* uapi/asm/sigcontext.h, of which only glibc's <signal.h> has a part. */
#ifndef AMX_FPSTATE_H
#define AMX_FPSTATE_H

#include <signal.h>

#ifndef FP_XSTATE_MAGIC1
#define FP_XSTATE_MAGIC1 0x46505853U
#endif

#endif
