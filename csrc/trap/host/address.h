/* How wide this process's linear addresses are. */
#ifndef TRAP_ADDRESS_H
#define TRAP_ADDRESS_H

/* CR4.LA57, which user mode cannot read: 1 where canonical addresses have 57 bits, 0 where they have 48. */
int address_la57(void);

#endif
