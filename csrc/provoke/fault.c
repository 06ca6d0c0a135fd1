/* The provocations of group FAULT. */
#include "provoke.h"

const struct provocation provoke_fault[] = {{0}};
