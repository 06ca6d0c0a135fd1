/* The provocations of group INH. */
#include "provoke.h"

const struct provocation provoke_inh[] = {{0}};
