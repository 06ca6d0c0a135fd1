/* The provocations of group SRET. */
#include "provoke.h"

const struct provocation provoke_sret[] = {{0}};
