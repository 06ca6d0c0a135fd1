/* The provocations of group PERM. */
#include "provoke.h"

const struct provocation provoke_perm[] = {{0}};
