/* The provocations of group PTR. */
#include "provoke.h"

const struct provocation provoke_ptr[] = {{0}};
