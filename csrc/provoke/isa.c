/* The provocations of group ISA. */
#include "provoke.h"

const struct provocation provoke_isa[] = {{0}};
