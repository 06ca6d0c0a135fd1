/* Deliberate faults: entries of the table that falsify what the kernel behind them says or does.
 *
 * The program that is installed carries them, and the model of the kernel, 100 of its 250 KB: that a check
 * can fail is shown by the program, and on the kernel, whose word is taken when it passes. Of real signal
 * frames, ptrace and core files no model shows it; and the tests of an installed package judge what is in it.
 */
#ifndef AMX_PROVOKE_FAULTS_H
#define AMX_PROVOKE_FAULTS_H

#include "provoke/kernel.h"

/* Any kernel with the deliberate fault of that name over it; NULL: unknown name. */
const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault);
void provoke_list_faults(void); /* one JSON line each: {"fault": name, "what": ...} */

#endif
