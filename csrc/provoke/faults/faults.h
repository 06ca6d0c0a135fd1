/* Deliberate faults: entries of the table that falsify what the kernel behind them says or does.
 *
 * The program that is installed carries them, and the model of the kernel (100 of its 250 KB): whoever doubts
 * that a check can fail sees it in the same program on the same kernel, and where a provocation needs real
 * frames, nowhere else. The tests of an installed package judge by them what is installed.
 */
#ifndef AMX_PROVOKE_FAULTS_H
#define AMX_PROVOKE_FAULTS_H

#include "provoke/kernel.h"

/* Any kernel with the deliberate fault of that name over it; NULL: unknown name. */
const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault);
void provoke_list_faults(void); /* one JSON line each: {"fault": name, "what": ...} */

#endif
