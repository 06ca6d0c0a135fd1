/* The provocations of group SBX. */
#include "provoke.h"

const struct provocation provoke_sbx[] = {{0}};
